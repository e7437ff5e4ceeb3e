"""torch's Muon at the speed it should have on a CPU, and the split of a model's parameters between Muon and AdamW.

torch.optim.Muon (torch 2.13, torch/optim/_muon.py) orthogonalises in bfloat16, for which most CPUs have no matrix
unit: a step of the embedded student takes ten times as long as in float32. There the iteration runs in float32, and is
closer to the formula as well. Method: https://kellerjordan.github.io/posts/muon/
"""

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class _NoBfloat16(TorchFunctionMode):
    """Within it `tensor.bfloat16()` is a float32 copy: the one place where torch's Muon chooses its precision."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)  # a copy, because Muon scales it in place
        return function(*args, **(kwargs or {}))


class Muon(torch.optim.Muon):
    """torch.optim.Muon whose Newton-Schulz iteration is float32 where every parameter is on the CPU."""

    @torch.no_grad()
    def step(self, closure=None):
        """One optimizer step; returns what `closure` returns."""
        if any(parameter.device.type != "cpu" for group in self.param_groups for parameter in group["params"]):
            return super().step(closure)
        loss = None
        if closure is not None:  # the model's own bfloat16 must stay bfloat16
            with torch.enable_grad():
                loss = closure()
        with _NoBfloat16():
            super().step()
        return loss


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(matrices of the layers, which Muon trains; everything else: embeddings, head, norms, biases, which AdamW
    trains).

    A layer's matrix is a trained 2-D parameter whose name holds "layers." (transformers' name for the blocks of a
    decoder).
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [parameter for name, parameter in trained if parameter.ndim == 2 and "layers." in name]
    chosen = {id(parameter) for parameter in matrices}
    return matrices, [parameter for _, parameter in trained if id(parameter) not in chosen]
