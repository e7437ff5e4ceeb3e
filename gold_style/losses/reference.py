"""Slow, readable twins of the losses for two tokenizers, one span and one token at a time: the fast ones must agree."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gold_style.losses.uld import ULD


def uld_reference(
    loss: ULD,
    student_logits_NV: Tensor,
    teacher_logits_MV: Tensor,
    student_ids: Sequence[int],
    teacher_ids: Sequence[int],
    spans: Sequence[tuple[int, int, int, int]],
) -> tuple[Tensor, int]:
    """As `ULD.__call__`: sum over spans, number of spans. Differentiable, in the logits' own dtype."""
    match = loss.match
    student_groups = match.student_matched_M.tolist(), match.student_unmatched_U.tolist()
    teacher_groups = match.teacher_matched_M.tolist(), match.teacher_unmatched_W.tolist()
    total, num_spans = student_logits_NV.new_zeros(()), 0
    for s0, s1, t0, t1 in spans:
        if (loss.skip_student_eos or loss.skip_teacher_eos) and student_ids[s0] == match.student_stop_id:
            continue
        student, nll = _merged(student_logits_NV[s0:s1] / loss.student_temperature, student_ids[s0:s1], student_groups)
        teacher, _ = _merged(teacher_logits_MV[t0:t1] / loss.teacher_temperature, teacher_ids[t0:t1], teacher_groups)
        pairs = list(zip(student_groups[0], teacher_groups[0], strict=True))
        matched = sum(_jsd_term(student[i], teacher[j], loss.beta) for i, j in pairs)
        unmatched = _sorted_distance([student[i] for i in student_groups[1]], [teacher[j] for j in teacher_groups[1]])
        if not student_groups[1] or not teacher_groups[1]:
            unmatched = 0.0
        matched_weight, unmatched_weight = loss.weights
        part = matched_weight * matched + unmatched_weight * unmatched
        if not loss.hybrid:
            part = _sorted_distance(list(student.values()), list(teacher.values()))
        total = total + loss.distillation_weight * part + loss.crossentropy_weight * nll
        num_spans += 1
    return total, num_spans


def _merged(
    logits: Tensor, ids: Sequence[int], groups: tuple[list[int], list[int]]
) -> tuple[dict[int, Tensor], Tensor]:
    """-> ({id: log-probability in the span's merged distribution}, -log P of the span's own tokens)."""
    usable = [*groups[0], *groups[1]]
    rows = [dict(zip(usable, torch.log_softmax(row[usable], -1), strict=True)) for row in logits]
    early = sum((row[token] for row, token in zip(rows[:-1], ids[:-1], strict=True)), start=logits.new_zeros(()))
    return {token: value + early for token, value in rows[-1].items()}, -(early + rows[-1][ids[-1]])


def _jsd_term(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """One id's part of the generalised JSD, from two log-probabilities."""
    p, q = student.exp(), teacher.exp()
    if beta == 0:
        return q * (teacher - student)
    if beta == 1:
        return p * (student - teacher)
    mixture = torch.logaddexp(student + math.log1p(-beta), teacher + math.log(beta))
    return beta * q * (teacher - mixture) + (1 - beta) * p * (student - mixture)


def _sorted_distance(student: list[Tensor], teacher: list[Tensor]) -> Tensor | float:
    """L1 of two sorted lists of log-probabilities, taken as probabilities."""
    student, teacher = (sorted((value.exp() for value in side), reverse=True) for side in (student, teacher))
    width = max(len(student), len(teacher))
    student, teacher = (side + [0.0] * (width - len(side)) for side in (student, teacher))
    return sum(abs(a - b) for a, b in zip(student, teacher, strict=True))
