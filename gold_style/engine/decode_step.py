"""One decode step of a Llama-like model with as few operations as it needs; the readable twin is the model's own forward.

A token of a small model costs transformers about as much in module calls, mask building and cache bookkeeping as in arithmetic. Here
the projections of a layer are joined (query, key and value; gate and up), keys and values are written in place, and attention reads
them where they lie. On a CPU the weights are laid out for products with few rows (oneDNN, as torch.compile does it): docs/speed.md. The
prompt itself is read by the model's own forward. A `live` decoder reads the weights where the model has them (engine/graph_decoder.py).

    decoder = StepDecoder.of(backbone, longest, num_rows)     # None for a model that is not built this way
    logits_BV = decoder.logits(decoder.step(ids_B, positions_B, cache.layers, bias_BL))

Shapes: B rows, D hidden, H query heads, K key/value heads, G = H / K, E head width, L tokens seen so far.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from gold_style.engine.backbone import Backbone, plain_logits
from gold_style.engine.prefix_cache import RoomyLayer, only_full_attention

FAMILIES = ("llama", "qwen2")  # decoders whose layers are exactly: norm, attention with rotary positions, norm, gated SiLU


FEW_ROWS = 64  # above, the ordinary product is as fast

Product = Callable[[Tensor], Tensor]  # x -> x @ weight.T (+ bias)


def product(weight: Tensor, bias: Tensor | None, num_rows: int) -> Product:
    """`F.linear` with these weights as they are now, for batches of about `num_rows` rows.

    fp32 on a CPU: from a copy in oneDNN's blocked layout, 1.1 to 1.8 times as fast at 8 rows. Other row numbers give right results, too.
    """
    packs = weight.device.type == "cpu" and weight.dtype == torch.float32 and num_rows <= FEW_ROWS and _has_onednn()
    if not packs:
        return lambda x: F.linear(x, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), num_rows)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


@dataclass(frozen=True)
class StepLayer:
    """Products and norms of one layer."""

    input_norm: Tensor
    qkv: Product
    out: Product
    post_norm: Tensor
    gate_up: Product
    down: Product


class StepDecoder:
    """Snapshot of a model's weights for decoding; make a new one once the weights have changed. A `live` one follows weights that are
    written in place; it needs a plain head and, in each step, a bias."""

    def __init__(self, backbone: Backbone, longest: int, num_rows: int, live: bool = False):
        decoder = backbone.decoder
        config = decoder.config
        attention = decoder.layers[0].self_attn
        self.embed, self.norm = decoder.embed_tokens.weight, decoder.norm.weight
        self.eps, self.scaling = config.rms_norm_eps, attention.scaling
        self.num_heads, self.num_kv, self.width = config.num_attention_heads, config.num_key_value_heads, attention.head_dim
        self.cos, self.sin = rotary_tables(decoder, torch.arange(longest, device=self.embed.device))
        self.live = live
        self.layers = [_layer(layer, num_rows, live) for layer in decoder.layers[: config.num_hidden_layers]]
        self.logits: Product = backbone.logits  # of (B, D) hidden states, shape (B, V)
        if backbone.is_plain:  # without the model: graph_decoder keeps a decoder only as long as its model
            as_is = live or self.embed.is_cuda
            self.logits = partial(plain_logits, backbone.head) if as_is else _joined([backbone.head], num_rows, live)

    @classmethod
    def of(cls, backbone: Backbone, longest: int, num_rows: int) -> "StepDecoder | None":
        """A decoder for `num_rows` sequences of up to `longest` tokens; None where the model has something this one does not know."""
        return cls(backbone, longest, num_rows) if is_llama_like(backbone) else None

    def step(self, ids_B: Tensor, positions_B: Tensor, cache: list[RoomyLayer], bias_BL: Tensor | None) -> Tensor:
        """Last hidden state of one new token a row, (B, D); its keys and values are appended to `cache`.

        `bias_BL` is added to the attention scores, the new token's column included: 0 where a row may look, -inf where not.
        """
        x_BD = F.embedding(ids_B, self.embed)
        size, num_rows = x_BD.shape[-1:], x_BD.shape[0]
        cos_B1E, sin_B1E = self.cos[positions_B, None], self.sin[positions_B, None]
        rotated, groups = self.num_heads + self.num_kv, self.num_heads // self.num_kv
        for layer, kv in zip(self.layers, cache, strict=True):
            qkv = layer.qkv(F.rms_norm(x_BD, size, layer.input_norm, self.eps))
            qkv = qkv.view(num_rows, rotated + self.num_kv, self.width)
            qk = qkv[:, :rotated]
            qk = qk * cos_B1E + qk.roll(self.width // 2, -1) * sin_B1E
            keys_BKLE, values_BKLE = kv.update(qk[:, self.num_heads :, None], qkv[:, rotated:, None])
            query = qk[:, : self.num_heads]
            if self.live:
                query_BKGE, mask = query.view(num_rows, self.num_kv, groups, self.width), bias_BL[:, None, None]
                mixed = F.scaled_dot_product_attention(query_BKGE, keys_BKLE, values_BKLE, attn_mask=mask, scale=self.scaling)
            else:
                query_BKGE = (query * self.scaling).view(num_rows, self.num_kv, groups, self.width)
                scores_BKGL = query_BKGE @ keys_BKLE.transpose(-1, -2)
                if bias_BL is not None:
                    scores_BKGL = scores_BKGL + bias_BL[:, None, None]
                mixed = scores_BKGL.softmax(-1) @ values_BKLE
            x_BD = x_BD + layer.out(mixed.reshape(num_rows, -1))
            gate, up = layer.gate_up(F.rms_norm(x_BD, size, layer.post_norm, self.eps)).chunk(2, -1)
            x_BD = x_BD + layer.down(F.silu(gate).mul_(up))
        return F.rms_norm(x_BD, size, self.norm, self.eps)


def is_llama_like(backbone: Backbone) -> bool:
    """Whether the model's layers are those of FAMILIES, with plain unsharded weights, without windows of attention, and with positions that
    do not depend on the length; engine/agreement.py has the last word."""
    config = backbone.decoder.config
    if not backbone.reading.packed or config.model_type not in FAMILIES or not only_full_attention(backbone):
        return False
    if type(backbone.decoder.embed_tokens) is not nn.Embedding or any(map(_is_adapted, backbone.decoder.layers)):
        return False
    if isinstance(backbone.decoder.embed_tokens.weight, DTensor):
        return False  # sharded: modules gather their weights as they run
    return (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default") in ("default", "linear", "llama3", "yarn")


def _is_adapted(layer: nn.Module) -> bool:
    """Whether an adapter, quantised weights or a bias is where a plain product is expected."""
    attention, mlp = layer.self_attn, layer.mlp
    products = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
    return any(type(module) is not nn.Linear for module in products) or mlp.down_proj.bias is not None


def rotary_tables(decoder: nn.Module, positions_N: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of these positions, (N, E) each; the sines carry the sign of transformers' `rotate_half`."""
    cos, sin = decoder.rotary_emb(decoder.embed_tokens.weight[:1, None], positions_N[None])
    half = sin.shape[-1] // 2
    return cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)


def _layer(layer: nn.Module, num_rows: int, live: bool) -> StepLayer:
    attention, mlp = layer.self_attn, layer.mlp
    return StepLayer(
        input_norm=layer.input_layernorm.weight,
        qkv=_joined([attention.q_proj, attention.k_proj, attention.v_proj], num_rows, live),
        out=_joined([attention.o_proj], num_rows, live),
        post_norm=layer.post_attention_layernorm.weight,
        gate_up=_joined([mlp.gate_proj, mlp.up_proj], num_rows, live),
        down=_joined([mlp.down_proj], num_rows, live),
    )


def _joined(linears: Sequence[nn.Linear], num_rows: int, live: bool) -> Product:
    """Their products side by side. `live`: one product of frozen weights, which are laid together for it, else one of each."""
    parameters = [linear.weight for linear in linears], [linear.bias for linear in linears if linear.bias is not None]
    if not live:
        weight, bias = (torch.cat(several) if len(several) > 1 else next(iter(several), None) for several in parameters)
        return product(weight, bias, num_rows)
    if len(linears) > 1 and any(weight.requires_grad for weight in parameters[0]):
        return lambda x: torch.cat([F.linear(x, linear.weight, linear.bias) for linear in linears], -1)
    weight, bias = (lay_together(several) if several else None for several in parameters)
    return lambda x: F.linear(x, weight, bias)


def lay_together(parameters: Sequence[nn.Parameter]) -> Tensor:
    """One tensor of which these are the parts from now on, so that whatever is written into them is in it, without a second copy."""
    parts = [parameter.detach() for parameter in parameters]
    first, places = parts[0], [(part.untyped_storage().data_ptr(), part.storage_offset()) for part in parts]
    ends = accumulate((part.numel() for part in parts), initial=first.storage_offset())
    if places == [(places[0][0], end) for end, _ in zip(ends, parts, strict=False)]:  # they are already
        return first.as_strided((sum(map(len, parts)), *first.shape[1:]), first.stride(), first.storage_offset())
    whole = torch.cat(parts)
    for parameter, part in zip(parameters, whole.split([len(part) for part in parts]), strict=True):
        parameter.data = part
    return whole
