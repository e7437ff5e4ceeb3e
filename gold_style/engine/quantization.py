"""Frozen linear layers in 8 or 4 bits a weight: a smaller teacher, and the base of QLoRA.

    quantize(model, "int8")      # every linear layer but the head, in place

Only the storage is quantised: each product is computed with weights that are restored for it, in the dtype of its input. So a row's
numbers do not depend on what it is batched with (as with bitsandbytes' own 8-bit layer, which also quantises the input), every GPU and
CPU can do it, and a merged copy is exact. docs/log.md has the choice and the measurements.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

BLOCK = 64  # weights that share a scale


class QuantizedLinear(nn.Linear):
    """A frozen linear layer. int8: 255 even steps; int4: NF4 (https://arxiv.org/abs/2305.14314); each with a float32 scale a BLOCK."""

    def __init__(self, linear: nn.Linear, quantization: str):
        from bitsandbytes import functional

        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        weight = linear.weight.detach().contiguous()
        if quantization == "int4":
            packed, state = functional.quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4")
        else:
            code = functional.create_linear_map(signed=True, total_bits=8).to(weight.device)
            packed, state = functional.quantize_blockwise(weight, code=code, blocksize=BLOCK)
        self.is_nf4 = quantization == "int4"
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = linear.bias
        # as their bits, because a model's `.to(dtype)` would round floating-point buffers
        self.register_buffer("scale_bits", state.absmax.float().view(torch.int32))
        self.register_buffer("code_bits", state.code.float().view(torch.int32))

    def restored(self, dtype: torch.dtype) -> Tensor:
        """The weight, (out, in)."""
        from bitsandbytes import functional

        state = functional.QuantState(
            absmax=self.scale_bits.view(torch.float32),
            shape=torch.Size((self.out_features, self.in_features)),
            code=self.code_bits.view(torch.float32),
            blocksize=BLOCK,
            quant_type="nf4" if self.is_nf4 else None,
            dtype=dtype,
        )
        restore = functional.dequantize_4bit if self.is_nf4 else functional.dequantize_blockwise
        return restore(self.weight, state).view(state.shape)

    def forward(self, x: Tensor) -> Tensor:
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            product = _Product.apply(x.to(dtype), self)
            return product if self.bias is None else product + self.bias.to(dtype)


class _Product(torch.autograd.Function):
    """x @ weight.T; the restored weight is not kept for the backward pass, but restored again."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: QuantizedLinear) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.restored(x.dtype))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad @ ctx.layer.restored(grad.dtype), None


def quantize(model: PreTrainedModel, quantization: str) -> PreTrainedModel:
    """`model`, its linear layers quantised ("int8", "int4"; "none": as they are). The head stays whole, for the loss reads its weight.

    Raises ValueError for a model that has no such layers.
    """
    if quantization == "none":
        return model
    head = model.get_output_embeddings()
    found = [name for name, module in model.named_modules() if type(module) is nn.Linear and module is not head]
    if not found:
        raise ValueError(f"{type(model).__name__} has no plain linear layers that could be quantised to {quantization}; choose none")
    for name in found:
        model.set_submodule(name, QuantizedLinear(model.get_submodule(name), quantization))
    return model


def restore(model: PreTrainedModel) -> PreTrainedModel:
    """`model`, its quantised layers plain ones again, with what is left of their weights; in the model's dtype."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantizedLinear):
            plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
            plain.weight, plain.bias = nn.Parameter(layer.restored(model.dtype)), layer.bias
            model.set_submodule(name, plain)
    return model
