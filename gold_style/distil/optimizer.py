"""Optimizers that transformers does not have by name: `train.optim=muon`.

Muon (gold_style/distil/muon.py) on the 2-D matrices of the layers, AdamW on the rest
(embeddings, head, norms, biases), behind one optimizer so that schedule, checkpoint and clipping see a single one.
"""

from collections.abc import Callable

import torch
from torch import nn

from gold_style.distil.muon import Muon, split_parameters


class MuonWithAdamW(torch.optim.Optimizer):
    """Steps both; its `param_groups` are theirs, so one scheduler moves every learning rate by the same factor.

    Args: the model; `learning_rate` for AdamW, `muon_learning_rate` for Muon; weight decay for both.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        learning_rate: float,
        muon_learning_rate: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        matrices, rest = split_parameters(model)
        if not matrices:
            raise ValueError("train.optim=muon: the student has no trained 2-D layer matrices; use train.optim=adamw_torch")
        self.parts: dict[str, torch.optim.Optimizer] = {"muon": Muon(matrices, lr=muon_learning_rate, weight_decay=weight_decay)}
        if rest:  # an adapter may have matrices alone
            self.parts["adamw"] = torch.optim.AdamW(rest, lr=learning_rate, betas=betas, eps=eps, weight_decay=weight_decay)
        # not calling super().__init__: it would copy the groups, and the schedule must reach the originals
        self.defaults: dict[str, object] = {}
        self._hook_for_profile = lambda: None
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]

    @property
    def state(self):
        return {parameter: state for part in self.parts.values() for parameter, state in part.state.items()}

    def step(self, closure: Callable[[], float] | None = None) -> None:
        assert closure is None
        for part in self.parts.values():
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts.values():
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self._share_groups()
