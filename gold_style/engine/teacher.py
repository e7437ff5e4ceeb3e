"""The frozen teacher: hidden states at completion tokens, and completions, both behind its cached system prompt.

A teacher in another process or on another machine would implement the same two methods.

Shapes: N scored tokens, D the teacher's hidden size.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gold_style.chat import TeacherIds
from gold_style.engine.backbone import Backbone, right_pad
from gold_style.engine.packed_reading import PACKED_TOKENS, PackedReader
from gold_style.engine.packed_reading import batches as packed_batches
from gold_style.engine.prefix_cache import PrefixCache, PrefixKV
from gold_style.engine.rollout import GREEDY, Completion, OutputIds, Sampling, generate


@dataclass(frozen=True)
class Scored:
    """What the teacher is to score: its prompt, and a completion in its own token ids."""

    prompt: TeacherIds
    completion: tuple[int, ...]


class Teacher:
    """Args: the model and its own tokenizer; bytes its prefix cache may take; tokens (with the prefix's keys) of one forward."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        prefix_cache_bytes: int = 2 * 2**30,
        tokens_per_batch: int = 16_384,
    ):
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.backbone = Backbone(model)
        self.prefixes = PrefixCache(self.backbone, prefix_cache_bytes)
        self.tokens_per_batch = tokens_per_batch
        self.output_ids = OutputIds.of(tokenizer, model)

    @torch.no_grad()
    def hidden(self, rows: Sequence[Scored]) -> list[Tensor]:
        """For each row the states that predict each of its completion's tokens, shape (N_row, D)."""
        states: list[Tensor | None] = [None] * len(rows)
        reader = PackedReader.of(self.backbone)  # asked each time: the model may have moved to a GPU meanwhile
        for prefix, members in _by_prefix([row.prompt for row in rows]):
            kv = self.prefixes.get(prefix)
            sequences = {i: (() if kv else prefix) + rows[i].prompt.rest + rows[i].completion[:-1] for i in members if rows[i].completion}
            if reader is not None:
                self._read_packed(reader, sequences, rows, kv, states)
                continue
            for batch in _batches(sequences, self.tokens_per_batch, kv.num_tokens if kv else 0):
                ids_BT = right_pad([sequences[i] for i in batch], self.output_ids.stop_id, self.backbone.device)
                past = kv.expand(len(batch)) if kv else None
                hidden_BTD = self.backbone.hidden(ids_BT, past)
                for row, i in enumerate(batch):
                    num_tokens = len(rows[i].completion)
                    end = len(sequences[i])
                    states[i] = hidden_BTD[row, end - num_tokens : end]
        empty = self.backbone.head_weight.new_empty(0, self.backbone.head_weight.shape[1])
        return [empty if state is None else state for state in states]

    def _read_packed(self, reader: PackedReader, sequences: dict, rows: Sequence[Scored], kv: PrefixKV | None, states: list) -> None:
        """`hidden` without padding; fills `states`."""
        numbers = list(sequences)
        for batch in packed_batches([len(sequences[i]) for i in numbers], min(self.tokens_per_batch, PACKED_TOKENS)):
            members = [numbers[i] for i in batch]
            found = reader.read([sequences[i] for i in members], [len(rows[i].completion) for i in members], kv)
            for i, state in zip(members, found, strict=True):
                states[i] = state

    def logprobs(self, rows: Sequence[Scored]) -> list[list[float]]:
        """For each row the log-probability of each of its completion's tokens, in nats."""
        found = []
        for row, hidden_ND in zip(rows, self.hidden(rows), strict=True):
            logprobs_NV = self.backbone.logits(hidden_ND).float().log_softmax(-1)
            chosen = torch.tensor(row.completion, dtype=torch.long, device=logprobs_NV.device)[:, None]
            found.append(logprobs_NV.gather(1, chosen)[:, 0].tolist())
        return found

    def generate(
        self, prompts: Sequence[TeacherIds], *, max_new_tokens: int, sampling: Sampling = GREEDY, uniforms_BG: Tensor | None = None
    ) -> list[Completion]:
        """A completion for each prompt, written with the teacher's system prompt in view. Arguments as in `rollout.generate`."""
        completions: list[Completion | None] = [None] * len(prompts)
        for prefix, members in _by_prefix(prompts):
            kv = self.prefixes.get(prefix)
            written = generate(
                self.backbone,
                [(() if kv else prefix) + prompts[i].rest for i in members],
                max_new_tokens=max_new_tokens,
                output_ids=self.output_ids,
                sampling=sampling,
                uniforms_BG=None if uniforms_BG is None else uniforms_BG[members],
                prefix=kv,
            )
            for i, completion in zip(members, written, strict=True):
                completions[i] = completion
        return completions


def _by_prefix(prompts: Sequence[TeacherIds]) -> list[tuple[tuple[int, ...], list[int]]]:
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        groups[prompt.prefix].append(i)
    return list(groups.items())


def _batches(sequences: dict[int, tuple[int, ...]], tokens_per_batch: int, num_prefix: int) -> list[list[int]]:
    """Rows of similar length together, padded tokens plus copied prefix within the budget (one row at least)."""
    batches: list[list[int]] = []
    for i in sorted(sequences, key=lambda i: len(sequences[i])):
        width = len(sequences[i]) + num_prefix
        if not batches or (len(batches[-1]) + 1) * width > tokens_per_batch:
            batches.append([])
        batches[-1].append(i)
    return batches
