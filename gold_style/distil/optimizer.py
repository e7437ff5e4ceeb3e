"""Optimizers that transformers does not have by name: `train.optim=muon`.

Muon (gold_style/distil/muon.py) on the 2-D matrices of the layers, AdamW on the rest
(embeddings, head, norms, biases), behind one optimizer so that schedule, checkpoint and clipping see a single one.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import TrainingArguments

from gold_style.distil.muon import Muon, split_parameters


class MuonWithAdamW(torch.optim.Optimizer):
    """Steps both; its `param_groups` are theirs, so one scheduler moves every learning rate by the same factor.

    Args: the model; the trainer's arguments, of which AdamW's learning rate, betas and epsilon and the weight decay of both are read;
    Muon's learning rate.
    """

    def __init__(self, model: nn.Module, args: TrainingArguments, muon_learning_rate: float):
        matrices, rest = split_parameters(model)
        if not matrices:
            raise ValueError("train.optim=muon: the student has no trained 2-D layer matrices; use train.optim=adamw_torch")
        decay, betas = args.weight_decay, (args.adam_beta1, args.adam_beta2)
        self.optimizers: dict[str, torch.optim.Optimizer] = {"muon": Muon(matrices, lr=muon_learning_rate, weight_decay=decay)}
        if rest:  # an adapter may have nothing but matrices
            self.optimizers["adamw"] = torch.optim.AdamW(
                rest, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, weight_decay=decay
            )
        # not calling super().__init__: it would copy the groups, and the schedule must reach the originals
        self.defaults: dict[str, object] = {}
        self._hook_for_profile = lambda: None
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]

    @property
    def state(self):
        return {parameter: state for optimizer in self.optimizers.values() for parameter, state in optimizer.state.items()}

    def step(self, closure: Callable[[], float] | None = None) -> None:
        assert closure is None
        for optimizer in self.optimizers.values():
            optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict:
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state_dict: dict) -> None:
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state_dict[name])
        self._share_groups()
