"""`train.optim=muon`: Muon on the 2-D matrices of the layers, AdamW on the rest (embeddings, head, norms, biases).

torch.optim.Muon (torch 2.13, torch/optim/_muon.py) orthogonalises in bfloat16, for which most CPUs have no matrix
unit: a step of the embedded student takes ten times as long as in float32. There the iteration runs in float32, and is
closer to the formula as well. Method: https://kellerjordan.github.io/posts/muon/
"""

import contextlib

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import TrainingArguments


class _NoBfloat16(TorchFunctionMode):
    """Within it `tensor.bfloat16()` is a float32 copy: the one place where torch's Muon chooses its precision."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)  # a copy, because Muon scales it in place
        return function(*args, **(kwargs or {}))


class Muon(torch.optim.Muon):
    """torch.optim.Muon whose Newton-Schulz iteration is float32 where every parameter is on the CPU."""

    def step(self, closure: None = None) -> None:
        assert closure is None
        is_on_cpu = all(parameter.device.type == "cpu" for group in self.param_groups for parameter in group["params"])
        with _NoBfloat16() if is_on_cpu else contextlib.nullcontext():
            super().step()


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(matrices of the layers, which Muon trains; everything else: embeddings, head, norms, biases, which AdamW
    trains).

    A layer's matrix is a trained 2-D parameter whose name holds "layers." (transformers' name for the blocks of a
    decoder).
    """
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (matrices if parameter.ndim == 2 and "layers." in name else rest).append(parameter)
    return matrices, rest


class MuonWithAdamW(torch.optim.Optimizer):
    """Steps both, so that schedule, checkpoint and clipping see a single optimizer; its `param_groups` are theirs, so one scheduler
    moves every learning rate by the same factor.

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

    def step(self, closure: None = None) -> None:
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
