"""Losses, gradients and weights that are not finite: the run ends after the very step, and nothing of it is saved.

raise nonfinite(trainer, "the loss is nan", rows)
"""

from pathlib import Path

import torch
from transformers import TrainerCallback

from gold_style.distil.window import Row
from gold_style.runs.checkpoints import checkpoints_in

NAMED_ROWS = 8


class NonFinite(RuntimeError):
    """Training met a loss, gradient or weight that is not finite."""


def nonfinite(trainer, what: str, rows: list[Row], can_skip: bool = True) -> NonFinite:
    """The error: what was not finite, at which step and on which rows, what is left, and what to do about it."""
    kept = checkpoints_in(Path(trainer.args.output_dir))
    last = f"The last checkpoint, {kept[-1].name}, is untouched" if kept else "No checkpoint was written yet"
    remedy = ", or set on_nonfinite=skip to drop such steps" if can_skip else "; on_nonfinite=skip cannot bring weights back"
    places = ", ".join(row.prompt.origin or f"row {row.number}" for row in rows[:NAMED_ROWS]) + (" ..." if len(rows) > NAMED_ROWS else "")
    return NonFinite(
        f"step {trainer.state.global_step + 1}: {what}; rows of the window: {places}. {last}. Lower train.learning_rate or "
        f"train.max_grad_norm{remedy}"
    )


class FiniteWeights(TrainerCallback):
    """Raises NonFinite after an optimizer step that left a weight infinite or NaN."""

    def __init__(self, trainer):
        self.trainer = trainer

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        if not all_finite([p.detach() for p in model.parameters() if p.requires_grad]):
            names = [name for name, p in model.named_parameters() if p.requires_grad and not all_finite([p.detach()])]
            what = f"{len(names)} of the weights' tensors are not finite, {names[0]} first"
            raise nonfinite(self.trainer, what, self.trainer.window, can_skip=False)


@torch.no_grad()
def all_finite(tensors: list[torch.Tensor]) -> bool:
    """Whether every element of every tensor is finite; one pass over memory, one transfer.

    On a GPU a few kernels read them all; on a CPU `_foreach_norm` takes seven times as long as `aminmax`.
    """
    local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    tensors = [tensor for tensor in local if tensor.numel()]
    is_on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
    bounds = [bound for tensor in tensors for bound in tensor.aminmax()] if is_on_cpu else torch._foreach_norm(tensors, torch.inf)
    return not tensors or bool(torch.stack([bound.float() for bound in bounds]).isfinite().all())
