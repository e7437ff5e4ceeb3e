"""`loss.kind=jsd`: the generalised Jensen-Shannon divergence, token by token; maths and source in divergence.py, fused in fused.py.

loss_N = build(Options(beta=0.3, temperature=1.0))(student_logits_NV, teacher_logits_NV)      # nats
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from gold_style.config.schedule import at_step
from gold_style.config.schema import Beta, Positive
from gold_style.losses.divergence import JSD
from gold_style.losses.fused import fused_jsd


@dataclass(kw_only=True)
class Options(Beta):
    """`temperature` is that of sampling, as in TRL."""

    temperature: Positive


class Divergence(JSD):
    """JSD and its fused form."""

    @property
    def fused(self) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        """`fused_jsd` of this beta."""
        return partial(fused_jsd, beta=self.beta)


def build(options: Beta) -> Divergence:
    """For one tokenizer; of any loss that has a `beta`."""
    return Divergence(beta=at_step(options.beta, 0))
