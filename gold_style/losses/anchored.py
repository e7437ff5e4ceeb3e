"""`loss.kind=anchored`: the divergence to the teacher, and beside it a KL that holds the student to its own start.

    loss = JSD(beta)(student, teacher) + anchor_weight x KL(student || start)

The second term is the reference-based constraint of StableOPD (https://arxiv.org/abs/2604.08527), which mixes in golden answers besides
(here: loss.seq_kd, loss.lmbda); its direction is the usual one of a KL to a reference policy. `start` is the student before training,
reading what the student reads: under LoRA the base without adapters, where the teacher is the student's own model the teacher's
weights, else a frozen copy in the compute dtype. Unit: nats per token. Logged as train/start_kl, unweighted.

Limits: it holds back the style as well as what collapses or is forgotten; at beta 1 the optimum is the normalised
(teacher x start^anchor_weight)^(1 / (1 + anchor_weight)). Weight 0 is `jsd`, and reads no start.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gold_style.config.schedule import at_step
from gold_style.config.schema import Beta, Positive, Weight
from gold_style.losses.divergence import JSD, reverse_kl
from gold_style.losses.fused import fused_jsd


@dataclass(kw_only=True)
class Options(Beta):
    """`temperature` is that of sampling, as in jsd."""

    readings = {"start": "anchor_weight"}
    temperature: Positive
    anchor_weight: Weight = 0.1


@dataclass(frozen=True, kw_only=True)
class Anchored(JSD):
    """The JSD to the teacher and the weighted KL to the start; without `start`, only the first."""

    weight: float

    def __call__(self, student_logits_NV: Tensor, teacher_logits_NV: Tensor, start_logits_NV: Tensor | None = None) -> Tensor:
        """Loss of each token in nats, shape (N,)."""
        loss_N = super().__call__(student_logits_NV, teacher_logits_NV)
        return loss_N if start_logits_NV is None else loss_N + self.weight * reverse_kl(student_logits_NV, start_logits_NV)

    def fused(
        self,
        hidden_ND: Tensor,
        head_VD: Tensor,
        teacher_hidden_ND: Tensor,
        teacher_head_VD: Tensor,
        weight_N: Tensor,
        *,
        start: tuple[Tensor, Tensor, Tensor | None] | None = None,
        **options: Any,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`fused_jsd` of it, once for the teacher and once for `start`: (hidden states, head, bias)."""
        loss, stats = fused_jsd(hidden_ND, head_VD, teacher_hidden_ND, teacher_head_VD, weight_N, self.beta, **options)
        if start is None:
            return loss, stats
        start_hidden_ND, start_head_VD, bias_V = start
        options |= {"teacher_bias": bias_V, "stats_mask_N": torch.zeros_like(weight_N, dtype=torch.bool)}
        anchor, found = fused_jsd(hidden_ND, head_VD, start_hidden_ND, start_head_VD, self.weight * weight_N, beta=1.0, **options)
        start_kl_N = found["loss_N"]
        return loss + anchor, stats | {"loss_N": stats["loss_N"] + self.weight * start_kl_N, "start_kl_N": start_kl_N}


def build(options: Options) -> Anchored:
    """For one tokenizer."""
    return Anchored(beta=at_step(options.beta, 0), weight=options.anchor_weight)
