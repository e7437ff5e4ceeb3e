"""`loss.kind=topk_tail`: the teacher's k most probable tokens one by one, and all its others as one event, the tail.

That is what a served teacher tells: k log-probabilities a token; the maths below takes no more. Both distributions are coarsened to
k + 1 events, and the generalised JSD of gold_style/losses/divergence.py compares those. Coarsening never raises a divergence; with
k = V, or k = V - 1, it is that of `jsd`.

Let p, q be the student's and the teacher's probabilities and P, Q their tails' sums. The coarse divergence and its exact gradient with
respect to the student's logits are those of the JSD between p and a teacher whose tail has the student's own proportions,
q'(v) = p(v) Q / P, held constant: log(q'/p) is the same number at every token of the tail. So any loss over the vocabulary will do:

    loss_N = JSD(beta=0.3)(student_logits_NV, with_tail(student_logits_NV, top_ids_NK, top_logprobs_NK).detach())

Limit: which token of the tail the teacher would rather write is not learned, only how much of it there is. Losses over a
teacher's top k are not new; NeMo-RL and verl have some. Shapes: N scored tokens, V vocabulary, K top tokens. Unit: nats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gold_style.config.schedule import at_step
from gold_style.config.schema import Beta, Count, Positive
from gold_style.losses.divergence import JSD, MASKED_LOGPROB
from gold_style.losses.fused import fused_jsd


@dataclass(kw_only=True)
class Options(Beta):
    """`temperature` is that of sampling, as in jsd."""

    temperature: Positive
    tail_k: Count = 64


@dataclass(frozen=True, kw_only=True)
class TopkTail(JSD):
    """The JSD of the teacher's top tokens and the tail."""

    tail_k: int

    def __call__(self, student_logits_NV: Tensor, teacher_logits_NV: Tensor) -> Tensor:
        """Divergence of each token in nats, shape (N,)."""
        return super().__call__(student_logits_NV, top_and_tail(student_logits_NV, teacher_logits_NV, self.tail_k))

    @property
    def fused(self) -> Callable[..., Any]:
        """`fused_jsd` of it."""
        return partial(fused_jsd, beta=self.beta, target=partial(top_and_tail, tail_k=self.tail_k))


def build(options: Options) -> TopkTail:
    """For one tokenizer."""
    return TopkTail(beta=at_step(options.beta, 0), tail_k=options.tail_k)


def with_tail(student_logits_NV: Tensor, top_ids_NK: Tensor, top_logprobs_NK: Tensor, tail_logprob_N1: Tensor | None = None) -> Tensor:
    """The teacher's log-probabilities, (N, V), with its tail in the student's proportions; constant for the gradient.

    `tail_logprob_N1` None: what `top_logprobs_NK` leave of 1, at least their rounding.
    """
    student_NV = student_logits_NV.detach().to(torch.promote_types(student_logits_NV.dtype, torch.float32)).clamp_min(MASKED_LOGPROB)
    top_NK = top_logprobs_NK.to(student_NV.dtype)
    if tail_logprob_N1 is None:
        tail_logprob_N1 = torch.log1p(-top_NK.exp().sum(-1, keepdim=True)).nan_to_num(-math.inf, neginf=-math.inf)
        tail_logprob_N1 = tail_logprob_N1.clamp_min(math.log(torch.finfo(top_NK.dtype).eps))
    if top_ids_NK.shape[1] < student_NV.shape[1]:  # else there is no tail
        rest_N1 = student_NV.scatter(-1, top_ids_NK, -math.inf).logsumexp(-1, keepdim=True)
        student_NV = student_NV + (tail_logprob_N1 - rest_N1).clamp_min(MASKED_LOGPROB)
    return student_NV.scatter(-1, top_ids_NK, top_NK)


def top_and_tail(student_logits_NV: Tensor, teacher_logits_NV: Tensor, tail_k: int) -> Tensor:
    """`with_tail` for a teacher whose logits are all there; with as many top tokens as the vocabulary has, its logits as they are.

    What a server tells instead of logits has the shape (N, 2, K): ids and log-probabilities of the top tokens.
    """
    if teacher_logits_NV.dim() == 3:
        return with_tail(student_logits_NV, teacher_logits_NV[:, 0].long(), teacher_logits_NV[:, 1])
    if tail_k >= teacher_logits_NV.shape[1]:
        return teacher_logits_NV
    top_NK, ids_NK = teacher_logits_NV.topk(tail_k, -1)
    return with_tail(student_logits_NV, ids_NK, top_NK, teacher_logits_NV.scatter(-1, ids_NK, -math.inf).logsumexp(-1, keepdim=True))
