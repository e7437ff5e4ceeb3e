"""The loss where student and teacher have different tokenizers: over spans between common byte boundaries.

The student's completion becomes bytes, the bytes the teacher's tokens (gold_style/losses/alignment.py); the teacher scores those
behind its own prompt. What cannot be aligned is left out and counted, never guessed.

Shapes: N student tokens of the micro-batch, M teacher tokens, D hidden, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gold_style.distil.backbone import Backbone
from gold_style.distil.rollout import Completion
from gold_style.distil.teacher import Teacher
from gold_style.distil.window import MicroBatch, Row
from gold_style.losses import TokenBytes, align, retokenise
from gold_style.losses.cross import SpanLoss


@dataclass(kw_only=True)
class CrossTokenizer:
    """Objective for two tokenizers; `span_loss` is ULD, hybrid ULD or the tree loss (gold_style/losses)."""

    teacher: Teacher
    student_tokenizer: PreTrainedTokenizerBase
    student_stop_ids: tuple[int, ...]
    student_stop_id: int
    vocab_size: int
    span_loss: SpanLoss
    crossentropy_weight: float = 0.0
    distillation_weight: float = 1.0
    student_bytes: TokenBytes = field(init=False)
    teacher_bytes: TokenBytes = field(init=False)

    def __post_init__(self):
        self.student_bytes = TokenBytes.from_tokenizer(self.student_tokenizer)
        self.teacher_bytes = TokenBytes.from_tokenizer(self.teacher.tokenizer)

    def prepare(self, rows: Sequence[Row]) -> None:
        for row in rows:
            ids, row.reason = retokenise(
                row.completion, self.student_bytes, self.teacher.tokenizer, row.finished, self.teacher.stop_id
            )
            row.teacher_completion = tuple(ids or ())
            row.spans = align(row.completion, row.teacher_completion, self.student_bytes, self.teacher_bytes) if ids else []
            row.num_scored = self.span_loss.num_units(row.spans)
            row.num_matched = sum(s1 - s0 for s0, s1, _, _ in row.spans)

    def to_student_ids(self, completion: Completion) -> Completion:
        """A teacher-written completion in student ids, as far as its bytes go; empty where nothing can be carried over."""
        ids, _ = retokenise(
            completion.ids, self.teacher_bytes, self.student_tokenizer, completion.finished, self.student_stop_id
        )
        ids = tuple(ids or ())
        return Completion(ids, bool(ids) and ids[-1] in self.student_stop_ids)

    def loss(self, student: Backbone, hidden_ND: Tensor, batch: MicroBatch) -> Tensor:
        student_logits_NV = student.logits(hidden_ND)[:, : self.vocab_size].float()
        with torch.no_grad():
            teacher_logits_MV = self.teacher.backbone.logits(torch.cat(batch.teacher_hidden))[:, : self.teacher.vocab_size].float()
        teacher_ids_M = torch.tensor([i for row in batch.rows for i in row.teacher_completion], device=hidden_ND.device)
        spans, unit_rows, student_first, teacher_first = [], [], 0, 0
        for b, row in enumerate(batch.rows):
            spans += [
                (s0 + student_first, s1 + student_first, t0 + teacher_first, t1 + teacher_first)
                for s0, s1, t0, t1 in row.spans
            ]
            unit_rows += [b] * row.num_scored
            student_first += len(row.completion)
            teacher_first += len(row.teacher_completion)
        unit_losses = self.span_loss(student_logits_NV, teacher_logits_MV, batch.completion_N, teacher_ids_M, spans)
        batch.stats = {"loss_N": unit_losses.detach()}
        batch.stats_rows_N = torch.tensor(unit_rows, dtype=torch.long, device=hidden_ND.device)
        loss = self.distillation_weight * unit_losses.sum()
        if self.crossentropy_weight:
            loss = loss + self.crossentropy_weight * F.cross_entropy(student_logits_NV, batch.completion_N, reduction="sum")
        return batch.weight * loss + 0.0 * hidden_ND.sum()  # a row without spans still takes part in the backward pass
