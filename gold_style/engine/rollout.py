"""Completions for all rows of a window in one left-padded batch, by exact sampling with numbers that belong to each row.

    completions = generate(Backbone(student), prompts, sampling=Sampling(), uniforms_BG=uniforms(keys, 128), ...)

A token is drawn by inverting the cumulative distribution at the row's own uniform number, so a row's completion does not depend
on which rows it is batched with (up to rounding of the logits). Rows that have stopped leave the batch. The same function
serves training, seq_kd (the teacher writes, after its cached prefix) and evaluation (greedy).

Shapes: B batch, T prompt tokens, P prefix tokens, G new tokens, V vocabulary, K nucleus candidates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from gold_style.chat import stop_ids, template_stop_id
from gold_style.engine.backbone import Backbone, right_pad
from gold_style.engine.decode_step import StepDecoder
from gold_style.engine.graph_decoder import KEPT_BYTES, LOOK, GraphDecoder, graph_decoder, refuse, release
from gold_style.engine.packed_reading import PackedReader
from gold_style.engine.prefix_cache import PrefixKV, RoomyLayer, only_full_attention, roomy_cache

NUCLEUS_CANDIDATES = 256
SUMMED = 512  # probabilities of one part of a row
Way = Literal["loop", "fixed", "graph"]  # operation by operation, rows leave; the same with fixed shapes; that captured as a CUDA graph


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is drawn. `temperature=0` is greedy; `top_p=1` and `top_k=0` keep the full distribution."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True)
class OutputIds:
    """Which ids a model may write, and at which it stops."""

    stop_ids: tuple[int, ...]
    stop_id: int  # the one that the chat template writes after an assistant turn
    vocab_size: int  # ids from here up to the head's last row (padding) are never drawn

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> "OutputIds":
        vocab_size = min(len(tokenizer), model.get_output_embeddings().weight.shape[0])
        stops = tuple(i for i in stop_ids(tokenizer, model) if i < vocab_size)
        stop = template_stop_id(tokenizer, stops)
        return cls(stops, stop if stop in stops else stops[0], vocab_size)


@dataclass(frozen=True)
class Completion:
    """Generated ids, the stop token included when the model wrote one; `finished` is False where the limit cut it."""

    ids: tuple[int, ...]
    finished: bool

    @classmethod
    def ending(cls, ids: Sequence[int], stop_ids: Sequence[int]) -> "Completion":
        """One that ends with the first stop token, and is finished, if there is one."""
        end = next((end for end, i in enumerate(ids, 1) if i in stop_ids), None)
        return cls(tuple(ids[:end]), end is not None)


def draw(logits_BV: Tensor, uniform_B: Tensor | None, sampling: Sampling, as_on_gpu: bool = False) -> Tensor:
    """One token id a row, shape (B,): the inverse of the (cut and renormalised) cumulative distribution at `uniform_B`, which greedy
    sampling does not need. `as_on_gpu` as in `candidates`."""
    ids_BK, probs_BK = candidates(logits_BV, sampling, as_on_gpu)
    if sampling.temperature == 0:
        return ids_BK[:, 0]
    return ids_BK.gather(1, _invert(probs_BK, uniform_B, as_on_gpu)[:, None])[:, 0]


def candidates(logits_BV: Tensor, sampling: Sampling, as_on_gpu: bool = False) -> tuple[Tensor, Tensor]:
    """Ids and their probabilities, not normalised, (B, K) each; what cannot be drawn is left out or has probability 0.

    The nucleus is the smallest set of most probable tokens whose mass reaches `top_p`. It is found among the
    NUCLEUS_CANDIDATES most probable tokens, and by a full sort in the rare case that those do not reach `top_p`. On a GPU, or
    `as_on_gpu`, everything is sorted at once: nothing waits for the device's answer whether they reach it.
    """
    if sampling.temperature == 0:
        ids_B1 = logits_BV.argmax(-1, keepdim=True)
        return ids_B1, torch.ones_like(ids_B1, dtype=torch.float64)
    logits_BV = logits_BV.float()
    if sampling.temperature != 1:
        logits_BV = logits_BV / sampling.temperature
    num_vocab = logits_BV.shape[-1]
    if sampling.top_p >= 1 and not sampling.top_k:
        return torch.arange(num_vocab, device=logits_BV.device).expand_as(logits_BV), logits_BV.softmax(-1, dtype=torch.float64)
    sorts = not sampling.top_k and (as_on_gpu or logits_BV.is_cuda)
    if not sorts:
        num_candidates = min(sampling.top_k or NUCLEUS_CANDIDATES, num_vocab)
        top_BK, ids_BK = logits_BV.topk(num_candidates, dim=-1)
        if sampling.top_k:  # the nucleus is taken within the top k, as `generate` does
            probs_BK = top_BK.softmax(-1, dtype=torch.float64)
        else:
            probs_BK = (top_BK.double() - logits_BV.double().logsumexp(-1, keepdim=True)).exp()
            sorts = num_candidates < num_vocab and bool((probs_BK.sum(-1) < sampling.top_p).any())
    if sorts:
        top_BK, ids_BK = logits_BV.sort(dim=-1, descending=True)
        probs_BK = top_BK.softmax(-1, dtype=torch.float64)
    mass_before_BK = cumulative(probs_BK, as_on_gpu)[:, : probs_BK.shape[1]] - probs_BK
    return ids_BK, probs_BK.masked_fill(mass_before_BK >= sampling.top_p, 0.0)


def _invert(probs_BV: Tensor, uniform_B: Tensor, as_on_gpu: bool) -> Tensor:
    """Index at which the cumulative sum of (unnormalised) probabilities first exceeds uniform x total."""
    cumulative_BV = cumulative(probs_BV, as_on_gpu)
    total_B = cumulative_BV[:, -1]
    below_total_B = torch.nextafter(total_B, torch.zeros_like(total_B))  # so that rounding cannot step past the last possible token
    target_B = torch.minimum(uniform_B * total_B, below_total_B)
    return torch.searchsorted(cumulative_BV, target_B[:, None], right=True)[:, 0]


def cumulative(probs_BV: Tensor, as_on_gpu: bool) -> Tensor:
    """Cumulative sums of each row; on a GPU, where one row keeps only one block busy, those of its parts, the last of them filled up."""
    if not (as_on_gpu or probs_BV.is_cuda):
        return probs_BV.cumsum(-1)
    parts_BNS = F.pad(probs_BV, (0, -probs_BV.shape[1] % SUMMED)).unflatten(-1, (-1, SUMMED)).cumsum(-1)
    return (parts_BNS + F.pad(parts_BNS[..., -1].cumsum(-1), (1, -1))[..., None]).flatten(1)


@torch.no_grad()
def generate(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    output_ids: OutputIds,
    sampling: Sampling = GREEDY,
    uniforms_BG: Tensor | None = None,
    prefix: PrefixKV | None = None,
    max_rows: int = 256,
    way: Way | None = None,
) -> list[Completion]:
    """One completion for each prompt, in order.

    Args: `prompts` are ids after `prefix` (or complete prompts where that is None); `uniforms_BG` are numbers in [0, 1), needed unless
    greedy; at most `max_rows` rows are decoded at a time, similar lengths together; `way` is None for what suits the device: a graph on
    CUDA, where the model's step can be captured and there are more than a few tokens, else the loop.
    """
    way = way or ("graph" if backbone.device.type == "cuda" and max_new_tokens > LOOK else "loop")
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    completions: list[Completion | None] = [None] * len(prompts)
    for start in range(0, len(order), max_rows):
        rows = order[start : start + max_rows]
        chosen = torch.zeros(len(rows), max_new_tokens) if uniforms_BG is None else uniforms_BG[rows, :max_new_tokens]
        asked = backbone, [prompts[i] for i in rows], max_new_tokens, prefix
        how = output_ids, sampling, chosen.to(backbone.device)
        written = None
        try:
            written = Batch(*asked, None if way == "loop" else _decoder(*asked, *how[:2], way == "graph")).decode(*how)
        except RuntimeError as error:  # out of memory, or an operation that cannot be captured
            if way != "graph" or not refuse(backbone.base, error):
                raise
        for row, completion in zip(rows, written or Batch(*asked).decode(*how), strict=True):
            completions[row] = completion
    release(backbone.base, KEPT_BYTES)
    return completions


@torch.no_grad()
def stream(backbone: Backbone, prompts: list, output_ids: OutputIds, how: Sampling, uniforms_BG: Tensor) -> Iterator[list[Completion]]:
    """As `generate`, for somebody who watches: what is written so far, after every token; G tokens at most."""
    for out_BG in Batch(backbone, prompts, uniforms_BG.shape[1], None).steps(output_ids, how, uniforms_BG.to(backbone.device)):
        yield completed(out_BG, output_ids)


def completed(out_BG: Tensor, output_ids: OutputIds) -> list[Completion]:
    """The completion of each row of ids, which -1 fills up."""
    return [Completion.ending([i for i in row if i >= 0], output_ids.stop_ids) for row in out_BG.tolist()]


def _decoder(backbone, prompts, max_new_tokens, prefix, output_ids: OutputIds, sampling: Sampling, captured: bool) -> GraphDecoder | None:
    num_columns = (prefix.num_tokens if prefix else 0) + max(map(len, prompts)) + max_new_tokens
    drawn = lambda logits_BV, uniform_B: draw(logits_BV[:, : output_ids.vocab_size], uniform_B, sampling, as_on_gpu=True)  # noqa: E731
    return graph_decoder(backbone, len(prompts), num_columns, (sampling, output_ids.vocab_size), drawn, captured)


class Batch:
    """Rows that are decoded together; by a GraphDecoder, where one is given, which then holds the prompts' keys and values, too."""

    def __init__(self, backbone: Backbone, prompts: list[Sequence[int]], max_new_tokens: int, prefix: PrefixKV | None, decoder=None):
        self.backbone, self.prompts, self.prefix, self.decoder = backbone, prompts, prefix, decoder
        self.max_new_tokens = max_new_tokens
        self.num_prefix = prefix.num_tokens if prefix else 0
        width, device = max(map(len, prompts)), backbone.device
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        self.ids_BT = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
        columns = torch.arange(self.num_prefix + width + max_new_tokens, device=device)
        padding = (columns >= self.num_prefix) & (columns < self.num_prefix + width - lengths[:, None])
        self.mask_BL = ~padding  # every column that may be attended to, once it exists
        self.positions_BT = (self.mask_BL.cumsum(-1) - 1)[:, self.num_prefix : self.num_prefix + width].clamp_min(0)
        self.cache = self._cache(prefix, len(prompts), width + max_new_tokens, decoder and decoder.caches[:, :, : len(prompts)])
        self.padded = bool(padding.any())
        roomy = self.cache is not None and isinstance(self.cache.layers[0], RoomyLayer)
        longest = self.mask_BL.shape[1]
        self.step_decoder = decoder.step_decoder if decoder else StepDecoder.of(backbone, longest, len(prompts)) if roomy else None
        self.bias_BL = torch.zeros_like(self.mask_BL, dtype=backbone.head.weight.dtype).masked_fill_(padding, -torch.inf)

    def _cache(self, prefix: PrefixKV | None, batch_size: int, room: int, rooms: Tensor | None) -> Cache | None:
        if not self.backbone.reading.cached:
            return None
        if prefix is not None:
            return prefix.expand(batch_size, room, rooms)
        config = self.backbone.decoder.config
        if only_full_attention(self.backbone):
            return roomy_cache(config.num_hidden_layers, room, rooms)
        return DynamicCache(config=config)

    def decode(self, output_ids: OutputIds, sampling: Sampling, uniforms_BG: Tensor) -> list[Completion]:
        if self.decoder:
            stops = torch.tensor(output_ids.stop_ids, device=self.backbone.device)
            self.advance(self.decoder.draw(self.next_logits(0), uniforms_BG[:, 0]))
            out_BG = self.decoder.write(self.ids_BT[:, 0], self.positions_BT[:, 0], self.bias_BL, uniforms_BG, stops)
        else:
            *_, out_BG = self.steps(output_ids, sampling, uniforms_BG)
        return completed(out_BG, output_ids)

    def steps(self, output_ids: OutputIds, sampling: Sampling, uniforms_BG: Tensor) -> Iterator[Tensor]:
        """The ids written so far, after every token, shape (B, G): one tensor that is being filled, -1 where nothing is written."""
        device, num_rows = self.backbone.device, self.ids_BT.shape[0]
        stops = torch.tensor(output_ids.stop_ids, device=device)
        out_BG = torch.full((num_rows, self.max_new_tokens), -1, device=device)
        alive = torch.arange(num_rows, device=device)  # rows of out_BG that the batch still holds
        stopped = torch.zeros(num_rows, dtype=torch.bool, device=device)
        for g in range(self.max_new_tokens):
            logits_BV = self.next_logits(g)[:, : output_ids.vocab_size]
            next_B = draw(logits_BV, uniforms_BG[alive, g], sampling)
            out_BG[alive, g] = torch.where(stopped, -1, next_B)
            yield out_BG
            stopped = stopped | torch.isin(next_B, stops)
            num_stopped = int(stopped.sum())
            if num_stopped == len(alive) or g + 1 == self.max_new_tokens:
                break
            self.advance(next_B)
            if 4 * num_stopped >= len(alive):  # let stopped rows leave once that saves a quarter of the work
                keep = (~stopped).nonzero()[:, 0]
                alive, stopped = alive[keep], stopped[keep]
                self.keep(keep)

    def next_logits(self, g: int) -> Tensor:
        """Logits after the newest token of every row, shape (B, V)."""
        if self.cache is None:
            hidden_BTD = self.backbone.hidden(right_pad(self.prompts, 0, self.backbone.device))
            return self.backbone.logits(hidden_BTD[range(len(self.prompts)), [len(row) - 1 for row in self.prompts]])
        if g and self.step_decoder:
            bias_BL = self.bias_BL[:, : self.cache.get_seq_length() + 1] if self.padded else None
            return self.step_decoder.logits(self.step_decoder.step(self.ids_BT[:, 0], self.positions_BT[:, 0], self.cache.layers, bias_BL))
        reader = PackedReader.of(self.backbone) if g == 0 and self.step_decoder and all(self.prompts) else None
        if reader:
            last_BD = torch.cat(reader.read(self.prompts, [1] * len(self.prompts), self.prefix, self._store))
            return self.backbone.logits(last_BD)
        seen = self.num_prefix + self.ids_BT.shape[1] if g == 0 else self.cache.get_seq_length() + 1
        mask = self.mask_BL[:, :seen].long() if self.padded else None
        hidden_BTD = self.backbone.hidden(self.ids_BT, self.cache, mask, self.positions_BT)
        return self.backbone.logits(hidden_BTD[:, -1])

    def advance(self, next_B: Tensor) -> None:
        """Put one more token into every row."""
        if self.cache is None:
            self.prompts = [(*row, i) for row, i in zip(self.prompts, next_B.tolist(), strict=True)]
        self.ids_BT, self.positions_BT = next_B[:, None], self.positions_BT[:, -1:] + 1

    def _store(self, layer: int, keys_NKE: Tensor, values_NKE: Tensor) -> None:
        """Put one layer's keys and values of all prompt tokens into the cache, each row's before its first new token."""
        is_token_BT = self.mask_BL[:, self.num_prefix : self.num_prefix + self.ids_BT.shape[1]]
        padded = []
        for states_NKE in (keys_NKE, values_NKE):
            states_BTKE = states_NKE.new_zeros(*is_token_BT.shape, *states_NKE.shape[1:])
            states_BTKE[is_token_BT] = states_NKE
            padded.append(states_BTKE.transpose(1, 2))
        self.cache.layers[layer].update(*padded)

    def keep(self, rows: Tensor) -> None:
        """Let the other rows leave."""
        if self.cache is None:
            self.prompts = [self.prompts[i] for i in rows.tolist()]
        else:
            self.cache.reorder_cache(rows)  # recurrent layers have no other selection
        self.ids_BT, self.positions_BT = self.ids_BT[rows], self.positions_BT[rows]
        self.mask_BL, self.bias_BL = self.mask_BL[rows], self.bias_BL[rows]
