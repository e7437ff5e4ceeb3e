"""Decoding with fixed shapes, so that on a GPU one token is one launch: decode step and draw, captured as a CUDA graph.

    decoder = graph_decoder(backbone, num_rows, num_columns, key, draw)      # None for a model without a decode step
    tokens_BG = decoder.write(ids_B, positions_B, bias_BL, uniforms_BG, stops)

Uncaptured, the same code runs operation by operation: the twin that tests compare with rollout's loop, on a CPU, too. A graph holds
addresses. So whatever changes lies in the decoder's own tensors, and weights are read where the model has them: those that are written in
place are followed, those that are replaced are noticed, and the step is captured again. Rows stay until all have stopped, which is asked
every LOOK tokens: nothing else waits for the device.

Shapes: B rows, rounded up; L columns (prefix, padding, prompt, new tokens), rounded up; K key/value heads, E head width, V vocabulary.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gold_style.engine.backbone import Backbone
from gold_style.engine.decode_step import StepDecoder, is_llama_like
from gold_style.runs.redact import say

LOOK = 8  # tokens from one look for stops to the next
COLUMNS = 128  # caches grow, and what is attended to grows, by so many columns; each size is a graph of its own
FEWEST_ROWS, ROWS = 8, 64  # rounded up to powers of two from the first to the second, then to multiples of the second
KEPT_BYTES = 2**29  # of caches, from one call to the next
KERNELS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]  # of attention with a bias, and without plans of their own

Draw = Callable[[Tensor, Tensor], Tensor]  # logits (B, V) and uniform numbers (B,) -> ids (B,), without waiting for the device


@dataclass(frozen=True)
class FixedLayer:
    """Keys and values of one layer, (2, B, K, L, E). New ones are written at `column`, (1,); the first `seen` columns are attended to."""

    cache: Tensor
    column: Tensor
    seen: int

    def update(self, keys_BK1E: Tensor, values_BK1E: Tensor) -> tuple[Tensor, ...]:
        self.cache.index_copy_(3, self.column, torch.stack([keys_BK1E, values_BK1E]))
        return self.cache[..., : self.seen, :].unbind()


class GraphDecoder:
    """Caches and graphs for so many rows and columns of one model, for one way to draw."""

    def __init__(self, backbone: Backbone, num_rows: int, num_columns: int, key: Hashable, draw: Draw, captured: bool):
        self.num_rows, self.num_columns, self.key, self.draw, self.captured = num_rows, num_columns, key, draw, captured
        self.step_decoder = StepDecoder(backbone, num_columns, num_rows, live=True)
        self.addresses = _addresses(backbone.base)
        embed = self.step_decoder.embed.detach()
        shape = num_rows, self.step_decoder.num_kv, num_columns, self.step_decoder.width
        self.caches = embed.new_zeros(len(self.step_decoder.layers), 2, *shape)  # keys and values
        self.bias_BL = embed.new_zeros(num_rows, num_columns)
        self.tokens_BL = torch.zeros(num_rows, num_columns, dtype=torch.long, device=embed.device)
        self.uniforms_BL = torch.zeros(num_rows, num_columns, dtype=torch.float64, device=embed.device)
        self.padding_B, self.column = self.tokens_BL[:, 0].clone(), self.tokens_BL[0, :1].clone()
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        if captured:
            self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def write(self, ids_B: Tensor, positions_B: Tensor, bias_BL: Tensor, uniforms_BG: Tensor, stops: Tensor) -> Tensor:
        """New tokens of the first rows, whose prompts are in `caches`, (B, G): `ids_B`, which were drawn first, and those that follow. What
        comes after a row's stop is void; fewer than G come where all rows have stopped.

        `bias_BL` says for every column of prompt and new tokens whether a row may look there (0) or not (-inf).
        """
        num_rows, num_new = uniforms_BG.shape
        start = bias_BL.shape[1] - num_new
        rows, end = slice(num_rows), start + 1
        self.bias_BL.fill_(-torch.inf)
        self.bias_BL[rows, :start] = bias_BL[:, :start]
        self.padding_B[rows] = start - positions_B
        self.tokens_BL[rows, start] = ids_B
        self.uniforms_BL[rows, start : start + num_new] = uniforms_BG
        self.column.fill_(start)
        for unread in (self.caches[..., start:, :], self.caches[:, :, num_rows:]):
            unread.zero_()  # a number that is none would come through any bias
        while end < start + num_new:
            if (end - start) % LOOK == 0 and bool(torch.isin(self.tokens_BL[rows, start:end], stops).any(1).all()):
                break
            self._advance(end)
            end += 1
        return self.tokens_BL[rows, start:end].clone()

    def step(self, seen: int) -> None:
        """One more token in every row. Asks the device for nothing."""
        ids_B = self.tokens_BL.index_select(1, self.column)[:, 0]
        self.bias_BL.index_fill_(1, self.column, 0.0)
        layers = [FixedLayer(cache, self.column, seen) for cache in self.caches]
        with sdpa_kernel(KERNELS):
            hidden_BD = self.step_decoder.step(ids_B, self.column - self.padding_B, layers, self.bias_BL[:, :seen])
        logits_BV = self.step_decoder.logits(hidden_BD)
        self.column.add_(1)
        next_B = self.draw(logits_BV, self.uniforms_BL.index_select(1, self.column)[:, 0])
        self.tokens_BL.index_copy_(1, self.column, next_B[:, None])

    def _advance(self, filled: int) -> None:
        """The step that attends to so many columns, from its graph where there is one."""
        seen = min(_rounded(filled, COLUMNS), self.num_columns)
        if not self.captured:
            self.step(seen)
        elif seen in self.graphs:
            self.graphs[seen].replay()
        else:  # a step that counts, to load kernels and make workspaces, then the one that is only recorded, both on one side stream
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                self.step(seen)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):  # other threads may use the card
                    self.step(seen)
            torch.cuda.current_stream().wait_stream(self.stream)
            self.graphs[seen] = graph


_kept: WeakKeyDictionary[nn.Module, GraphDecoder] = WeakKeyDictionary()  # the last one of each model
_refused: WeakSet[nn.Module] = WeakSet()


def graph_decoder(
    backbone: Backbone, num_rows: int, num_columns: int, key: Hashable, draw: Draw, captured: bool = True
) -> GraphDecoder | None:
    """A decoder with room for so many rows and columns that draws by `draw`, of which `key` says all that matters: the one of the last call
    where it fits. None, said once, for a model that has no decode step, and after `refuse`."""
    model, key = backbone.base, (key, captured)
    if not (backbone.is_plain and backbone.reading.cached and is_llama_like(backbone)):
        refuse(model, "it has no decode step of its own here")
    if model in _refused:
        return None
    num_rows = _rounded(num_rows, ROWS) if num_rows > ROWS else max(FEWEST_ROWS, 1 << (num_rows - 1).bit_length())
    kept = _kept.get(model)
    fits = kept and (kept.num_rows, kept.key) == (num_rows, key) and num_columns <= kept.num_columns <= 2 * num_columns + COLUMNS
    if not fits or kept.addresses != _addresses(model):
        release(model)
        del kept  # before the next one needs memory
        _kept[model] = GraphDecoder(backbone, num_rows, _rounded(num_columns, COLUMNS), key, draw, captured)
    return _kept[model]


def release(model: nn.Module, largest: int = -1) -> None:
    """Give back what is kept for this model, if it has more than `largest` bytes of caches."""
    if model in _kept and _kept[model].caches.nbytes > largest:
        del _kept[model]


def refuse(model: nn.Module, why: object) -> bool:
    """Make no decoder for this model from now on; whether that is new, which is said."""
    if model in _refused:
        return False
    release(model)
    _refused.add(model)
    say(f"{type(model).__name__}: decoding without a CUDA graph, which is slower: {(str(why).splitlines() or [repr(why)])[0]}")
    return True


def _addresses(model: nn.Module) -> list[int]:
    return [parameter.data_ptr() for parameter in model.parameters()]


def _rounded(number: int, step: int) -> int:
    return -(-number // step) * step
