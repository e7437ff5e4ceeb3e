"""A window's rows: prompts drawn, completions written, units of the loss counted.

rows = row_maker.make(step, accelerator, student_copy)
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from gold_style.chat import Chat
from gold_style.distil.objective import Objective
from gold_style.distil.options import Decisions, Options
from gold_style.distil.student_copy import StudentCopy
from gold_style.distil.window import Row, window_numbers
from gold_style.engine.draws import key64, uniform, uniforms
from gold_style.engine.rollout import Completion, OutputIds, generate
from gold_style.engine.teacher import AnyTeacher, Scored
from gold_style.engine.vllm import Colocated, Served
from gold_style.prompts import Prompt, PromptSource


@dataclass(kw_only=True)
class RowMaker:
    """Draws the rows of any step, and has the student or the teacher write their completions."""

    options: Options
    chat: Chat
    source: PromptSource
    teacher: AnyTeacher
    output_ids: OutputIds  # the student's
    objective: Objective
    vllm: Colocated | Served | None = None  # writes the student's completions; None: our own loop does
    row_mistakes: Callable[[Prompt], list[str]] = lambda prompt: []  # what of a row does not fit
    decisions: Decisions = field(default_factory=Decisions)

    def is_on_policy(self, step: int, number: int) -> bool:
        """Whether the student writes this row: drawn per row, so that batching does not matter; never during warm start."""
        return not self.is_warm_start(step) and uniform(self.options.seed, "policy", step, number) < self.options.lmbda(step)

    def is_warm_start(self, step: int) -> bool:
        """Whether `step` is trained on teacher-written text only."""
        if self.decisions.warm_start_end is not None:
            return step < self.decisions.warm_start_end
        return step < self.options.warm_start_steps or self.options.warm_start_until is not None

    def make(self, step: int, accelerator, student: StudentCopy) -> list[Row]:
        """This process's rows of one window, ready to be scored. Collective where the student may have to write.

        Raises ValueError for a row that does not fit: not every row of a stream or of a large data set was seen before training.
        """
        options = self.options
        numbers = window_numbers(step, options.rows_per_window, accelerator.process_index, accelerator.num_processes)
        rows = [self._draw(step, number) for number in numbers]
        on_policy = [row for row in rows if row.on_policy]
        off_policy = [row for row in rows if not row.on_policy]
        may_be_on_policy = options.lmbda(step) > 0 and not self.is_warm_start(step)  # here, or on another process
        written = self._student_writes(step, on_policy, student) if may_be_on_policy else []
        if off_policy and (options.seq_kd or self.is_warm_start(step)):
            written += self._teacher_writes(step, off_policy)
        else:
            written += [self.answer(row.prompt) for row in off_policy]
        for row, completion in zip([*on_policy, *off_policy], written, strict=True):
            row.completion, row.finished = completion.ids, completion.finished
        if options.beta:
            self.objective.set_beta(options.beta(step))
        self.objective.prepare(rows)
        return rows

    def read(self, rows: list[Row]) -> list[dict[str, Tensor]]:
        """For each row the states that predict its completion's tokens, (N_row, D), of the teacher and of what else the objective reads."""
        asked = [Scored(row.teacher_prompt, row.teacher_completion) for row in rows]
        found = [{"teacher": states_ND} for states_ND in self.teacher.hidden(asked)]
        for name in self.objective.readings:
            asked = [Scored(self.chat.teacher_ids(row.prompt, "none"), row.completion) for row in rows]
            for reading, states_ND in zip(found, self.teacher.hidden(asked), strict=True):
                reading[name] = states_ND
        return found

    def _draw(self, step: int, number: int) -> Row:
        prompt = self.source[number // self.options.num_generations]
        if mistakes := self.row_mistakes(prompt):
            raise ValueError("\n".join(mistakes))
        return Row(
            number=number,
            prompt=prompt,
            student_prompt=self.chat.student_ids(prompt),
            teacher_prompt=self.chat.teacher_ids(prompt, self.chat.teacher_context),
            on_policy=self.is_on_policy(step, number),
        )

    def _student_writes(self, step: int, rows: list[Row], student: StudentCopy) -> list[Completion]:
        prompts, keys = [row.student_prompt for row in rows], self._keys(step, rows)
        if self.vllm:
            self.vllm.take(student)  # collective, as is the gathering of sharded weights below: of a process without a row, too
            written = self.vllm.write(prompts, [key64(*key) for key in keys], output_ids=self.output_ids, **self._asked)
            self.vllm.rest()
            return written
        with student.for_rollouts() as backbone:
            uniforms_BG = uniforms(keys, self.options.max_completion_length)
            return generate(backbone, prompts, output_ids=self.output_ids, uniforms_BG=uniforms_BG, **self._asked)

    def _teacher_writes(self, step: int, rows: list[Row]) -> list[Completion]:
        uniforms_BG = uniforms(self._keys(step, rows), self.options.max_completion_length)
        written = self.teacher.generate([row.teacher_prompt for row in rows], uniforms_BG=uniforms_BG, **self._asked)
        return [self.objective.to_student_ids(completion, row.prompt.style) for completion, row in zip(written, rows, strict=True)]

    @property
    def _asked(self) -> dict:
        return {"max_new_tokens": self.options.max_completion_length, "sampling": self.options.sampling}

    def _keys(self, step: int, rows: list[Row]) -> list[tuple[int | str, ...]]:
        return [(self.options.seed, "completion", step, row.number) for row in rows]

    def answer(self, prompt: Prompt) -> Completion:
        """The row's own answer in student ids, and the stop token."""
        if prompt.reference is None:  # of a stream; before training only its head is seen
            raise ValueError(
                f"{prompt.origin or f'prompts row {prompt.row}'}: has no assistant turn, which off-policy rows need; set loss.seq_kd=true "
                "to let the teacher write them, or loss.lmbda=1"
            )
        # an answer is text: what looks like a special token in it is not one
        ids = self.chat.student_tokenizer(prompt.reference, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return Completion((*ids, self.output_ids.stop_id), True)
