"""The loss where student and teacher have different tokenizers: over spans between common byte boundaries.

The student's completion becomes bytes, the bytes the teacher's tokens (gold_style/tokens/alignment.py), and the teacher scores those
after its own prompt. What cannot be aligned is left out and counted, never guessed.

Shapes: N student tokens of the micro-batch, M teacher tokens, D hidden, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gold_style.distil.micro_batch import MicroBatch
from gold_style.distil.window import Row
from gold_style.engine.backbone import Backbone
from gold_style.engine.rollout import Completion
from gold_style.engine.teacher import AnyTeacher
from gold_style.losses import Side, SpanLoss
from gold_style.tokens.alignment import align, retokenise


@dataclass(kw_only=True)
class CrossTokenizer:
    """Objective for two tokenizers."""

    readings: ClassVar[tuple[str, ...]] = ()
    teacher: AnyTeacher
    sides: tuple[Side, Side]  # student, teacher
    span_loss: SpanLoss

    def prepare(self, rows: Sequence[Row]) -> None:
        student, teacher = self.sides
        for row in rows:
            ids, row.reason = retokenise(row.completion, student.bytes, teacher.tokenizer, row.finished, teacher.stop_id)
            row.teacher_completion = tuple(ids or ())
            row.spans = align(row.completion, row.teacher_completion, student.bytes, teacher.bytes) if ids else []
            row.num_scored = sum(self.span_loss.units(span, row.completion) for span in row.spans)
            row.num_matched = sum(s1 - s0 for s0, s1, _, _ in row.spans)

    def set_beta(self, beta: float) -> None:
        self.span_loss = replace(self.span_loss, beta=beta)

    def to_student_ids(self, completion: Completion, style: str | None = None) -> Completion:
        """A teacher-written completion in student ids, as far as its bytes go; empty where nothing can be carried over."""
        student, teacher = self.sides
        ids, _ = retokenise(completion.ids, teacher.bytes, student.tokenizer, completion.finished, student.stop_id)
        return Completion.ending(ids or (), student.stop_ids)

    def loss(self, student: Backbone, hidden_ND: Tensor, batch: MicroBatch) -> Tensor:
        device = hidden_ND.device
        teacher_ids_M = torch.tensor([i for row in batch.rows for i in row.teacher_completion], dtype=torch.long, device=device)
        spans, rows, offset = [], [], (0, 0)
        for b, row in enumerate(batch.rows):
            spans += [[s0 + offset[0], s1 + offset[0], t0 + offset[1], t1 + offset[1]] for s0, s1, t0, t1 in row.spans]
            rows += [b] * row.num_scored
            offset = offset[0] + len(row.completion), offset[1] + len(row.teacher_completion)
        batch.stats_rows_N = torch.tensor(rows, dtype=torch.long, device=device)
        if not spans:  # nothing could be aligned, but on every process the backward pass has to reach every weight, the head's too
            return student.logits(hidden_ND[:0]).sum()
        student_logits_NV = student.full_logits(hidden_ND)
        with torch.no_grad():
            teacher_logits_MV = self.teacher.head.full_logits(batch.reading("teacher"))
        loss_U, terms = self.span_loss.per_unit(
            student_logits_NV,
            teacher_logits_MV,
            batch.completion_N,
            teacher_ids_M,
            torch.tensor(spans, device=device),
            [len(row.teacher_completion) for row in batch.rows],
        )
        batch.stats = {"loss_N": loss_U.detach(), **terms}
        return batch.weight * loss_U.sum()
