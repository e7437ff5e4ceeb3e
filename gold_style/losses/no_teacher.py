"""`loss.kind=no_teacher`: a control without a teacher. Every token that the student has written gets the same negative advantage, -1.

    loss = log P(student)(token),      the policy gradient's -advantage x log P; nats, negative, without a lower bound

One paper (https://arxiv.org/abs/2608.31046) reaches with it what on-policy distillation reaches, on mathematics. What a style gains
with it, no teacher has taught. On tokens drawn from the student its gradient is 0 on average, so what moves the weights is noise and
the optimizer. The teacher is still read, but only for the statistics.
"""

from dataclasses import dataclass

from torch import Tensor

from gold_style.config.schema import Positive
from gold_style.losses.divergence import log_probs


@dataclass(kw_only=True)
class Options:
    """`temperature` is that of sampling."""

    temperature: Positive


class NoTeacher:
    """log P of each written token."""

    reads = ("completion_N",)

    def __call__(self, student_logits_NV: Tensor, teacher_logits_NV: Tensor, completion_N: Tensor) -> Tensor:
        """Shape (N,); a token of probability 0 has no gradient."""
        return log_probs(student_logits_NV).gather(1, completion_N[:, None])[:, 0]


def build(options: Options) -> NoTeacher:
    """For one tokenizer."""
    return NoTeacher()
