"""Which index goes where in the `tree` loss of a batch: all that depends on the tokens and not on a probability.

A *position* is a student token inside a span. Its teacher row is the teacher token that holds the position's first
byte. A position's *levels* are that row and, where student tokens run beyond the real teacher token, the rows after it.
Arrays are flat over the batch; a slot is a set of student tokens of a position that share a mass.

Shapes: P positions, L levels, E listed teacher tokens of levels, G slots, F members of slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gold_style.losses.tree.lifting import AGAINST_CUT, Lifting
from gold_style.losses.tree.slots import Node, Slots, Weights, find
from gold_style.tokens.alignment import Span

LARGE = 512  # listed tokens of a level from which on it is spread as part of a dense block


@dataclass(frozen=True, eq=False)
class Positions:
    """Flat indices of the scored student tokens, of the teacher token each one begins in, and how deep (bytes)."""

    student_P: np.ndarray
    teacher_P: np.ndarray
    offset_P: np.ndarray

    @classmethod
    def of(cls, student_lengths_N: np.ndarray, teacher_lengths_M: np.ndarray, spans: Sequence[Span]) -> "Positions":
        """From the bytes per token of both sides; a span covers equal bytes, the stop's span none."""
        spans_S4 = np.asarray(spans, dtype=np.int64).reshape(-1, 4)
        student_P, student_span_P = _expand(spans_S4[:, 0], spans_S4[:, 1])
        teacher_Q, teacher_span_Q = _expand(spans_S4[:, 2], spans_S4[:, 3])
        # lay all spans on one line, one byte apart, so that a stop's empty span has a place of its own
        student_start_P = starts(student_lengths_N[student_P]) + student_span_P
        teacher_start_Q = starts(teacher_lengths_M[teacher_Q]) + teacher_span_Q
        found = np.searchsorted(teacher_start_Q, student_start_P, side="right") - 1
        return cls(student_P, teacher_Q[found], student_start_P - teacher_start_Q[found])


def _expand(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> (all indices of the ranges, one range after the other; the number of the range that each belongs to)."""
    length = stop - first
    number = np.repeat(np.arange(len(first)), length)
    return np.arange(length.sum()) - np.repeat(starts(length), length) + first[number], number


def starts(lengths: np.ndarray) -> np.ndarray:
    """Where each of several stretches begins that follow one another."""
    return np.cumsum(lengths) - lengths


class Columns:
    """Rows of numbers, collected one by one or in blocks, and read as named arrays."""

    def __init__(self, **dtypes: type):
        self.dtypes = dtypes
        self.blocks: list[tuple[np.ndarray, ...]] = []
        self.size = 0

    def add(self, *columns: np.ndarray | float) -> None:
        """A row, or arrays of equal length beside numbers that hold for all of them."""
        length = next((len(column) for column in columns if isinstance(column, np.ndarray)), 1)
        self.blocks.append(tuple(c if isinstance(c, np.ndarray) else np.full(length, c) for c in columns))
        self.size += length

    def read(self) -> dict[str, np.ndarray]:
        columns = zip(*self.blocks, [np.empty(0)] * len(self.dtypes), strict=True)
        return {name: np.concatenate(next(columns)).astype(dtype) for name, dtype in self.dtypes.items()}


@dataclass(frozen=True, eq=False)
class Table:
    """Levels that share large `slots`, spread as one dense block (a row a level, a column a listed token).

    `levels`: the level of row T; the column of its real token, if further levels resolve it (else -1); its usual weight.
    `exceptions`: elements of the block that weigh otherwise.
    """

    slots: Slots
    levels: Columns = field(default_factory=lambda: Columns(level_T=int, real_T=int, usual_T=float))
    exceptions: Columns = field(default_factory=lambda: Columns(row_Y=int, column_Y=int, weight_Y=float))

    def add(self, level: int, resolved: int, weights: Weights, against: float) -> None:
        column, listed = find(self.slots.token_E, resolved)
        column_Y, found_Y = find(self.slots.token_E, weights.token_Y)
        weight_Y = np.where(weights.weight_Y < 1, against, weights.weight_Y)
        self.exceptions.add(self.levels.size, column_Y[found_Y], weight_Y[found_Y])
        self.levels.add(level, int(column) if listed else -1, against if weights.usual < 1 else 1.0)


@dataclass(frozen=True, eq=False)
class TreePlan:
    """Index arrays of one batch (PlanWriter names them), and the levels that are spread as dense blocks."""

    positions: Positions
    arrays: dict[str, np.ndarray]
    tables: list[Table]


@dataclass(eq=False)
class PlanWriter:
    """Walks the positions of a batch through a `Lifting` and collects the arrays of a `TreePlan`.

    `row_first_M`, `row_stop_M` are the bounds of each teacher token's row; `canonical` the student token that the
    student's own tokenisation of the text has at each position (None where it has none), `previous` the one written
    before.
    """

    lifting: Lifting
    positions: Positions
    teacher_ids: Sequence[int]
    row_first_M: Sequence[int]
    row_stop_M: Sequence[int]
    canonical: Sequence[int | None]
    previous: Sequence[int | None]

    def __post_init__(self) -> None:
        self.rows, self.offsets = self.positions.teacher_P.tolist(), self.positions.offset_P.tolist()
        # At positions with offset 0 the static table of `Lifting` applies, but levels resolve the teacher token
        # `removed_P` (if not -1), and the tokens of `cuts` weigh less.
        self.removed_P = np.full(len(self.rows), -1)
        self.cuts = Columns(cut_position_Y=int, cut_token_Y=int, cut_weight_Y=float)
        # teacher tokens whose mass belongs to a slot as far as the student has it there
        self.keeping = Columns(keeping_position_U=int, keeping_token_U=int, keeping_slot_U=int)
        # Positions inside of a teacher token: a shorter teacher token, and the position from which on the student wrote
        # what the shorter token leaves to be written; `excluded` student tokens cannot follow it.
        self.shorter = Columns(shorter_position_X=int, shorter_token_X=int, shorter_from_X=int)
        self.excluded = Columns(excluded_position_Z=int, excluded_Z=int)
        # A level: the teacher row that is spread on it, the real token whose mass is left to the next level (or -1), and
        # the slot of all tokens that are not listed (-1 where they take no part).
        self.levels = Columns(level_position_L=int, level_row_L=int, level_real_L=int, level_rest_L=int, rest_weight_L=float)
        self.entries = Columns(level_E=int, token_E=int, slot_E=int, weight_E=float)
        # where the teacher's text ends before the mass is resolved: the row after its last token
        self.opened = Columns(open_position_O=int, open_row_O=int, open_slot_O=int)
        self.slots = Columns(slot_position_G=int)
        self.members = Columns(member_slot_F=int, member_F=int)
        self.tables: dict[int, Table] = {}

    def write(self) -> TreePlan:
        for position, (row, offset) in enumerate(zip(self.rows, self.offsets, strict=True)):
            self._position(position, row, offset)
        arrays = {"removed_P": self.removed_P}
        for columns in (value for value in vars(self).values() if isinstance(value, Columns)):
            arrays |= columns.read()
        return TreePlan(self.positions, arrays, list(self.tables.values()))

    def _position(self, position: int, row: int, offset: int) -> None:
        lifting, real, previous = self.lifting, self.teacher_ids[row], self.previous[position]
        written = lifting.teacher.pieces[real][:offset]
        self._covers(position, row, written)
        slots = self._inside(position, written) if offset else lifting.static
        if not offset:
            self._cut_off(position, row, real)
        resolved = -1
        if not lifting.teacher.special[real] and self._descend(position, row + 1, lifting.root(written, real), slots.members(real)):
            resolved = real
        if offset:
            self._level(position, row, resolved, slots, lifting.weights(previous, written, b""))
        else:
            self.removed_P[position] = resolved

    def _cut_off(self, position: int, row: int, real: int) -> None:
        before = self.teacher_ids[row - 1] if row > self.row_first_M[row] else None
        cut = self.lifting.cut_off(self.previous[position], before)
        keep = cut.weights.token_Y != real
        self.cuts.add(position, cut.weights.token_Y[keep], cut.weights.weight_Y[keep])
        first, keep = self._slots(position, cut.keeping), cut.keeping.token_E != real
        self.keeping.add(position, cut.keeping.token_E[keep], cut.keeping.slot_E[keep] + first)

    def _covers(self, position: int, row: int, written: bytes) -> None:
        """Teacher tokens that begin at an earlier real boundary and run beyond the student's position."""
        lifting = self.lifting
        while row > self.row_first_M[row]:
            row -= 1
            written = lifting.teacher.pieces[self.teacher_ids[row]] + written
            if len(written) >= lifting.longest_teacher:
                return
            slots = lifting.head(written).slots
            if len(slots.token_E):
                self._level(position, row, -1, slots, lifting.weights(self.previous[position], written, b""), against=0.0)

    def _inside(self, position: int, written: bytes) -> Slots:
        """What follows where teacher tokens shorter than the real one end is open."""
        head = self.lifting.head(written)
        for size, token in head.shorter:
            start = position  # the first of the student's tokens inside this teacher token that begins after `size` bytes
            while self.rows[start - 1] == self.rows[position] and self.offsets[start - 1] >= size:
                start -= 1
            self.shorter.add(position, token, start)
        self.excluded.add(position, head.excluded)
        return head.slots

    def _descend(self, position: int, row: int, node: Node, default: Sequence[int]) -> bool:
        """Walk the real teacher tokens from `row` on, as long as student tokens run beyond them or the text decides how
        the student cuts. `default` are the student tokens for the text of `node`; -> False if nothing else matters."""
        lifting, previous, canonical = self.lifting, self.previous[position], self.canonical[position]
        usual = lifting.usual_weight(previous, node.text)
        running_on = canonical if canonical is not None and lifting.student.lengths[canonical] > len(node.text) else None
        known = row < self.row_stop_M[row - 1]
        if not node.longer and running_on is None:
            if known and (usual < 1 or (canonical is not None and canonical not in default)):
                self._turn(position, row, default, usual)
                return True
            return False
        if not known:
            members = {node.short, *(() if running_on is None else (running_on,)), *(u for u, _, _ in node.longer)}
            self.opened.add(position, row, self._slot(position, list(members)))
            return True
        real, resolved = self.teacher_ids[row], -1
        more = None if running_on is None else lifting.canonical_slots(node, running_on)
        if not lifting.teacher.special[real]:
            default = node.slots.members(real) or (more and more.members(real)) or (node.short,)
            if self._descend(position, row + 1, lifting.follow(node, real), default):
                resolved = real
        self._level(position, row, resolved, node.slots, lifting.weights(previous, b"", node.text), rest=True, more=more)
        return True

    def _turn(self, position: int, row: int, default: Sequence[int], weight: float) -> None:
        """If the next real token follows, the mass goes to the student's canonical token, else to `default`."""
        canonical, follows = self.canonical[position], default
        if canonical is not None and self.lifting.student.lengths[canonical]:
            follows = [canonical]
        self.entries.add(self.levels.size, self.teacher_ids[row], self._slot(position, follows), 1.0)
        self.levels.add(position, row, -1, self._slot(position, default), weight)

    def _level(
        self,
        position: int,
        row: int,
        resolved: int,
        slots: Slots,
        weights: Weights,
        rest: bool = False,
        more: Slots | None = None,
        against: float = AGAINST_CUT,
    ) -> None:
        """One teacher row: listed tokens to their slots; with `rest` all others to slot 0. The token `resolved` on
        further levels (or -1) is left out; tokens against the student's cut weigh `against`."""
        number, first, listed, blocks = self.levels.size, -1, [slots.token_E], []
        if len(slots.token_E) > LARGE:
            self.tables.setdefault(id(slots), Table(slots)).add(number, resolved, weights, against)
            if rest:  # slot 0 of `slots` once more, for what is not listed
                first = self._slot(position, slots.member_F[slots.member_slot_F == 0])
        else:
            first = self._slots(position, slots)
            blocks.append((slots.token_E, slots.slot_E + first))
        if more is not None:
            listed.append(more.token_E)
            blocks.append((more.token_E, more.slot_E + self._slots(position, more)))
        if rest:  # tokens that are not listed but weigh otherwise than the rest
            other = weights.token_Y[~np.isin(weights.token_Y, np.concatenate(listed))]
            blocks.append((other, np.full(len(other), first)))
        for token_E, slot_E in blocks:
            weight_E = weights.of(token_E)
            weight_E[weight_E < 1] = against
            keep = (weight_E > 0) & (token_E != resolved)
            self.entries.add(number, token_E[keep], slot_E[keep], weight_E[keep])
        self.levels.add(position, row, resolved, first if rest else -1, weights.usual)

    def _slots(self, position: int, slots: Slots) -> int:
        """A position's own copy of slots; -> the number of the first one."""
        first = self.slots.size
        self.slots.add(np.full(slots.count, position))
        self.members.add(slots.member_slot_F + first, slots.member_F)
        return first

    def _slot(self, position: int, members: Sequence[int] | np.ndarray) -> int:
        """One more slot of a position; -> its number."""
        self.members.add(self.slots.size, np.array(members, dtype=np.int64))
        self.slots.add(position)
        return self.slots.size - 1
