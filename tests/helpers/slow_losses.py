"""Slow, readable twins of the losses for two tokenizers, one span and one token at a time: the fast ones must agree."""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gold_style.losses.divergence import MASKED_LOGPROB
from gold_style.losses.tree.lifting import AGAINST_CUT, Lifting
from gold_style.losses.tree.loss import OPEN_SHARE, Tree
from gold_style.losses.uld import ULD


def uld_reference(
    loss: ULD,
    student_logits_NV: Tensor,
    teacher_logits_MV: Tensor,
    student_ids: Sequence[int],
    teacher_ids: Sequence[int],
    spans: Sequence[tuple[int, int, int, int]],
) -> tuple[Tensor, int]:
    """The sum of `ULD.per_unit` over spans, and their number. Differentiable, in the logits' own dtype."""
    match = loss.match
    student_groups = match.student_matched_M.tolist(), match.student_unmatched_U.tolist()
    teacher_groups = match.teacher_matched_M.tolist(), match.teacher_unmatched_W.tolist()
    total, num_spans = student_logits_NV.new_zeros(()), 0
    for s0, s1, t0, t1 in spans:
        if student_ids[s0] in loss.unscored_ids:
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


def _merged(logits: Tensor, ids: Sequence[int], groups: tuple[list[int], list[int]]) -> tuple[dict[int, Tensor], Tensor]:
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
    """The sum of `Tree.per_unit` over student tokens, and their number. Differentiable, in the logits' dtype."""
    student_table, teacher_table = loss.lifting.student, loss.lifting.teacher
    student_NV = torch.log_softmax(student_logits_NV[:, : len(student_table)] / loss.temperature, -1)
    teacher_rows = torch.log_softmax(teacher_logits_MV[:, : len(teacher_table)] / loss.temperature, -1).exp().tolist()
    total, num_tokens, row_first = student_logits_NV.new_zeros(()), 0, 0
    for length in teacher_lengths:
        row = range(row_first, row_first + length)
        inside = [span for span in spans if span[2] in row]
        tokens = [i for s0, s1, _, _ in inside for i in range(s0, s1)]
        ids = [student_ids[i] for i in tokens]
        canonical = loss.lifting.student_segment.whole(student_table.join(ids))
        boundaries = {len(student_table.join((canonical or ids)[:k])): u for k, u in enumerate(canonical or ids)}
        path = [teacher_ids[m] for m in row]
        for k, i in enumerate(tokens):
            place = Place(
                loss.lifting,
                [student_NV[j].exp().tolist() for j in tokens[: k + 1]],
                [teacher_rows[m] for m in row],
                path,
                ids[:k],
                boundaries.get(len(student_table.join(ids[:k]))),
            )
            target = place.target()
            if loss.beta == 1:
                target = [q or OPEN_SHARE * p for q, p in zip(target, place.student, strict=True)]
            for u, q in enumerate(target):
                teacher = student_NV.new_tensor(math.log(q) if q > 0 else MASKED_LOGPROB)
                total = total + _jsd_term(student_NV[i, u], teacher, loss.beta)
            num_tokens += 1
        row_first += length
    return total, num_tokens


class Place:
    """One student position of the `tree` loss; `target` is q of losses/tree/loss.py's docstring, event by event."""

    def __init__(
        self, lifting: Lifting, student_rows: list[list[float]], rows: list[list[float]], path: list[int], ids: list[int], own: int | None
    ):
        """`student_rows` are the student's probabilities up to this position, `ids` the tokens written before it, `own`
        its own tokenisation's token here; `rows[m]` the teacher's probabilities at its token `path[m]`."""
        self.lifting, self.student, self.student_rows = lifting, student_rows[-1], student_rows
        self.rows, self.path, self.ids, self.own = rows, path, ids, own
        self.pieces, self.special = lifting.teacher.pieces, lifting.teacher.special
        self.previous = ids[-1] if ids else None
        self.num_bytes = len(lifting.student.join(ids))
        starts = [len(lifting.teacher.join(path[:m])) for m in range(len(path))]
        self.row = max(m for m, start in enumerate(starts) if start <= self.num_bytes)
        self.offset = self.num_bytes - starts[self.row]
        self.mass = [0.0] * len(self.student)

    def give(self, mass: float, members: Sequence[int]) -> None:
        members = set(members)
        share = sum(self.student[u] for u in members)
        for u in members:
            self.mass[u] += mass * self.student[u] / share

    def weight(self, text: bytes) -> float:
        return AGAINST_CUT if _against_cut(self.lifting, self.previous, text) else 1.0

    def running_on(self, written: bytes, tokens: tuple[int, ...], text: bytes) -> list[int]:
        """Student tokens longer than `text` for which the teacher, behind `written`, would begin with `tokens`."""
        found = []
        for u, piece in enumerate(self.lifting.student.pieces):
            if piece.startswith(text) and len(piece) > len(text):
                if self.lifting.teacher_segment(written + piece)[: len(tokens)] == tokens:
                    found.append(u)
        return found

    def named(self, written: bytes, w: int) -> tuple[int, ...]:
        """Student tokens for the teacher token `w`, of which `written` is there already."""
        if w in self.lifting.teacher_stop_ids:
            return tuple(self.lifting.student_stop_ids)
        if self.special[w]:
            return self.lifting.student_control_ids
        text = self.pieces[w][len(written) :]
        return self.lifting.members(text, self.running_on(written, (w,), text), self.lifting.first(text))

    def target(self) -> list[float]:
        self.earlier_rows()
        if self.offset:
            self.own_row_inside()
        else:
            open_masses = self.own_row()
        if self.offset:
            self.shorter_tokens()
        else:
            self.keep_cuts(open_masses)
        total = sum(self.mass)
        return [mass / total for mass in self.mass]

    def earlier_rows(self) -> None:
        """Teacher tokens that begin at an earlier real boundary and run beyond this place."""
        written, ratio = self.pieces[self.path[self.row]][: self.offset], 1.0
        for m in range(self.row - 1, -1, -1):
            written = self.pieces[self.path[m]] + written
            ratio /= self.rows[m][self.path[m]]
            for w, piece in enumerate(self.pieces):
                if piece.startswith(written) and len(piece) > len(written):
                    if self.weight(piece[len(written) :]) == 1.0:
                        self.give(ratio * self.rows[m][w], self.named(written, w))

    def own_row_inside(self) -> None:
        written = self.pieces[self.path[self.row]][: self.offset]
        for w, piece in enumerate(self.pieces):
            if piece.startswith(written) and len(piece) > len(written):
                if w != self.path[self.row] or not self.beyond_real(self.named(written, w)):
                    weight = self.weight(piece[len(written) :])
                    self.give(weight * self.rows[self.row][w], self.named(written, w))

    def own_row(self) -> list[tuple[float, list[int], Sequence[int]]]:
        """-> the masses of which it is open how far they reach their student tokens."""
        lifting, open_masses = self.lifting, []
        before = self.path[self.row - 1] if self.row else None
        for w, probability in enumerate(self.rows[self.row]):
            text, members = self.pieces[w], self.named(b"", w)
            if w == self.path[self.row]:
                if self.special[w] or not self.beyond_real(members):
                    self.give(probability, members)
                continue
            cut = before is not None and not self.special[w] and self.weight(text) < 1
            if cut and lifting.teacher_segment(self.pieces[before] + text)[0] == before:
                keep = [u for u in self.running_on(b"", (w,), text) if self.weight(lifting.student.pieces[u]) == 1.0]
                if keep:
                    open_masses.append((probability, keep, members))
                else:
                    self.give(AGAINST_CUT * probability, members)
            else:
                self.give(probability, members)
        return open_masses

    def beyond_real(self, settled: Sequence[int]) -> bool:
        """Share out the real token's mass by what follows it; False where nothing behind it matters."""
        real = self.path[self.row]
        text = self.pieces[real][self.offset :]
        mass = self.rows[self.row][real]
        return self.level(mass, self.row + 1, text, (real,), settled)

    def level(self, mass: float, row: int, text: bytes, tokens: tuple[int, ...], settled: Sequence[int]) -> bool:
        """Share out `mass`: the teacher wrote the real `tokens`, with them `text` from this place on, and stands before
        its row `row`. `settled` are the student tokens if nothing else is known. False if `settled` is the answer."""
        lifting, pieces = self.lifting, self.lifting.student.pieces
        written = self.pieces[self.path[self.row]][: self.offset]
        longer = self.running_on(written, tokens, text)
        own = self.own if self.own is not None and len(pieces[self.own]) > len(text) else None
        known = row < len(self.rows)
        if not longer and own is None:
            elsewhere = self.own is not None and self.own not in settled
            if not known or not (elsewhere or self.weight(text) < 1):
                return False
            follows = self.rows[row][self.path[row]]
            self.give(mass * follows, [self.own] if self.own is not None and pieces[self.own] else settled)
            self.give(mass * (1 - follows) * self.weight(text), settled)
            return True
        short = lifting.student.id_of.get(text, lifting.first(text))
        if not known:
            self.give(mass, [short, *longer, *([] if own is None else [own])])
            return True
        uncertain = _straddled(lifting, self.previous, text)
        rests = {u: pieces[u][len(text) :] for u in [*longer, *([] if own is None else [own])]}
        for w, probability in enumerate(self.rows[row]):
            beyond = text + self.pieces[w]
            through = self.running_on(written, (*tokens, w), text) if not self.special[w] else []
            if own is not None and rests[own] == self.pieces[w]:
                through.append(own)
            inside = any(self.pieces[w].startswith(rest) and self.pieces[w] != rest for rest in rests.values())
            members: tuple[int, ...] = (short,)
            if through or inside:
                members = lifting.members(beyond, through, lifting.first(beyond) if inside else short)
            weight = self.weight(beyond if w in uncertain else text)
            if w == self.path[row]:
                if not self.special[w] and self.level(mass * probability, row + 1, beyond, (*tokens, w), members):
                    continue
            self.give(mass * probability * weight, members)
        return True

    def shorter_tokens(self) -> None:
        """Inside a teacher token: shorter tokens in its place leave open what comes next."""
        lifting, written = self.lifting, self.pieces[self.path[self.row]][: self.offset]
        start = self.num_bytes - self.offset
        settled = set()
        for w, piece in enumerate(self.pieces):
            if piece.startswith(written) and len(piece) > len(written):
                settled.update(self.named(written, w))
        cuts = {u: lifting.teacher_segment(written + lifting.student.pieces[u]) for u in settled}
        settled = {u for u, ids in cuts.items() if ids and len(self.pieces[ids[0]]) > len(written)}
        free = [u for u in range(len(self.student)) if u not in settled] or list(range(len(self.student)))
        for size in range(1, len(written) + 1):
            w = lifting.teacher.id_of.get(written[:size])
            if w is None:
                continue
            rest = 1.0
            for k in range(len(self.ids)):
                if len(lifting.student.join(self.ids[:k])) >= start + size:
                    rest *= self.student_rows[k][self.ids[k]]
            self.give(self.rows[self.row][w] * rest, free)

    def keep_cuts(self, open_masses: list[tuple[float, list[int], Sequence[int]]]) -> None:
        known = sum(self.mass)
        shares = [sum(self.student[u] for u in set(members)) for _, members, _ in open_masses]
        left = max(1 - sum(shares), 1e-9)
        over = []
        for (mass, keep, members), share in zip(open_masses, shares, strict=True):
            given = min(mass, known * share / left)
            self.give(given, keep)
            over.append((mass - given, members))
        if known < AGAINST_CUT * sum(mass for mass, _ in over):
            for mass, members in over:
                self.give(mass, members)


@functools.lru_cache(maxsize=100_000)
def _against_cut(lifting: Lifting, previous: int | None, text: bytes) -> bool:
    return lifting.against_cut(previous, text)


@functools.lru_cache(maxsize=10_000)
def _straddled(lifting: Lifting, previous: int | None, text: bytes) -> set[int]:
    return lifting.straddled(previous, b"", text)
