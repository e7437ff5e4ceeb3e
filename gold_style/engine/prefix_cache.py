"""Key/values of the teacher's constant prompt prefix, computed once per style and reused for every row and step.

    prefixes = PrefixCache(Backbone(teacher), max_bytes=2 * 2**30)
    past = prefixes.get(prefix_ids).expand(batch_size, room)     # a transformers Cache for `batch_size` rows

Models with sliding-window or recurrent layers are not cached (`get` returns None and callers put the prefix in front of
each row): their state at the prefix's end depends on more than a slice of keys and values.

Shapes: B batch, H key/value heads, P prefix tokens, T tokens, E head width.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from gold_style.engine.backbone import Backbone

PREFIX_TOKENS = 256  # read at a time: a long prefix needs no more memory for activations than a short one


class RoomyLayer(DynamicLayer):
    """A cache layer with room ahead: new keys and values are written in place instead of concatenated.

    `DynamicLayer.update` copies the cache for every new token; here a token costs its own bytes. `keys` and `values` are
    views of the filled part, so every method of the parent works on them. `room` is a tensor to write into, (2, B, H, capacity, E).
    """

    def __init__(self, capacity: int, room: Tensor | None = None):
        super().__init__()
        self.capacity = capacity
        self._room: Tensor | tuple[Tensor, Tensor] | None = room

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Append (B, H, T, E) states; returns all states so far."""
        filled, added = self.get_seq_length(), key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self._room is None:
            shape = (*key_states.shape[:-2], self.capacity, key_states.shape[-1])
            self._room = key_states.new_empty(shape), value_states.new_empty((*shape[:-1], value_states.shape[-1]))
        keys, values = self._room
        keys[..., filled : filled + added, :] = key_states
        values[..., filled : filled + added, :] = value_states
        self.keys, self.values = keys[..., : filled + added, :], values[..., : filled + added, :]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        filled = self.get_seq_length()
        if filled:
            self._room = tuple(room[beam_idx] for room in self._room)
            self.keys, self.values = (room[..., :filled, :] for room in self._room)


def roomy_cache(num_layers: int, capacity: int, rooms: Tensor | None = None) -> Cache:
    """An empty cache of full-attention layers with room for `capacity` tokens (in `rooms`, (layers, 2, B, H, capacity, E))."""
    return Cache(layers=[RoomyLayer(capacity, None if rooms is None else rooms[layer]) for layer in range(num_layers)])


def only_full_attention(backbone: Backbone) -> bool:
    """Whether every layer of the model attends to all earlier tokens."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=backbone.decoder.config).layers)


@dataclass(frozen=True)
class PrefixKV:
    """Keys and values of one prefix, one (1, H, P, E) pair a layer. Never written to."""

    num_tokens: int
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def num_bytes(self) -> int:
        return sum(k.nbytes + v.nbytes for k, v in self.layers)

    def expand(self, batch_size: int, room: int, rooms: Tensor | None = None) -> Cache:
        """A cache that begins with this prefix for `batch_size` rows and has room for `room` further tokens (in `rooms`)."""
        cache = roomy_cache(len(self.layers), self.num_tokens + room, rooms)
        for index, states in enumerate(self.layers):
            cache.update(*(kv.expand(batch_size, -1, -1, -1) for kv in states), index)
        return cache


class PrefixCache:
    """Prefixes of one model, least recently used out first, at most `max_bytes` together.

    Keyed by the prefix's tokens; model and dtype are fixed by `backbone`, whose weights must not change.
    """

    def __init__(self, backbone: Backbone, max_bytes: int):
        self.backbone = backbone
        self.max_bytes = max_bytes
        self.enabled = max_bytes > 0 and only_full_attention(backbone)
        self._prefixes: OrderedDict[tuple[int, ...], PrefixKV] = OrderedDict()

    @property
    def num_bytes(self) -> int:
        return sum(prefix.num_bytes for prefix in self._prefixes.values())

    def get(self, prefix: tuple[int, ...]) -> PrefixKV | None:
        """The key/values of these ids, computed on first use; None where they cannot be cached."""
        if not self.enabled or not self.backbone.reading.prefix or not prefix:
            return None
        if prefix not in self._prefixes:
            computed = self._compute(prefix)
            if computed.num_bytes > self.max_bytes:
                return None
            self._prefixes[prefix] = computed
            while self.num_bytes > self.max_bytes:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(prefix)
        return self._prefixes[prefix]

    @torch.no_grad()
    def _compute(self, prefix: tuple[int, ...]) -> PrefixKV:
        cache = DynamicCache(config=self.backbone.decoder.config)
        for ids_1T in torch.tensor([prefix], device=self.backbone.device).split(PREFIX_TOKENS, dim=1):
            self.backbone.hidden(ids_1T, past=cache)
        return PrefixKV(len(prefix), tuple((layer.keys, layer.values) for layer in cache.layers))
