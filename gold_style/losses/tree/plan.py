"""Which index goes where in the `tree` loss of a batch: all that depends on the tokens and not on a probability.

A *position* is a student token inside a span. Its teacher row is the teacher token that covers the byte before which
the student stands. A position's *levels* are that row and, where student tokens run on beyond the real teacher token,
the rows behind it. Arrays are flat over the batch; a slot is a set of student tokens of a position that share a mass.

Shapes: P positions, L levels, E listed teacher tokens of levels, G slots, F members of slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gold_style.losses.tree.lifting import AGAINST_CUT, Lifting
from gold_style.losses.tree.slots import Node, Slots, Weights
from gold_style.tokens.alignment import Span

LARGE = 512  # listed tokens of a level from which on it is spread as part of a dense block


@dataclass(frozen=True, eq=False)
class Positions:
    """Flat indices of the scored student tokens, of the teacher token each one stands in, and how deep (bytes)."""

    student_P: np.ndarray
    teacher_P: np.ndarray
    offset_P: np.ndarray

    @classmethod
    def of(cls, student_lengths_N: np.ndarray, teacher_lengths_M: np.ndarray, spans: Sequence[Span] | np.ndarray) -> "Positions":
        """From the bytes per token of both sides; a span covers equal bytes, the stop's span none."""
        spans = np.asarray(spans, dtype=np.int64).reshape(-1, 4)
        student_P, student_span_P = _expand(spans[:, 0], spans[:, 1])
        teacher_Q, teacher_span_Q = _expand(spans[:, 2], spans[:, 3])
        # lay all spans on one line, one byte apart, so that a stop's empty span has a place of its own
        student_start_P = _starts(student_lengths_N[student_P]) + student_span_P
        teacher_start_Q = _starts(teacher_lengths_M[teacher_Q]) + teacher_span_Q
        found = np.searchsorted(teacher_start_Q, student_start_P, side="right") - 1
        return cls(student_P, teacher_Q[found], student_start_P - teacher_start_Q[found])


def _expand(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> (all indices of the ranges behind each other, the number of the range that each belongs to)."""
    length = stop - first
    number = np.repeat(np.arange(len(first)), length)
    return np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length) + first[number], number


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.cumsum(lengths) - lengths


@dataclass(frozen=True, eq=False)
class TreePlan:
    """Index arrays of one batch.

    At positions with offset 0 the static table of `Lifting` applies, except that the teacher token `removed_P` (if not
    -1) is resolved by levels, and tokens `cut_Y` weigh less. U are teacher tokens whose mass belongs to a slot as far
    as the student has it there. X are shorter teacher tokens at positions inside of one:
    the token, and the position from which on the student wrote what the shorter token leaves to be written; student
    tokens `settled_Z` cannot come behind them.
    """

    positions: Positions
    removed_P: np.ndarray
    cut_position_Y: np.ndarray
    cut_Y: np.ndarray
    cut_weight_Y: np.ndarray
    maybe_position_U: np.ndarray
    maybe_token_U: np.ndarray
    maybe_slot_U: np.ndarray
    shorter_position_X: np.ndarray
    shorter_token_X: np.ndarray
    shorter_from_X: np.ndarray
    settled_position_Z: np.ndarray
    settled_Z: np.ndarray
    level_position_L: np.ndarray
    level_row_L: np.ndarray  # teacher row whose distribution is spread on this level
    level_real_L: np.ndarray  # real token whose mass goes on to the next level, -1 where none does
    level_rest_L: np.ndarray  # slot of all tokens not listed, -1 where they take no part
    rest_weight_L: np.ndarray
    level_E: np.ndarray
    token_E: np.ndarray
    slot_E: np.ndarray
    weight_E: np.ndarray
    open_position_O: np.ndarray  # where the teacher's text ends before the mass is resolved: position,
    open_row_O: np.ndarray  # the row behind its last token,
    open_slot_O: np.ndarray  # and the slot
    slot_position_G: np.ndarray
    member_slot_F: np.ndarray
    member_F: np.ndarray
    tables: list["Table"]


@dataclass(frozen=True, eq=False)
class Table:
    """Levels that share large `slots`, spread as one dense block instead of entry by entry.

    Row t of the block is level `level_T[t]`; its real token, if resolved further, is `slots.token_E[real_T[t]]` (else
    -1); block elements (`row_Y`, `column_Y`) weigh `weight_Y` instead of `usual_T`.
    """

    slots: Slots
    level_T: np.ndarray
    real_T: np.ndarray
    usual_T: np.ndarray
    row_Y: np.ndarray
    column_Y: np.ndarray
    weight_Y: np.ndarray


class TableWriter:
    """Collects the levels of one `Table`."""

    def __init__(self, slots: Slots):
        self.slots = slots
        self.levels, self.odd = Columns(int, int, float), Columns(int, int, float)

    def add(self, level: int, real: int, weights: Weights, against: float) -> None:
        at = int(np.searchsorted(self.slots.token_E, real))
        listed = at < len(self.slots.token_E) and self.slots.token_E[at] == real
        columns = np.searchsorted(self.slots.token_E, weights.token_Y)
        columns = np.minimum(columns, len(self.slots.token_E) - 1)
        found = self.slots.token_E[columns] == weights.token_Y
        odd = np.where(weights.weight_Y < 1, against, weights.weight_Y)
        self.odd.add(self.levels.size, columns[found], odd[found])
        self.levels.add(level, at if listed else -1, against if weights.usual < 1 else 1.0)

    def done(self) -> Table:
        return Table(self.slots, *self.levels.read(), *self.odd.read())


class Columns:
    """Rows of numbers, collected one by one or in blocks, and read as columns."""

    def __init__(self, *dtypes: type):
        self.dtypes = dtypes
        self.blocks: list[tuple[np.ndarray, ...]] = []
        self.size = 0

    def add(self, *columns) -> None:
        """A row, or arrays of equal length beside numbers that hold for all of them."""
        length = next((len(column) for column in columns if isinstance(column, np.ndarray)), 1)
        self.blocks.append(tuple(np.full(length, c) if not isinstance(c, np.ndarray) else c for c in columns))
        self.size += length

    def read(self) -> list[np.ndarray]:
        empty = [np.empty(0, dtype) for dtype in self.dtypes]
        columns = zip(*self.blocks, empty, strict=True)
        return [np.concatenate(column).astype(dtype) for column, dtype in zip(columns, self.dtypes, strict=True)]


@dataclass(eq=False)
class PlanWriter:
    """Walks the positions of a batch through a `Lifting` and collects the arrays of a `TreePlan`.

    `row_first_M`, `row_stop_M` are the bounds of each teacher token's row; `own` the student token that the student's
    own tokenisation of the text has at each position (None where it has none), `previous` the one written before.
    """

    lifting: Lifting
    positions: Positions
    teacher_ids: list[int]
    row_first_M: list[int]
    row_stop_M: list[int]
    own: Sequence[int | None]
    previous: Sequence[int | None]
    cut: Columns = field(default_factory=lambda: Columns(int, int, float))
    maybe: Columns = field(default_factory=lambda: Columns(int, int, int))
    shorter: Columns = field(default_factory=lambda: Columns(int, int, int))
    settled: Columns = field(default_factory=lambda: Columns(int, int))
    levels: Columns = field(default_factory=lambda: Columns(int, int, int, int, float))
    entries: Columns = field(default_factory=lambda: Columns(int, int, int, float))
    opened: Columns = field(default_factory=lambda: Columns(int, int, int))
    slots: Columns = field(default_factory=lambda: Columns(int))
    members: Columns = field(default_factory=lambda: Columns(int, int))
    tables: dict[int, TableWriter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows, self.offsets = self.positions.teacher_P.tolist(), self.positions.offset_P.tolist()

    def write(self) -> TreePlan:
        removed_P = np.full(len(self.rows), -1)
        for position, (row, offset) in enumerate(zip(self.rows, self.offsets, strict=True)):
            removed_P[position] = self._position(position, row, offset)
        return TreePlan(
            self.positions,
            removed_P,
            *self.cut.read(),
            *self.maybe.read(),
            *self.shorter.read(),
            *self.settled.read(),
            *self.levels.read(),
            *self.entries.read(),
            *self.opened.read(),
            *self.slots.read(),
            *self.members.read(),
            [table.done() for table in self.tables.values()],
        )

    def _position(self, position: int, row: int, offset: int) -> int:
        """Collect one position; -> the teacher token that its levels resolve in the static table's place, or -1."""
        lifting, real, previous = self.lifting, self.teacher_ids[row], self.previous[position]
        written = lifting.teacher.pieces[real][:offset]
        self._covers(position, row, written)
        slots = self._inside(position, written) if offset else lifting.static
        if not offset:
            self._cut_off(position, row, real)
        resolved = False
        if not lifting.teacher.special[real]:
            resolved = self._descend(position, row + 1, lifting.root(written, real), slots.members(real))
        if offset:
            self._level(position, row, real, resolved, slots, lifting.weights(previous, written, b""))
        return real if resolved and not offset else -1

    def _cut_off(self, position: int, row: int, real: int) -> None:
        before = self.teacher_ids[row - 1] if row > self.row_first_M[row] else None
        cut = self.lifting.cut_off(self.previous[position], before)
        keep = cut.weights.token_Y != real
        self.cut.add(position, cut.weights.token_Y[keep], cut.weights.weight_Y[keep])
        maybe = cut.maybe
        if len(maybe.token_E):
            first = self._slots(position, maybe.count, maybe.member_slot_F, maybe.member_F)
            keep = maybe.token_E != real
            self.maybe.add(position, maybe.token_E[keep], maybe.slot_E[keep] + first)

    def _covers(self, position: int, row: int, written: bytes) -> None:
        """Teacher tokens that begin at an earlier real boundary and run beyond the student's place."""
        lifting = self.lifting
        while row > self.row_first_M[row]:
            row -= 1
            written = lifting.teacher.pieces[self.teacher_ids[row]] + written
            if len(written) >= lifting.longest_teacher:
                return
            if lifting.covers(written):
                weights = lifting.weights(self.previous[position], written, b"")
                self._level(position, row, -1, False, lifting.head(written).slots, weights, against=0.0)

    def _inside(self, position: int, written: bytes) -> Slots:
        """What follows where teacher tokens shorter than the real one end is open."""
        head = self.lifting.head(written)
        for size, token in head.shorter:
            start = position  # the first of the student's tokens inside this teacher token that begins behind `size`
            while self.rows[start - 1] == self.rows[position] and self.offsets[start - 1] >= size:
                start -= 1
            self.shorter.add(position, token, start)
        self.settled.add(position, head.settled)
        return head.slots

    def _descend(self, position: int, row: int, node: Node, settled: Sequence[int]) -> bool:
        """Walk the real teacher tokens from `row` on, as long as student tokens run beyond them or the text decides how
        the student cuts. `settled` are the student tokens for the text of `node`; -> False if that is all."""
        lifting, previous, own = self.lifting, self.previous[position], self.own[position]
        usual = lifting.usual_weight(previous, node.text)
        runs_on = own is not None and lifting.student.lengths[own] > len(node.text)
        known = row < self.row_stop_M[row - 1]
        if not (node.longer or runs_on):
            if known and (usual < 1 or (own is not None and own not in settled)):
                self._turn(position, row, settled, usual)
                return True
            return False
        if not known:
            members = np.array(node.open_end(own if runs_on else None))
            self.opened.add(position, row, self._slots(position, 1, np.zeros(len(members), dtype=np.int64), members))
            return True
        real, resolved = self.teacher_ids[row], False
        own_slots = lifting.own_slots(node, own) if runs_on else None
        if not lifting.teacher.special[real]:
            settled = node.slots.members(real) or (own_slots and own_slots.members(real)) or (node.short,)
            resolved = self._descend(position, row + 1, lifting.follow(node, real), settled)
        weights = lifting.weights(previous, b"", node.text)
        self._level(position, row, real, resolved, node.slots, weights, rest=True, more=own_slots)
        return True

    def _turn(self, position: int, row: int, settled: Sequence[int], weight: float) -> None:
        """If the next real token follows, the mass goes to the student's own token, else to `settled`."""
        own = self.own[position]
        first = (own,) if own is not None and self.lifting.student.lengths[own] else settled
        numbers = np.array([0] * len(first) + [1] * len(settled))
        slot = self._slots(position, 2, numbers, np.array([*first, *settled]))
        self.entries.add(self.levels.size, self.teacher_ids[row], slot, 1.0)
        self.levels.add(position, row, -1, slot + 1, weight)

    def _level(
        self,
        position: int,
        row: int,
        real: int,
        resolved: bool,
        slots: Slots,
        weights: Weights,
        rest: bool = False,
        more: Slots | None = None,
        against: float = AGAINST_CUT,
    ) -> None:
        """One teacher row: listed tokens to their slots; with `rest` all others to slot 0. The real token is left out
        where it is `resolved` on further levels; tokens against the student's cut weigh `against`."""
        number, blocks = self.levels.size, []
        if len(slots.token_E) > LARGE:
            table = self.tables.setdefault(id(slots), TableWriter(slots))
            table.add(number, real if resolved else -1, weights, against)
            listed, first = [slots.token_E], -1
            if rest:  # slot 0 of `slots` once more, for what is not listed
                members = slots.member_F[slots.member_slot_F == 0]
                first = self._slots(position, 1, np.zeros(len(members), dtype=np.int64), members)
        else:
            first = self._slots(position, slots.count, slots.member_slot_F, slots.member_F)
            listed, blocks = [slots.token_E], [(slots.token_E, slots.slot_E + first)]
        if more is not None:
            start = self._slots(position, more.count, more.member_slot_F, more.member_F)
            listed.append(more.token_E)
            blocks.append((more.token_E, more.slot_E + start))
        if rest:  # tokens that are not listed but weigh otherwise than the rest
            other = weights.token_Y[~np.isin(weights.token_Y, np.concatenate(listed))] if len(weights.token_Y) else ()
            blocks.append((np.array(other, dtype=np.int64), np.full(len(other), first)))
        for tokens, targets in blocks:
            weight_E = weights.of(tokens)
            weight_E[weight_E < 1] = against
            keep = weight_E > 0
            if resolved:
                keep &= tokens != real
            self.entries.add(number, tokens[keep], targets[keep], weight_E[keep])
        self.levels.add(position, row, real if resolved else -1, first if rest else -1, weights.usual)

    def _slots(self, position: int, count: int, member_slot_F: np.ndarray, member_F: np.ndarray) -> int:
        first = self.slots.size
        self.slots.add(np.full(count, position))
        self.members.add(member_slot_F + first, member_F)
        return first
