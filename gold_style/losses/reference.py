"""Slow, readable twins of the losses for two tokenizers, one span and one token at a time: the fast ones must agree."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gold_style.losses.divergence import MASKED_LOGPROB
from gold_style.losses.lifting import Lifting
from gold_style.losses.tree import OPEN_SHARE, Tree
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


def tree_reference(
    loss: Tree,
    student_logits_NV: Tensor,
    teacher_logits_MV: Tensor,
    student_ids: Sequence[int],
    teacher_ids: Sequence[int],
    spans: Sequence[tuple[int, int, int, int]],
    teacher_lengths: Sequence[int],
) -> tuple[Tensor, int]:
    """As `Tree.__call__`: sum over student tokens, number of student tokens. Differentiable, in the logits' dtype."""
    student_table, teacher_table = loss.lifting.student, loss.lifting.teacher
    row_stops = [sum(teacher_lengths[: i + 1]) for i in range(len(teacher_lengths))]
    teacher_rows = torch.log_softmax(teacher_logits_MV[:, : len(teacher_table)] / loss.temperature, -1).exp().tolist()
    total, num_tokens = student_logits_NV.new_zeros(()), 0
    for s0, s1, t0, t1 in spans:
        for i in range(s0, s1):
            written = len(student_table.join(student_ids[s0:i]))
            j = max(j for j in range(t0, t1) if len(teacher_table.join(teacher_ids[t0:j])) <= written)
            offset = written - len(teacher_table.join(teacher_ids[t0:j]))
            student = torch.log_softmax(student_logits_NV[i, : len(student_table)] / loss.temperature, -1)
            own = student.exp().tolist()
            stop = next(stop for stop in row_stops if stop > j)
            target = lifted(loss.lifting, own, teacher_rows[j:stop], teacher_ids[j:stop], offset)
            if loss.beta == 1:
                target = [(1 - OPEN_SHARE) * q + OPEN_SHARE * p for q, p in zip(target, own, strict=True)]
            for u, q in enumerate(target):
                teacher = student.new_tensor(math.log(q) if q > 0 else MASKED_LOGPROB)
                total = total + _jsd_term(student[u], teacher, loss.beta)
            num_tokens += 1
    return total, num_tokens


def lifted(
    lifting: Lifting, student: list[float], rows: list[list[float]], path: Sequence[int], offset: int
) -> list[float]:
    """q of tree.py at one position, event by event: over the student's vocabulary.

    `student` are its probabilities; `rows[k]` the teacher's at its token `path[k]`; `offset` bytes of the first token
    are written.
    """
    pieces, special, known = lifting.teacher.pieces, lifting.teacher.special, lifting.student.id_of
    student_pieces, first, cut = lifting.student.pieces, lifting.first, lifting.teacher_segment
    written = pieces[path[0]][:offset]
    cuts = {u: cut(written + piece) for u, piece in enumerate(student_pieces) if piece}
    target, named = [0.0] * len(student), set()

    def give(mass: float, members: set[int]) -> None:
        named.update(members)
        share = sum(student[u] for u in members)
        for u in members:
            target[u] += mass * student[u] / share

    def members(text: bytes, tokens: tuple[int, ...], fallback: int) -> set[int]:
        longer = {u for u, ids in cuts.items() if ids[: len(tokens)] == tokens}
        return longer | {known.get(text, fallback)}

    def settle(mass: float, text: bytes, tokens: tuple[int, ...], short: int) -> None:
        """Share out `mass`: the teacher wrote `tokens`, the real ones, and with them `text` from the position on."""
        longer = {u for u, ids in cuts.items() if ids[: len(tokens)] == tokens and len(student_pieces[u]) > len(text)}
        level = len(tokens)
        if not longer:
            return give(mass, {short})
        if level == len(rows):
            return give(mass, longer | {short})
        for w, probability in enumerate(rows[level]):
            through = {u for u in longer if cuts[u][level : level + 1] == (w,)}
            rests = {u: student_pieces[u][len(text) :] for u in longer}
            inside = [u for u, rest in rests.items() if pieces[w].startswith(rest) and rest != pieces[w]]
            fallback = max(inside, key=lambda u: len(student_pieces[u])) if inside else short
            if w == path[level] and any(len(student_pieces[u]) > len(text + pieces[w]) for u in through):
                settle(mass * probability, text + pieces[w], (*tokens, w), known.get(text + pieces[w], fallback))
            elif special[w] or not (through or inside):
                give(mass * probability, {short})
            else:
                give(mass * probability, members(text + pieces[w], (*tokens, w), fallback))

    possible = [w for w in range(len(pieces)) if not offset or (pieces[w].startswith(written) and pieces[w])]
    total = sum(rows[0][w] for w in possible)
    for w in sorted(possible, key=lambda w: len(pieces[w]) == offset > 0):  # the token that ends here comes last
        mass, text = rows[0][w] / total, pieces[w][offset:]
        longer = {u for u, ids in cuts.items() if ids[:1] == (w,) and len(student_pieces[u]) > len(text)}
        if special[w]:
            stops = w in lifting.teacher_stop_ids
            give(mass, set(lifting.student_stop_ids if stops else lifting.student_control_ids))
        elif not text:
            give(mass, set(range(len(student))) - named or set(range(len(student))))
        elif w == path[0] and longer:
            settle(mass, text, (w,), known.get(text, first(text)))
        else:
            give(mass, members(text, (w,), first(text)))
    return target
