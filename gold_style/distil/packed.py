"""Reads sequences of different lengths on a CPU without padding, behind a prefix whose keys and values are stored once.

The model's own forward pads a batch to its longest row, copies the prefix for every row and masks a (T, P + T) square. Here the tokens
of all sequences stand one behind the other, so the large products see no padding; each layer attends to the prefix with all tokens at
once, to the sequence itself row by row, and merges both parts by their log-sum-exp (as cascade and flash decoding do,
https://arxiv.org/abs/2205.14135 section 3.1). The readable twin is the model's own forward: Backbone.hidden.

    reader = PackedReader.of(backbone)                      # None on a GPU, or for a model that is not built this way
    states = reader.read(sequences, num_kept, prefix_kv)    # one (num_kept, D) tensor a sequence: states of its last tokens

Shapes: N tokens of all sequences, D hidden, H query heads, K key/value heads, G = H / K, E head width, P prefix tokens.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gold_style.distil.backbone import Backbone
from gold_style.distil.lean import is_lean, rotary_tables
from gold_style.distil.prefix_cache import PrefixKV

PACKED_TOKENS = 1024  # of one pass: enough for the products, few enough that activations stay small

OnKeys = Callable[[int, Tensor, Tensor], None]  # layer, keys (N, K, E), values (N, K, E)


class PackedReader:
    """View of a model; holds no weights of its own."""

    def __init__(self, backbone: Backbone):
        self.decoder = backbone.decoder
        self.device = backbone.device
        config = self.decoder.config
        self.layers = self.decoder.layers[: config.num_hidden_layers]
        self.num_heads, self.num_kv = config.num_attention_heads, config.num_key_value_heads
        self.width, self.scaling = self.layers[0].self_attn.head_dim, self.layers[0].self_attn.scaling

    @classmethod
    def of(cls, backbone: Backbone) -> "PackedReader | None":
        on_cpu = backbone.device.type == "cpu" and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
        return cls(backbone) if on_cpu and is_lean(backbone) else None

    @torch.no_grad()
    def read(
        self, sequences: Sequence[Sequence[int]], num_kept: Sequence[int], prefix: PrefixKV | None = None, on_keys: OnKeys | None = None
    ) -> list[Tensor]:
        """Last hidden states of the last `num_kept` tokens of each sequence (none of them empty), (num_kept, D) each.

        `on_keys` gets every layer's keys and values as they are made.
        """
        lengths = [len(sequence) for sequence in sequences]
        num_prefix = prefix.num_tokens if prefix else 0
        positions_N = torch.cat([torch.arange(num_prefix, num_prefix + length) for length in lengths])
        ends = torch.tensor(lengths).cumsum(0).tolist()
        kept = torch.cat([torch.arange(end - count, end) for end, count in zip(ends, num_kept, strict=True)])
        x_ND = F.embedding(torch.tensor([i for sequence in sequences for i in sequence]), self.decoder.embed_tokens.weight)
        cos, sin = rotary_tables(self.decoder, positions_N)
        for index, layer in enumerate(self.layers):
            attention, mlp = layer.self_attn, layer.mlp
            h_ND = layer.input_layernorm(x_ND)
            query, key = attention.q_proj(h_ND), attention.k_proj(h_ND)
            query_NHE = _rotate(query.view(-1, self.num_heads, self.width), cos, sin)
            key_NKE = _rotate(key.view(-1, self.num_kv, self.width), cos, sin)
            value_NKE = attention.v_proj(h_ND).view(-1, self.num_kv, self.width)
            if on_keys is not None:
                on_keys(index, key_NKE, value_NKE)
            mixed_NHE = self._attend(query_NHE, key_NKE, value_NKE, lengths, prefix.layers[index] if prefix else None)
            if index == len(self.layers) - 1:  # behind the last attention, other tokens matter to nobody
                mixed_NHE, x_ND = mixed_NHE[kept], x_ND[kept]
            x_ND = x_ND + attention.o_proj(mixed_NHE.flatten(1))
            h_ND = layer.post_attention_layernorm(x_ND)
            x_ND = x_ND + mlp.down_proj(F.silu(mlp.gate_proj(h_ND)).mul_(mlp.up_proj(h_ND)))
        return list(self.decoder.norm(x_ND).split(list(num_kept)))

    def _attend(self, query_NHE: Tensor, key_NKE: Tensor, value_NKE: Tensor, lengths: list[int], prefix) -> Tensor:
        """Attention of every token to the prefix and to its own sequence up to itself, (N, H, E)."""
        own_NHE, own_lse_NH = self._attend_own(query_NHE, key_NKE, value_NKE, lengths)
        if prefix is None:
            return own_NHE
        prefix_NHE, prefix_lse_NH = self._attend_prefix(query_NHE, *prefix)
        share_NH1 = torch.sigmoid(prefix_lse_NH - own_lse_NH)[..., None].to(own_NHE.dtype)
        return torch.lerp(own_NHE, prefix_NHE, share_NH1)

    def _attend_own(self, query_NHE: Tensor, key_NKE: Tensor, value_NKE: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
        groups = self.num_heads // self.num_kv
        mixed_NHE = torch.empty_like(query_NHE)
        lse_NH = query_NHE.new_empty(query_NHE.shape[:2], dtype=_lse_dtype(query_NHE))
        start = 0
        for length in lengths:
            row = slice(start, start + length)
            key, value = (x[row].repeat_interleave(groups, 1).transpose(0, 1)[None] for x in (key_NKE, value_NKE))
            mixed, lse = _flash(query_NHE[row].transpose(0, 1)[None], key, value, True, self.scaling)
            mixed_NHE[row], lse_NH[row] = mixed[0].transpose(0, 1), lse[0].transpose(0, 1)
            start += length
        return mixed_NHE, lse_NH

    def _attend_prefix(self, query_NHE: Tensor, keys_1KPE: Tensor, values_1KPE: Tensor) -> tuple[Tensor, Tensor]:
        """All tokens' heads of one group stand as queries before the one copy of the prefix."""
        num_tokens, groups = query_NHE.shape[0], self.num_heads // self.num_kv
        query = query_NHE.view(num_tokens, self.num_kv, groups, self.width).transpose(0, 1).reshape(1, self.num_kv, -1, self.width)
        mixed, lse = _flash(query, keys_1KPE, values_1KPE, False, self.scaling)
        mixed = mixed.view(self.num_kv, num_tokens, groups, self.width).transpose(0, 1)
        lse = lse.view(self.num_kv, num_tokens, groups).transpose(0, 1)
        return mixed.reshape(num_tokens, self.num_heads, self.width), lse.reshape(num_tokens, self.num_heads)


def _flash(query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Attention and the log of its normaliser; what `scaled_dot_product_attention` calls on a CPU, which keeps the second to itself."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal, scale=scale)


def _lse_dtype(query: Tensor) -> torch.dtype:
    return torch.float64 if query.dtype == torch.float64 else torch.float32


def _rotate(x_NHE: Tensor, cos_NE: Tensor, sin_NE: Tensor) -> Tensor:
    return x_NHE * cos_NE[:, None] + x_NHE.roll(x_NHE.shape[-1] // 2, -1) * sin_NE[:, None]


def batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Numbers of consecutive sequences that are read together: at most so many tokens, one sequence at least."""
    found: list[list[int]] = []
    filled = 0
    for i, length in enumerate(lengths):
        if not found or filled + length > max_tokens:
            found.append([])
            filled = 0
        found[-1].append(i)
        filled += length
    return found

