"""The frozen teacher: hidden states at completion tokens, and completions, both after its cached system prompt.

`AnyTeacher` is what is asked of it, wherever its weights are; `Teacher` has them in this process.

Shapes: N scored tokens, D the teacher's hidden size.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gold_style.chat import TeacherIds
from gold_style.engine.agreement import check_reading
from gold_style.engine.backbone import Backbone, Head
from gold_style.engine.graph_decoder import release
from gold_style.engine.packed_reading import read_states
from gold_style.engine.prefix_cache import PrefixCache
from gold_style.engine.reader import Reader, Row
from gold_style.engine.rollout import Completion, OutputIds, generate


@dataclass(frozen=True)
class Scored:
    """What the teacher is to score: its prompt, and a completion in its own token ids."""

    prompt: TeacherIds
    completion: tuple[int, ...]


class TeacherGone(ValueError):
    """A teacher elsewhere does not answer any more."""


class AnyTeacher(Protocol):
    """What training, warm start, seq_kd and exams ask of a frozen teacher. Its head is here, its decoder may be elsewhere."""

    tokenizer: PreTrainedTokenizerBase
    output_ids: OutputIds  # what it may write
    head: Head  # weight (V, D), bias, logits: on the student's device; its weight is None where a server tells its most probable tokens

    def of(self, style: str | None) -> "AnyTeacher":
        """Who of several teachers reads what is asked in this style: of one, itself."""
        return self

    def hidden(self, rows: Sequence[Scored]) -> list[Tensor]:
        """For each row the states that predict each of its completion's tokens, shape (N_row, D), on the head's device; without a head
        what is told of them, (N_row, 2, K): ids and log-probabilities."""

    def generate(self, prompts: Sequence[TeacherIds], *, uniforms_BG: Tensor | None = None, **how) -> list[Completion]:
        """A completion for each prompt, written with the teacher's system prompt in view. Arguments as in `rollout.generate`."""

    def check(self, ids: Sequence[int]) -> list[str]:
        """Whether it is read as its own forward does it, on the ids of a prompt; what the user should know. Raises ValueError if not."""

    def is_untrained(self, token: int) -> bool:
        """Whether this token's embedding is no more than its first values: zero, or near the mean of all."""

    def place(self, prepare: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """What is held in this process, where `prepare` puts a module."""

    def free(self) -> None:
        """Give back the memory that this process alone needs; it can be asked no more."""

    def logprobs(self, rows: Sequence[Scored]) -> list[list[float]]:
        """For each row the log-probability of each of its completion's tokens, in nats."""
        return [own_N.tolist() for own_N, _, _ in self.chosen(rows)]

    def chosen(self, rows: Sequence[Scored]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each row, of each of its completion's tokens the log-probability, that of the token which the teacher finds most probable
        there, and the latter's id, (N_row,)."""
        found = []
        for row, hidden_ND in zip(rows, self.hidden(rows), strict=True):
            logprobs_NV = self.head.logits(hidden_ND).float().log_softmax(-1)
            own_N1 = torch.tensor(row.completion, dtype=torch.long, device=logprobs_NV.device)[:, None]
            found.append((logprobs_NV.gather(1, own_N1)[:, 0], *logprobs_NV.max(-1)))
        return found


class TeacherReader(Reader):
    """Reads plain texts with a teacher, without its system prompt."""

    def __init__(self, teacher: AnyTeacher):
        super().__init__(teacher.head)
        self.teacher = teacher

    def states(self, rows: Sequence[Row]) -> list[Tensor]:
        return self.teacher.hidden([Scored(TeacherIds((), tuple(context)), tuple(scored)) for context, scored in rows])


class Teacher(AnyTeacher):
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
        self.head = self.backbone = Backbone(model)
        self.prefixes = PrefixCache(self.backbone, prefix_cache_bytes)
        self.tokens_per_batch = tokens_per_batch
        self.output_ids = OutputIds.of(tokenizer, model)

    @torch.no_grad()
    def hidden(self, rows: Sequence[Scored]) -> list[Tensor]:
        states: list[Tensor] = [self.head.weight.new_empty(0, self.head.weight.shape[1])] * len(rows)
        for prefix, members in _by_prefix([row.prompt for row in rows]):
            kv = self.prefixes.get(prefix)
            members = [i for i in members if rows[i].completion]
            sequences = [(() if kv else prefix) + rows[i].prompt.rest + rows[i].completion[:-1] for i in members]
            found = read_states(self.backbone, sequences, [len(rows[i].completion) for i in members], kv, self.tokens_per_batch)
            for i, state in zip(members, found, strict=True):
                states[i] = state
        return states

    def generate(self, prompts: Sequence[TeacherIds], *, uniforms_BG: Tensor | None = None, **how) -> list[Completion]:
        completions: list[Completion | None] = [None] * len(prompts)
        for prefix, members in _by_prefix(prompts):
            kv = self.prefixes.get(prefix)
            rows = [(() if kv else prefix) + prompts[i].rest for i in members]
            drawn = None if uniforms_BG is None else uniforms_BG[members]
            written = generate(self.backbone, rows, output_ids=self.output_ids, uniforms_BG=drawn, prefix=kv, **how)
            for i, completion in zip(members, written, strict=True):
                completions[i] = completion
        return completions

    def check(self, ids: Sequence[int]) -> list[str]:
        return check_reading(self.backbone, "teacher", ids, prefixed=True)

    def is_untrained(self, token: int) -> bool:
        vectors_VD = self.model.get_input_embeddings().weight.detach().float()
        away_V = (vectors_VD - vectors_VD.mean(0)).norm(dim=1)  # new rows are zero, or filled with the mean of the others
        return bool(vectors_VD[token].norm() == 0 or away_V[token] < 0.1 * away_V.median())

    def place(self, prepare: Callable[[nn.Module], nn.Module]) -> nn.Module:
        self.model = prepare(self.model)
        return self.model

    def free(self) -> None:  # also of weights, whoever holds the teacher
        release(self.model)
        self.model.to("meta")
        self.prefixes = PrefixCache(self.backbone, 0)


class Teachers(AnyTeacher):
    """Several: what is asked in a style goes to the teacher of its tag, which reads it as it would without the others.

    Their states differ in size, so whoever needs a head, a tokenizer or the ids that may be written asks `of` first; those of the
    whole are the ones of untagged text. Args: style -> teacher, one object where several have one; the style of untagged text.
    """

    def __init__(self, by_style: Mapping[str, AnyTeacher], untagged: str):
        self.by_style, self.untagged = by_style, by_style[untagged]
        self.tokenizer, self.output_ids, self.head = self.untagged.tokenizer, self.untagged.output_ids, self.untagged.head
        self.disk = getattr(self.untagged, "disk", None)

    def of(self, style: str | None) -> AnyTeacher:
        return self.untagged if style is None else self.by_style[style]

    def each(self) -> list[AnyTeacher]:
        return [*dict.fromkeys(self.by_style.values())]

    def hidden(self, rows: Sequence[Scored]) -> list[Tensor]:
        return self._answers("hidden", rows, [row.prompt.style for row in rows])

    def generate(self, prompts: Sequence[TeacherIds], *, uniforms_BG: Tensor | None = None, **how) -> list[Completion]:
        return self._answers("generate", prompts, [prompt.style for prompt in prompts], uniforms_BG=uniforms_BG, **how)

    def chosen(self, rows: Sequence[Scored]) -> list[tuple[Tensor, Tensor, Tensor]]:
        return self._answers("chosen", rows, [row.prompt.style for row in rows])

    def place(self, prepare: Callable[[nn.Module], nn.Module]) -> nn.Module:
        return nn.ModuleList([teacher.place(prepare) for teacher in self.each()])

    def free(self) -> None:
        for teacher in self.each():
            teacher.free()

    def _answers(self, what: str, asked: Sequence[Any], styles: Sequence[str | None], *, uniforms_BG: Tensor | None = None, **how) -> list:
        """Each teacher's answers to what is asked of it, in the order of `asked`."""
        found: list[Any] = [None] * len(asked)
        for teacher in self.each():
            members = [i for i, style in enumerate(styles) if self.of(style) is teacher]
            drawn = {} if uniforms_BG is None else {"uniforms_BG": uniforms_BG[members]}
            answers = getattr(teacher, what)([asked[i] for i in members], **drawn, **how) if members else []
            for i, answer in zip(members, answers, strict=True):
                found[i] = answer
        return found


def _by_prefix(prompts: Sequence[TeacherIds]) -> list[tuple[tuple[int, ...], list[int]]]:
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        groups[prompt.prefix].append(i)
    return list(groups.items())
