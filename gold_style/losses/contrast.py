"""The teacher, extrapolated away from itself without its context: a knob for the strength of the style.

    logits = teacher + strength x (teacher - bare),      q is proportional to teacher^(1 + strength) / bare^strength

`bare` is the same teacher on what the student reads, without rules and examples; what the context makes likelier becomes likelier
still. It is the optimum of ExOPD (https://arxiv.org/abs/2602.12125), whose scale is 1 + strength here, with the bare teacher as its
reference. The divergence to it is the generalised JSD of `loss.beta`, in nats; strength 0 is `jsd`.

A head without a soft cap is linear, so the same sum over the teacher's last hidden states gives these logits; the fused loss then
costs what it costs anyway, and the teacher one more pass. Limits: noise of both readings is multiplied by about 1 + 2 x strength,
a context that changes little yields mostly noise, and beyond strength 1 texts may fall apart.
"""

import torch
from torch import Tensor


def extrapolated(teacher: Tensor, bare: Tensor, strength: float) -> Tensor:
    """Logits, or hidden states before a linear head, in the teacher's dtype; where one of both is infinite, the teacher's."""
    wide = torch.promote_types(teacher.dtype, torch.float32)
    away = (teacher.to(wide) - bare.to(wide)).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return (teacher.to(wide) + strength * away).to(teacher.dtype)
