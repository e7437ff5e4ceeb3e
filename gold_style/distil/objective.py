"""The loss of one micro-batch, computed inside the (wrapped) student's forward.

Inside the forward, because DDP and FSDP hook the module's call: a loss computed from `model.model` and `lm_head.weight` outside
of it would bypass gradient reduction and sharding. `install_scoring` teaches the student's forward one more keyword:

    loss = model(scoring=micro_batch)      # a scalar: micro_batch.weight x sum of the per-token losses, in nats

An objective has `prepare(rows)`, which says how many units of each row are scored before anything is computed, and
`loss(student, hidden_ND, micro_batch)`.

Shapes: B batch, T tokens, N scored tokens, D hidden, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gold_style.distil.micro_batch import MicroBatch
from gold_style.distil.window import Row
from gold_style.engine.backbone import Backbone
from gold_style.engine.packed_reading import PackedReader
from gold_style.engine.rollout import Completion
from gold_style.engine.teacher import AnyTeacher
from gold_style.losses import TokenLoss
from gold_style.losses.divergence import entropy, forward_kl, reverse_kl


class Objective(Protocol):
    readings: Sequence[str]  # of the teacher besides the usual one: "bare", without its context

    def prepare(self, rows: Sequence[Row]) -> None:
        """Set each row's teacher_completion, alignment and num_scored."""

    def set_beta(self, beta: float) -> None:
        """The divergence of the steps to come."""

    def to_student_ids(self, completion: Completion, style: str | None = None) -> Completion:
        """A completion that the teacher of `style` wrote, in the student's token ids."""

    def loss(self, student: Backbone, hidden_ND: Tensor, batch: MicroBatch) -> Tensor:
        """`batch.weight` x the sum over scored units, a scalar in nats; statistics go to `batch.stats`."""


def install_scoring(model: nn.Module, objective: Objective) -> Backbone:
    """Give `model.forward` the keyword `scoring`; without it the forward is unchanged. Returns the view that is trained through."""
    student, plain_forward = Backbone(model), model.forward

    def forward(*args, scoring: MicroBatch | None = None, **kwargs):
        if scoring is None:
            return plain_forward(*args, **kwargs)
        return objective.loss(student, scored_states(student, scoring), scoring)

    model.forward = forward
    return student


def scored_states(student: Backbone, batch: MicroBatch) -> Tensor:
    """The student's hidden states that predict the scored tokens, (N, D): packed where that is known to work, else row by row padded."""
    reader = PackedReader.for_training(student)
    if reader is None or not len(batch.row_N):
        return student.hidden(batch.student_ids_BT)[batch.row_N, batch.position_N]
    lengths_B = torch.zeros(len(batch.rows), dtype=torch.long).scatter_reduce(0, batch.row_N, batch.position_N + 1, "amax")
    is_read_BT = torch.arange(batch.student_ids_BT.shape[1]) < lengths_B[:, None]
    starts_B = lengths_B.cumsum(0) - lengths_B
    lengths = [length for length in lengths_B.tolist() if length]  # a row without a completion is not read at all
    return reader.states(batch.student_ids_BT[is_read_BT], lengths, starts_B[batch.row_N] + batch.position_N)


@dataclass(kw_only=True)
class TokenExact:
    """Student and teacher share a tokenizer: position by position, on the completion's own token ids.

    `token_loss` is the loss of a token, times `distillation_weight`; `crossentropy_weight` adds that multiple of the completion's
    cross-entropy.
    """

    teacher: AnyTeacher
    vocab_size: int  # ids that both sides have; padded vocabulary rows take no part
    token_loss: TokenLoss
    student_temperature: float = 1.0  # divides logits in the loss
    teacher_temperature: float = 1.0
    crossentropy_weight: float = 0.0
    distillation_weight: float = 1.0
    unscored_ids: tuple[int, ...] = ()  # the stop tokens, where they are to be skipped
    readings: Sequence[str] = ()

    def prepare(self, rows: Sequence[Row]) -> None:
        for row in rows:
            row.teacher_completion = row.completion
            row.num_scored = row.num_matched = sum(i not in self.unscored_ids for i in row.completion)

    def set_beta(self, beta: float) -> None:
        self.token_loss = replace(self.token_loss, beta=beta)

    def to_student_ids(self, completion: Completion, style: str | None = None) -> Completion:
        return completion

    def loss(self, student: Backbone, hidden_ND: Tensor, batch: MicroBatch) -> Tensor:
        weight_N = hidden_ND.new_full((len(hidden_ND),), batch.weight, dtype=torch.float32)
        unscored_N = torch.isin(batch.completion_N, torch.tensor(self.unscored_ids, dtype=torch.long, device=weight_N.device))
        loss = self._loss(student, hidden_ND, weight_N.masked_fill(unscored_N, 0.0), batch)
        batch.stats = {name: values_N.masked_fill(unscored_N, float("nan")) for name, values_N in batch.stats.items()}
        return loss

    def _loss(self, student: Backbone, hidden_ND: Tensor, weight_N: Tensor, batch: MicroBatch) -> Tensor:
        teacher_hidden_ND = batch.reading("teacher")
        teacher = self.teacher.head
        one_temperature = self.student_temperature == self.teacher_temperature
        fused = getattr(self.token_loss, "fused", None) if one_temperature and not self.crossentropy_weight else None
        others = {name: batch.reading(name) for name in self.readings}
        if fused and all(model.is_plain for model in (student, teacher)):
            loss, batch.stats = fused(
                hidden_ND,
                student.weight,
                teacher_hidden_ND,
                teacher.weight,
                weight_N * self.distillation_weight,
                temperature=self.student_temperature,
                vocab_size=self.vocab_size,
                student_bias=student.bias,
                teacher_bias=teacher.bias,
                stats_mask_N=batch.stats_mask_N,
                **others,
            )
            batch.stats["loss_N"] = batch.stats["loss_N"] * self.distillation_weight
            return loss
        student_logits_NV = student.full_logits(hidden_ND)[:, : self.vocab_size]
        with torch.no_grad():
            teacher_logits_NV = teacher.full_logits(teacher_hidden_ND)[:, : self.vocab_size]
            other_logits = {f"{name}_logits_NV": teacher.full_logits(states_ND) for name, states_ND in others.items()}
        readings = {name: getattr(batch, name) for name in getattr(self.token_loss, "reads", ())}
        readings |= {name: logits_NV[:, : self.vocab_size] / self.teacher_temperature for name, logits_NV in other_logits.items()}
        logits = student_logits_NV / self.student_temperature, teacher_logits_NV / self.teacher_temperature
        loss_N = self.token_loss(*logits, **readings) * self.distillation_weight
        if self.crossentropy_weight:
            loss_N = loss_N + self.crossentropy_weight * F.cross_entropy(student_logits_NV, batch.completion_N, reduction="none")
        batch.stats = statistics(student_logits_NV.detach(), teacher_logits_NV, batch.stats_mask_N)
        batch.stats["loss_N"] = loss_N.detach()
        return (weight_N * loss_N).sum()


@dataclass
class Routed:
    """Several teachers: every row by the objective of its style's teacher, as if that were the only one, added up.

    `parts`: style -> objective. Tokens and spans both count as units, and the window's loss is per unit.
    """

    parts: Mapping[str, Objective]
    readings: Sequence[str] = ()  # of losses for one tokenizer only

    def prepare(self, rows: Sequence[Row]) -> None:
        for part, members in self._split(rows):
            part.prepare([rows[i] for i in members])

    def set_beta(self, beta: float) -> None:
        for part in self.parts.values():
            part.set_beta(beta)

    def to_student_ids(self, completion: Completion, style: str | None = None) -> Completion:
        return self.parts[style].to_student_ids(completion)

    def loss(self, student: Backbone, hidden_ND: Tensor, batch: MicroBatch) -> Tensor:
        losses, rows, found = [], [], []
        for part, members in self._split(batch.rows):
            own, own_N = batch.part(members)
            losses.append(part.loss(student, hidden_ND[own_N], own))
            rows.append(torch.tensor(members, device=own_N.device)[own.row_N if own.stats_rows_N is None else own.stats_rows_N])
            found.append(own.stats)
        batch.stats_rows_N, nan_N = torch.cat(rows), [torch.full(row_N.shape, float("nan"), device=row_N.device) for row_N in rows]
        names = dict.fromkeys(name for stats in found for name in stats)
        batch.stats = {name: torch.cat([stats.get(name, nan) for stats, nan in zip(found, nan_N, strict=True)]) for name in names}
        return sum(losses[1:], losses[0])

    def _split(self, rows: Sequence[Row]) -> list[tuple[Objective, list[int]]]:
        """The objectives that have rows, and the places of those."""
        places: dict[int, tuple[Objective, list[int]]] = {}
        for i, row in enumerate(rows):
            part = self.parts[row.prompt.style]
            places.setdefault(id(part), (part, []))[1].append(i)
        return list(places.values())


def statistics(student_logits_NV: Tensor, teacher_logits_NV: Tensor, mask_N: Tensor) -> dict[str, Tensor]:
    """Readable twin of fused_jsd's statistics: (N,) tensors in nats, NaN where `mask_N` is False. Where a server tells the teacher's
    most probable tokens, of shape (N, 2, K), only the student's."""
    student, teacher = student_logits_NV[mask_N], teacher_logits_NV[mask_N]
    measured = {"student_entropy_N": entropy(student)}
    if teacher.dim() == 2:
        measured |= {
            "forward_kl_N": forward_kl(student, teacher),
            "reverse_kl_N": reverse_kl(student, teacher),
            "teacher_entropy_N": entropy(teacher),
            "top1_agree_N": (student.argmax(-1) == teacher.argmax(-1)).float(),
        }
    return {name: values.new_full(mask_N.shape, float("nan")).masked_scatter(mask_N, values) for name, values in measured.items()}
