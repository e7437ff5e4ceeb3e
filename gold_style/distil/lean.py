"""One decode step of a Llama-like model with as few operations as it needs; the readable twin is the model's own forward.

A token of a small model costs transformers about as much in module calls, mask building and cache bookkeeping as in arithmetic. Here
the projections of a layer are joined (query, key and value; gate and up), keys and values are written in place, and attention reads
them where they lie. The prompt itself is read by the model's own forward.

    lean = LeanDecoder.of(backbone, longest)       # None for a model that is not built this way
    hidden_BD = lean.step(ids_B, positions_B, cache.layers, bias_BL)

Shapes: B rows, D hidden, H query heads, K key/value heads, G = H / K, E head width, L tokens seen so far.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gold_style.distil.backbone import Backbone
from gold_style.distil.prefix_cache import RoomyLayer

FAMILIES = ("llama", "qwen2")  # decoders whose layers are exactly: norm, attention with rotary positions, norm, gated SiLU


@dataclass(frozen=True)
class LeanLayer:
    """Weights of one layer; matrices as nn.Linear keeps them (out, in)."""

    input_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    post_norm: Tensor
    gate_up: Tensor
    down: Tensor


class LeanDecoder:
    """Snapshot of a model's weights for decoding; make a new one once the weights have changed."""

    def __init__(self, backbone: Backbone, longest: int):
        decoder = backbone.decoder
        config = decoder.config
        attention = decoder.layers[0].self_attn
        self.embed, self.norm = decoder.embed_tokens.weight, decoder.norm.weight
        self.eps, self.scaling = config.rms_norm_eps, attention.scaling
        self.num_heads, self.num_kv, self.width = config.num_attention_heads, config.num_key_value_heads, attention.head_dim
        positions = torch.arange(longest, device=self.embed.device)[None]
        cos, sin = decoder.rotary_emb(self.embed[:1, None], positions)
        half = self.width // 2
        self.cos, self.sin = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)  # sign of rotate_half folded in
        self.layers = [_layer(layer) for layer in decoder.layers[: config.num_hidden_layers]]

    @classmethod
    def of(cls, backbone: Backbone, longest: int) -> "LeanDecoder | None":
        """A decoder for sequences of up to `longest` tokens; None where the model has something this one does not know."""
        config = backbone.decoder.config
        if config.model_type not in FAMILIES or getattr(config, "hidden_act", None) != "silu":
            return None
        first = backbone.decoder.layers[0]
        attention, mlp = first.self_attn, first.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        if any(type(module) is not nn.Linear for module in projections) or mlp.down_proj.bias is not None:
            return None  # adapters, quantised weights
        rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        return cls(backbone, longest) if rope_type in ("default", "linear", "llama3", "yarn") else None

    def step(self, ids_B: Tensor, positions_B: Tensor, cache: list[RoomyLayer], bias_BL: Tensor | None) -> Tensor:
        """Last hidden state of one new token a row, (B, D); its keys and values are appended to `cache`.

        `bias_BL` is added to the attention scores, the new token's column included: 0 where a row may look, -inf where not.
        """
        x_BD = F.embedding(ids_B, self.embed)
        size, num_rows = x_BD.shape[-1:], x_BD.shape[0]
        cos_B1E, sin_B1E = self.cos[positions_B, None], self.sin[positions_B, None]
        rotated, groups = self.num_heads + self.num_kv, self.num_heads // self.num_kv
        for layer, kv in zip(self.layers, cache, strict=True):
            qkv = F.linear(F.rms_norm(x_BD, size, layer.input_norm, self.eps), layer.qkv, layer.qkv_bias)
            qkv = qkv.view(num_rows, rotated + self.num_kv, self.width)
            qk = qkv[:, :rotated]
            qk = qk * cos_B1E + qk.roll(self.width // 2, -1) * sin_B1E
            keys_BKLE, values_BKLE = kv.update(qk[:, self.num_heads :, None], qkv[:, rotated:, None])
            query_BKGE = (qk[:, : self.num_heads] * self.scaling).view(num_rows, self.num_kv, groups, self.width)
            scores_BKGL = query_BKGE @ keys_BKLE.transpose(-1, -2)
            if bias_BL is not None:
                scores_BKGL = scores_BKGL + bias_BL[:, None, None]
            mixed = scores_BKGL.softmax(-1) @ values_BKLE
            x_BD = x_BD + F.linear(mixed.view(num_rows, -1), layer.out, layer.out_bias)
            gate, up = F.linear(F.rms_norm(x_BD, size, layer.post_norm, self.eps), layer.gate_up).chunk(2, -1)
            x_BD = x_BD + F.linear(F.silu(gate).mul_(up), layer.down)
        return F.rms_norm(x_BD, size, self.norm, self.eps)


def _layer(layer: nn.Module) -> LeanLayer:
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [projection.bias for projection in projections]
    return LeanLayer(
        input_norm=layer.input_layernorm.weight,
        qkv=torch.cat([projection.weight for projection in projections]),
        qkv_bias=None if biases[0] is None else torch.cat(biases),
        out=attention.o_proj.weight,
        out_bias=attention.o_proj.bias,
        post_norm=layer.post_attention_layernorm.weight,
        gate_up=torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
        down=mlp.down_proj.weight,
    )
