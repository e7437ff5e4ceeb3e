"""The parts that one run distils with, and how a window's rows come to be.

rows = distillation.rows(step, accelerator, rollout_model)
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gold_style.chat import Chat
from gold_style.distil.objective import Objective
from gold_style.distil.window import Row, window_numbers
from gold_style.engine.draws import key64, uniform, uniforms
from gold_style.engine.rollout import Completion, Sampling, generate
from gold_style.engine.teacher import Teacher
from gold_style.engine.vllm import Ask, Colocated, Served
from gold_style.prompts import Prompt, PromptSource


@dataclass(kw_only=True)
class Distillation:
    """Everything a step needs besides the student. Sizes are per process; `rows_per_window` = batch x accumulation."""

    chat: Chat
    source: PromptSource
    teacher: Teacher
    objective: Objective
    seed: int
    lmbda: float
    seq_kd: bool
    sampling: Sampling
    max_completion_length: int
    rows_per_window: int
    student_stop_ids: tuple[int, ...]
    student_stop_id: int
    student_vocab_size: int
    to_student_ids: Callable[[Completion], Completion]  # a teacher's completion in the student's token ids
    vllm: Colocated | Served | None = None  # writes the student's completions; None: our own loop does
    row_mistakes: Callable[[Prompt], list[str]] = lambda prompt: []  # what of a row does not fit
    num_generations: int = 1
    warm_start_steps: int = 0
    warm_start_until: float | None = None
    warm_start_end: int | None = None
    rows_per_microbatch: int | None = 1
    tokens_per_microbatch: int | None = None
    auto_microbatch: bool = True
    muon_learning_rate: float | None = None
    compute_dtype: torch.dtype = torch.float32
    on_nonfinite: str = "stop"
    save_total_limit: int | None = None
    keep_checkpoints: set[Path] = field(default_factory=set)

    def is_on_policy(self, step: int, number: int) -> bool:
        """Whether the student writes this row: drawn per row, so that batching does not matter; never during warm start."""
        return not self.is_warm_start(step) and uniform(self.seed, "policy", step, number) < self.lmbda

    def is_warm_start(self, step: int) -> bool:
        """Whether `step` is trained on teacher-written text alone. `warm_start_end` is set once warm_start_until was reached."""
        if self.warm_start_end is not None:
            return step < self.warm_start_end
        return step < self.warm_start_steps or self.warm_start_until is not None

    def may_be_on_policy(self, step: int) -> bool:
        """Whether the student may have to write a row of this window, on whatever process."""
        return self.lmbda > 0 and not self.is_warm_start(step)

    def rows(self, step: int, accelerator, rollout_model: Callable[[], AbstractContextManager]) -> list[Row]:
        """This process's rows of one window, completions written."""
        numbers = window_numbers(step, self.rows_per_window, accelerator.process_index, accelerator.num_processes)
        rows = [self._row(step, number) for number in numbers]
        on_policy = [row for row in rows if row.on_policy]
        off_policy = [row for row in rows if not row.on_policy]
        if on_policy or (accelerator.num_processes > 1 and self.may_be_on_policy(step)):
            self._fill(on_policy, self._student_writes(step, on_policy, rollout_model))
        if off_policy:
            self._fill(off_policy, self._off_policy(step, off_policy))
        return rows

    def _student_writes(self, step: int, rows: list[Row], rollout_model: Callable[[], AbstractContextManager]) -> list[Completion]:
        prompts = [row.student_prompt for row in rows]
        if self.vllm:
            ask = Ask(
                sampling=self.sampling,
                max_new_tokens=self.max_completion_length,
                stop_ids=self.student_stop_ids,
                vocab_size=self.student_vocab_size,
            )
            return self.vllm.write(prompts, [key64(self.seed, "completion", step, row.number) for row in rows], ask)
        with rollout_model() as student:  # sharded weights are gathered here, which takes every process, one without a row, too
            return generate(
                student,
                prompts,
                max_new_tokens=self.max_completion_length,
                stop_ids=self.student_stop_ids,
                vocab_size=self.student_vocab_size,
                sampling=self.sampling,
                uniforms_BG=self._uniforms(step, rows),
            )

    def _row(self, step: int, number: int) -> Row:
        """Raises ValueError for a row that does not fit: not every row of a stream or of a large data set was seen before training."""
        prompt = self.source[number // self.num_generations]
        if mistakes := self.row_mistakes(prompt):
            raise ValueError("\n".join(mistakes))
        return Row(
            number=number,
            prompt=prompt,
            student_prompt=self.chat.student_ids(prompt),
            teacher_prompt=self.chat.teacher_ids(prompt),
            on_policy=self.is_on_policy(step, number),
        )

    def _off_policy(self, step: int, rows: list[Row]) -> list[Completion]:
        """Teacher-written completions with its system prompt (seq_kd, warm start), else each row's own answer."""
        if not (self.seq_kd or self.is_warm_start(step)):
            return [self.reference(row.prompt) for row in rows]
        written = self.teacher.generate(
            [row.teacher_prompt for row in rows],
            max_new_tokens=self.max_completion_length,
            sampling=self.sampling,
            uniforms_BG=self._uniforms(step, rows),
        )
        return [self.to_student_ids(completion) for completion in written]

    def reference(self, prompt: Prompt) -> Completion:
        """The row's own answer in student ids, with the stop token behind it."""
        if prompt.reference is None:  # of a stream; before training only its head is seen
            raise ValueError(
                f"{prompt.origin or f'prompts row {prompt.row}'}: has no assistant turn, which off-policy rows need; set loss.seq_kd=true "
                "to let the teacher write them, or loss.lmbda=1"
            )
        # an answer is text: what looks like a special token in it is not one
        ids = self.chat.student_tokenizer(prompt.reference, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return Completion((*ids, self.student_stop_id), True)

    def _uniforms(self, step: int, rows: list[Row]) -> torch.Tensor:
        keys = [(self.seed, "completion", step, row.number) for row in rows]
        return uniforms(keys, self.max_completion_length)

    @staticmethod
    def _fill(rows: list[Row], completions: list[Completion]) -> None:
        for row, completion in zip(rows, completions, strict=True):
            row.completion, row.finished = completion.ids, completion.finished
