"""`loss.kind=contrast`: the teacher, extrapolated away from itself without its context: a knob for the strength of the style.

    logits = teacher + strength x (teacher - bare),      q is proportional to teacher^(1 + strength) / bare^strength

`bare` is the same teacher on what the student reads, without rules and examples; what the context makes likelier becomes likelier
still. It is the optimum of ExOPD (https://arxiv.org/abs/2602.12125), whose scale is 1 + strength here, with the bare teacher as its
reference. The divergence to it is the generalised JSD of `loss.beta`, in nats; strength 0 is `jsd`.

A head without a soft cap is linear, so the same sum over the teacher's last hidden states gives these logits; the fused loss then
costs what it costs anyway, and the teacher one more pass. Limits: noise of both readings is multiplied by about 1 + 2 x strength,
a context that changes little yields mostly noise, and beyond strength 1 texts may fall apart.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gold_style.config.schedule import at_step
from gold_style.config.schema import Beta, Positive, Weight
from gold_style.losses.divergence import JSD
from gold_style.losses.fused import fused_jsd


@dataclass(kw_only=True)
class Options(Beta):
    """`temperature` is that of sampling, as in jsd."""

    readings = {"bare": "contrast_strength"}
    temperature: Positive
    contrast_strength: Weight = 0.5


@dataclass(frozen=True, kw_only=True)
class Contrast(JSD):
    """The JSD to the extrapolated teacher; without `bare`, to the teacher."""

    strength: float

    def __call__(self, student_logits_NV: Tensor, teacher_logits_NV: Tensor, bare_logits_NV: Tensor | None = None) -> Tensor:
        """Divergence of each token in nats, shape (N,)."""
        return super().__call__(student_logits_NV, self._target(teacher_logits_NV, bare_logits_NV))

    def fused(
        self,
        hidden_ND: Tensor,
        head_VD: Tensor,
        teacher_hidden_ND: Tensor,
        teacher_head_VD: Tensor,
        weight_N: Tensor,
        *,
        bare: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """`fused_jsd` of it; `bare` holds hidden states."""
        target_ND = self._target(teacher_hidden_ND, bare)
        return fused_jsd(hidden_ND, head_VD, target_ND, teacher_head_VD, weight_N, self.beta, **options)

    def _target(self, teacher: Tensor, bare: Tensor | None) -> Tensor:
        return teacher if bare is None else extrapolated(teacher, bare, self.strength)


def build(options: Options) -> Contrast:
    """For one tokenizer."""
    return Contrast(beta=at_step(options.beta, 0), strength=options.contrast_strength)


def extrapolated(teacher: Tensor, bare: Tensor, strength: float) -> Tensor:
    """Logits, or hidden states before a linear head, in the teacher's dtype; where one of both is infinite, the teacher's."""
    wide = torch.promote_types(teacher.dtype, torch.float32)
    away = (teacher.to(wide) - bare.to(wide)).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return (teacher.to(wide) + strength * away).to(teacher.dtype)
