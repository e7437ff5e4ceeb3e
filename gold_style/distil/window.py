"""The rows of one optimizer step, over all processes: which numbers they have, and what is known of each.

Shapes: T tokens.
"""

from dataclasses import dataclass, field

from gold_style.chat import TeacherIds
from gold_style.prompts import Prompt
from gold_style.tokens.alignment import Span


@dataclass(kw_only=True)
class Row:
    """One rollout of the window: prompt + completion, as both sides read it."""

    number: int  # row number of the run: step x rows per window + place in the window
    prompt: Prompt
    student_prompt: tuple[int, ...]
    teacher_prompt: TeacherIds
    on_policy: bool
    completion: tuple[int, ...] = ()  # student ids, stop token included
    teacher_completion: tuple[int, ...] = ()  # teacher ids of the same bytes
    finished: bool = False
    spans: list[Span] = field(default_factory=list)  # two tokenizers
    reason: str = "exact"  # how the completion reached the teacher's tokens
    num_scored: int = 0  # units of the loss: scored tokens, or spans
    num_matched: int = 0  # completion tokens that take part in them


def window_numbers(step: int, rows_per_process: int, rank: int, num_processes: int) -> list[int]:
    """Row numbers of this process in the window of `step`: consecutive over the run, split evenly over processes."""
    first = (step * num_processes + rank) * rows_per_process
    return list(range(first, first + rows_per_process))


class Steps:
    """0, 1, ..., max_steps - 1; none once training is over. A step number is all that a step of the trainer needs."""

    def __init__(self, trainer):
        self.trainer = trainer

    def __len__(self) -> int:
        return 0 if self.trainer.decisions.is_over else self.trainer.args.max_steps

    def __getitem__(self, step: int) -> int:
        return step
