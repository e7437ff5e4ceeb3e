"""The frozen teacher: hidden states at completion tokens, and completions, both after its cached system prompt.

Shapes: N scored tokens, D the teacher's hidden size.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gold_style.chat import TeacherIds
from gold_style.engine.backbone import Backbone
from gold_style.engine.graph_decoder import release
from gold_style.engine.packed_reading import read_states
from gold_style.engine.prefix_cache import PrefixCache
from gold_style.engine.rollout import Completion, OutputIds, generate


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
        states: list[Tensor] = [self.backbone.head.weight.new_empty(0, self.backbone.head.weight.shape[1])] * len(rows)
        for prefix, members in _by_prefix([row.prompt for row in rows]):
            kv = self.prefixes.get(prefix)
            members = [i for i in members if rows[i].completion]
            sequences = [(() if kv else prefix) + rows[i].prompt.rest + rows[i].completion[:-1] for i in members]
            found = read_states(self.backbone, sequences, [len(rows[i].completion) for i in members], kv, self.tokens_per_batch)
            for i, state in zip(members, found, strict=True):
                states[i] = state
        return states

    def logprobs(self, rows: Sequence[Scored]) -> list[list[float]]:
        """For each row the log-probability of each of its completion's tokens, in nats."""
        found = []
        for row, hidden_ND in zip(rows, self.hidden(rows), strict=True):
            logprobs_NV = self.backbone.logits(hidden_ND).float().log_softmax(-1)
            chosen = torch.tensor(row.completion, dtype=torch.long, device=logprobs_NV.device)[:, None]
            found.append(logprobs_NV.gather(1, chosen)[:, 0].tolist())
        return found

    def generate(self, prompts: Sequence[TeacherIds], *, uniforms_BG: Tensor | None = None, **how) -> list[Completion]:
        """A completion for each prompt, written with the teacher's system prompt in view. Arguments as in `rollout.generate`."""
        completions: list[Completion | None] = [None] * len(prompts)
        for prefix, members in _by_prefix(prompts):
            kv = self.prefixes.get(prefix)
            rows = [(() if kv else prefix) + prompts[i].rest for i in members]
            drawn = None if uniforms_BG is None else uniforms_BG[members]
            written = generate(self.backbone, rows, output_ids=self.output_ids, uniforms_BG=drawn, prefix=kv, **how)
            for i, completion in zip(members, written, strict=True):
                completions[i] = completion
        return completions

    def free(self) -> None:
        """Give back the memory of weights and prefixes, whoever holds the teacher; it can be asked no more."""
        release(self.model)
        self.model.to("meta")
        self.prefixes = PrefixCache(self.backbone, 0)


def _by_prefix(prompts: Sequence[TeacherIds]) -> list[tuple[tuple[int, ...], list[int]]]:
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        groups[prompt.prefix].append(i)
    return list(groups.items())
