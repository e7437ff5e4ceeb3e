"""Reads sequences of different lengths without padding, after a prefix whose keys and values are stored once.

The model's own forward pads a batch to its longest row, copies the prefix for every row and masks a (T, P + T) square. Here the tokens
of all sequences are joined, so the large products see no padding; each layer attends to the prefix with all tokens at
once, to the sequence itself row by row, and merges both parts by their log-sum-exp (as cascade and flash decoding do,
https://arxiv.org/abs/2205.14135 section 3.1). On a GPU with flash attention
that is how a teacher reads after its prefix (only its attention to the sequences themselves is padded there); all else is left to the
model's own forward. The readable twin is the model's own forward: Backbone.hidden.

    reader = PackedReader.of(backbone)                      # None for a model that is not built this way
    states = reader.read(sequences, num_kept, prefix_kv)    # one (num_kept, D) tensor a sequence: states of its last tokens
    hidden = reader.states(ids_N, lengths, kept)            # differentiable, for the student's training pass

Shapes: N tokens of all sequences, D hidden, H query heads, K key/value heads, G = H / K, E head width, P prefix tokens.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gold_style.engine.backbone import Backbone, padded_batches, right_pad
from gold_style.engine.decode_step import is_llama_like, rotary_tables
from gold_style.engine.prefix_cache import PrefixKV

PACKED_TOKENS = 1024  # of one pass: enough for the products, few enough that activations stay small

CPU_KERNEL = "_scaled_dot_product_flash_attention_for_cpu"
BLOCK_NUMBERS = 64 * 1024  # of pointwise work: a few such blocks fit into a core's own cache

OnKeys = Callable[[int, Tensor, Tensor], None]  # layer, keys (N, K, E), values (N, K, E)


class PackedReader:
    """View of a model; holds no weights of its own."""

    def __init__(self, backbone: Backbone):
        self.decoder = backbone.decoder
        self.device = backbone.device
        self.is_padded = self.device.type != "cpu"  # one call for all rows costs a GPU less than one for each
        config = self.decoder.config
        self.layers = self.decoder.layers[: config.num_hidden_layers]
        self.num_heads, self.num_kv = config.num_attention_heads, config.num_key_value_heads
        self.width, self.scaling = self.layers[0].self_attn.head_dim, self.layers[0].self_attn.scaling

    @classmethod
    def of(cls, backbone: Backbone, after_prefix: bool = False) -> "PackedReader | None":
        """On a GPU only for reading after a prefix."""
        decoder = backbone.decoder
        is_hooked = decoder._forward_hooks or decoder._forward_pre_hooks  # sharding, offloading or an observer: its own forward must run
        if is_hooked or not is_llama_like(backbone):
            return None
        on_cpu = backbone.device.type == "cpu"
        has_kernel = hasattr(torch.ops.aten, CPU_KERNEL) if on_cpu else after_prefix and _has_flash(backbone)
        return cls(backbone) if has_kernel else None

    @classmethod
    def for_training(cls, backbone: Backbone) -> "PackedReader | None":
        """None also where the model's own forward does something more: autocast, attention dropout, gradient checkpointing."""
        config = backbone.decoder.config
        does_more = torch.is_autocast_enabled("cpu") or getattr(config, "attention_dropout", 0.0) or backbone.decoder.gradient_checkpointing
        return None if does_more else cls.of(backbone)

    @torch.no_grad()
    def read(
        self, sequences: Sequence[Sequence[int]], num_kept: Sequence[int], prefix: PrefixKV | None = None, on_keys: OnKeys | None = None
    ) -> list[Tensor]:
        """Last hidden states of the last `num_kept` tokens of each sequence (none of them empty), (num_kept, D) each.

        `on_keys` gets every layer's keys and values as they are made.
        """
        lengths = [len(sequence) for sequence in sequences]
        ends = torch.tensor(lengths).cumsum(0).tolist()
        kept = torch.cat([torch.arange(end - count, end) for end, count in zip(ends, num_kept, strict=True)])
        ids_N = torch.tensor([i for sequence in sequences for i in sequence], device=self.device)
        return list(self.states(ids_N, lengths, kept.to(self.device), prefix, on_keys).split(list(num_kept)))

    def states(
        self, ids_N: Tensor, lengths: Sequence[int], kept: Tensor, prefix: PrefixKV | None = None, on_keys: OnKeys | None = None
    ) -> Tensor:
        """Last hidden states of the tokens whose places in `ids_N` are `kept`, (kept, D); differentiable where no prefix is given.

        `ids_N` are the tokens of sequences of these lengths, joined.
        """
        num_prefix = prefix.num_tokens if prefix else 0
        positions_N = torch.cat([torch.arange(num_prefix, num_prefix + length) for length in lengths])
        embedding = self.decoder.embed_tokens
        x_ND = F.embedding(ids_N, embedding.weight, embedding.padding_idx)  # whose row of the embedding gets no gradient
        cos, sin = rotary_tables(self.decoder, positions_N.to(self.device))
        places_BT = self._places(lengths) if self.is_padded else None
        for index, layer in enumerate(self.layers):
            attention, mlp = layer.self_attn, layer.mlp
            h_ND = layer.input_layernorm(x_ND)
            query, key = attention.q_proj(h_ND), attention.k_proj(h_ND)
            query_NHE = _rotate(query.view(-1, self.num_heads, self.width), cos, sin)
            key_NKE = _rotate(key.view(-1, self.num_kv, self.width), cos, sin)
            value_NKE = attention.v_proj(h_ND).view(-1, self.num_kv, self.width)
            if on_keys is not None:
                on_keys(index, key_NKE, value_NKE)
            mixed_NHE = self._attend(query_NHE, key_NKE, value_NKE, lengths, places_BT, prefix.layers[index] if prefix else None)
            if index == len(self.layers) - 1:  # after the last attention nobody needs the other tokens
                mixed_NHE, x_ND = mixed_NHE[kept], x_ND[kept]
            x_ND = x_ND + attention.o_proj(mixed_NHE.flatten(1))
            h_ND = layer.post_attention_layernorm(x_ND)
            x_ND = x_ND + mlp.down_proj(SwiGLU.apply(mlp.gate_proj(h_ND), mlp.up_proj(h_ND)))
        return self.decoder.norm(x_ND)

    def _attend(self, query_NHE: Tensor, key_NKE: Tensor, value_NKE: Tensor, lengths: list[int], places_BT, prefix) -> Tensor:
        """Attention of every token to the prefix and to its own sequence up to itself, (N, H, E)."""
        if places_BT is None:
            own_NHE, own_lse_NH = self._attend_own(query_NHE, key_NKE, value_NKE, lengths)
        else:
            own_NHE, own_lse_NH = self._attend_padded(query_NHE, key_NKE, value_NKE, *places_BT)
        if prefix is None:
            return own_NHE
        prefix_NHE, prefix_lse_NH = self._attend_prefix(query_NHE, *prefix)
        share_NH1 = torch.sigmoid(prefix_lse_NH - own_lse_NH)[..., None].to(own_NHE.dtype)
        return torch.lerp(own_NHE, prefix_NHE, share_NH1)

    def _attend_own(self, query_NHE: Tensor, key_NKE: Tensor, value_NKE: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        mixed, lses = [], []
        for query, key, value in zip(*(x.split(list(lengths)) for x in (query_NHE, key_NKE, value_NKE)), strict=True):
            mixed_HTE, lse_HT = _flash(*(x.transpose(0, 1)[None] for x in (query, key, value)), True, self.scaling)
            mixed.append(mixed_HTE[0].transpose(0, 1))
            lses.append(lse_HT[0].transpose(0, 1))
        return torch.cat(mixed), torch.cat(lses)

    def _places(self, lengths: Sequence[int]) -> tuple[tuple[int, int], Tensor]:
        """The shape (B, T) of the sequences with padding at their ends, and each token's place in it, flattened, (N,)."""
        is_token_BT = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        return tuple(is_token_BT.shape), is_token_BT.flatten().nonzero()[:, 0].to(self.device)

    def _attend_padded(
        self, query_NHE: Tensor, key_NKE: Tensor, value_NKE: Tensor, shape: tuple[int, int], places_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `_attend_own`, in one call: a causal token sees no padding after it."""
        padded = []
        for states in (query_NHE, key_NKE, value_NKE):
            rows = states.new_zeros(shape[0] * shape[1], *states.shape[1:]).index_copy(0, places_N, states)
            padded.append(rows.view(*shape, *states.shape[1:]).transpose(1, 2))
        mixed_BHTE, lse_BHT = _flash(*padded, True, self.scaling)
        return mixed_BHTE.transpose(1, 2).flatten(0, 1)[places_N], lse_BHT.transpose(1, 2).flatten(0, 1)[places_N]

    def _attend_prefix(self, query_NHE: Tensor, keys_1KPE: Tensor, values_1KPE: Tensor) -> tuple[Tensor, Tensor]:
        """All tokens' heads of one group are queries to the one copy of the prefix."""
        num_tokens, groups = query_NHE.shape[0], self.num_heads // self.num_kv
        query = query_NHE.view(num_tokens, self.num_kv, groups, self.width).transpose(0, 1).reshape(1, self.num_kv, -1, self.width)
        mixed, lse = _flash(query, keys_1KPE, values_1KPE, False, self.scaling)
        mixed = mixed.view(self.num_kv, num_tokens, groups, self.width).transpose(0, 1)
        lse = lse.view(self.num_kv, num_tokens, groups).transpose(0, 1)
        return mixed.reshape(num_tokens, self.num_heads, self.width), lse.reshape(num_tokens, self.num_heads)


@torch.no_grad()
def read_states(
    backbone: Backbone, sequences: Sequence[tuple[int, ...]], num_kept: Sequence[int], prefix: PrefixKV | None, max_tokens: int
) -> list[Tensor]:
    """Last hidden states of the last `num_kept` tokens of each sequence, after the prefix: packed where that is known to work, else padded.

    At most `max_tokens` are read at a time.
    """
    lengths = [len(sequence) for sequence in sequences]
    reader = PackedReader.of(backbone, prefix is not None)  # asked each time: the model may have moved to a GPU meanwhile
    if reader:
        batches = packed_batches(lengths, max_tokens if reader.is_padded else min(max_tokens, PACKED_TOKENS))
    else:
        num_prefix = prefix.num_tokens if prefix else 0  # its keys are copied for each row
        batches = padded_batches([length + num_prefix for length in lengths], max_tokens)
    states: dict[int, Tensor] = {}
    for batch in batches:
        if reader:
            found = reader.read([sequences[i] for i in batch], [num_kept[i] for i in batch], prefix)
        else:
            ids_BT = right_pad([sequences[i] for i in batch], 0, backbone.device)
            hidden_BTD = backbone.hidden(ids_BT, prefix.expand(len(batch), ids_BT.shape[1]) if prefix else None)
            found = [hidden_BTD[row, lengths[i] - num_kept[i] : lengths[i]] for row, i in enumerate(batch)]
        states.update(zip(batch, found, strict=True))
    return [states[i] for i in range(len(sequences))]


def _flash(query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Attention and the log of its normaliser; what `scaled_dot_product_attention` calls, which keeps the second to itself."""
    if query.is_cuda:
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, is_causal, scale=scale)[:2]
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal, scale=scale)


def _has_flash(backbone: Backbone) -> bool:
    """Whether flash attention runs with these weights on this GPU; on one before Ampere (T4) it does not."""
    weight = backbone.head.weight
    is_half, width = weight.dtype in (torch.bfloat16, torch.float16), backbone.decoder.layers[0].self_attn.head_dim
    return (
        weight.is_cuda
        and is_half
        and width % 8 == 0
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(weight.device) >= (8, 0)
    )


def _rotate(x_NHE: Tensor, cos_NE: Tensor, sin_NE: Tensor) -> Tensor:
    return x_NHE * cos_NE[:, None] + x_NHE.roll(x_NHE.shape[-1] // 2, -1) * sin_NE[:, None]


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up, (N, intermediate size), in blocks that stay in the cache; keeps only its inputs for the backward pass."""

    @staticmethod
    def forward(ctx, gate, up):
        ctx.save_for_backward(gate, up)
        mixed = torch.empty_like(gate)
        for gate_B, up_B, mixed_B in zip(*_blocks(gate, up, mixed), strict=True):
            torch.mul(F.silu(gate_B), up_B, out=mixed_B)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        gate, up = ctx.saved_tensors
        gate_grad, up_grad = torch.empty_like(gate), torch.empty_like(up)
        for gate_B, up_B, grad_B, to_gate, to_up in zip(*_blocks(gate, up, grad, gate_grad, up_grad), strict=True):
            torch.mul(grad_B, F.silu(gate_B), out=to_up)
            to_gate.copy_(torch.ops.aten.silu_backward(grad_B * up_B, gate_B))
        return gate_grad, up_grad


def _blocks(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    on_cpu = tensors[0].device.type == "cpu"
    return [tensor.split(max(1, BLOCK_NUMBERS // tensor.shape[1] if on_cpu else len(tensor))) for tensor in tensors]


def packed_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
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
