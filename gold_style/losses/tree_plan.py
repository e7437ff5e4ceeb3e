"""Which index goes where in the `tree` loss of a batch: all that depends on the tokens and not on a probability.

A *position* is a student token inside a span. Its teacher row is the teacher token that covers the byte before which
the student stands. A position's *levels* are that row and, where student tokens run on beyond the real teacher token,
the rows behind it. Arrays are flat over the batch; a slot is a set of student tokens of a position that share a mass.

Shapes: P positions, L levels, E listed teacher tokens of levels, G slots, F members of slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gold_style.losses.alignment import Span
from gold_style.losses.lifting import Lifting, Node, Slots


@dataclass(frozen=True, eq=False)
class Positions:
    """Flat indices of the scored student tokens, of the teacher token each one stands in, and how deep (bytes)."""

    student_P: np.ndarray
    teacher_P: np.ndarray
    offset_P: np.ndarray

    @classmethod
    def of(
        cls, student_lengths_N: np.ndarray, teacher_lengths_M: np.ndarray, spans: Sequence[Span] | np.ndarray
    ) -> "Positions":
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

    At positions with offset 0 the static table of `Lifting` applies; where `removed_P` is not -1, that teacher token's
    mass is resolved by levels instead. X are shorter teacher tokens at positions inside of one: the token, and the
    position from which on the student wrote what the shorter token leaves to be written. `settled_*_Y` are student
    tokens that cannot come behind them.
    """

    positions: Positions
    removed_P: np.ndarray
    shorter_position_X: np.ndarray
    shorter_token_X: np.ndarray
    shorter_from_X: np.ndarray
    settled_position_Y: np.ndarray
    settled_Y: np.ndarray
    level_position_L: np.ndarray
    level_row_L: np.ndarray  # teacher row whose distribution is spread on this level
    level_real_L: np.ndarray  # real token whose mass goes on to the next level, -1 where none does
    level_rest_L: np.ndarray  # slot of all tokens not listed, -1 on level 0
    level_E: np.ndarray
    token_E: np.ndarray
    slot_E: np.ndarray
    open_position_O: np.ndarray  # where the teacher's text ends before the mass is resolved: position,
    open_row_O: np.ndarray  # the row behind its last token,
    open_slot_O: np.ndarray  # and the slot
    slot_position_G: np.ndarray
    member_slot_F: np.ndarray
    member_F: np.ndarray


class PlanWriter:
    """Walks the positions of a batch through the nodes of a `Lifting` and collects the arrays of a `TreePlan`."""

    def __init__(
        self,
        lifting: Lifting,
        positions: Positions,
        teacher_ids: np.ndarray,
        row_stop_M: np.ndarray,
        ahead: Sequence[int | None],
    ):
        """`row_stop_M` is the end of each teacher token's row; `ahead` the student token that the student's own
        tokenisation of the text has at each position, None where it has none."""
        self.lifting, self.positions, self.row_stop_M, self.ahead = lifting, positions, row_stop_M, ahead
        self.teacher_ids = teacher_ids.tolist()
        num_positions = len(positions.student_P)
        self.removed_P = np.full(num_positions, -1)
        self.shorter: list[tuple[int, int, int]] = []
        self.settled: list[np.ndarray] = []
        self.settled_at: list[tuple[int, int]] = []
        self.levels: list[tuple[int, int, int, int]] = []
        self.entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.open: list[tuple[int, int, int]] = []
        self.slot_positions: list[tuple[int, int]] = []
        self.members: list[tuple[np.ndarray, np.ndarray]] = []
        self.num_slots = 0

    def write(self) -> TreePlan:
        rows, offsets = self.positions.teacher_P.tolist(), self.positions.offset_P.tolist()
        for position, (row, offset) in enumerate(zip(rows, offsets, strict=True)):
            real, ahead = self.teacher_ids[row], self.ahead[position]
            if self.lifting.teacher.special[real]:
                continue  # the stop: the static table has it
            written = self.lifting.teacher.pieces[real][:offset]
            node = self.lifting.root(written, real, ahead)
            if offset:
                slots = self._head(position, written, offsets)
            else:
                slots = self.lifting.static
            turn = node is None and self._turns(row, slots, real, ahead)
            resolved = node is not None or turn
            if offset:
                self._level(position, row, real if resolved else -1, slots, rest=None)
            elif resolved:
                self.removed_P[position] = real
            if turn:
                self._turn(position, row + 1, slots.members(real), ahead)
            if node is not None:
                self._descend(position, row + 1, node, ahead)
        return self._plan()

    def _head(self, position: int, written: bytes, offsets: list[int]) -> Slots:
        head = self.lifting.head(written)
        for size, token in head.shorter:
            start = position  # the first of the student's tokens inside this teacher token that begins at `size` or later
            while offsets[start - 1] >= size and offsets[start - 1] < offsets[start]:
                start -= 1
            self.shorter.append((position, token, start))
        self.settled.append(head.settled)
        self.settled_at.append((position, len(head.settled)))
        return head.slots

    def _descend(self, position: int, row: int, node: Node, ahead: int | None) -> None:
        """Walk the real teacher tokens from `row` on, as long as student tokens run beyond them."""
        while row < self.row_stop_M[row - 1]:
            real = self.teacher_ids[row]
            following, slots = self.lifting.follow(node, real), self.lifting.slots_of(node)
            turn = following is None and self._turns(row, slots, real, ahead)
            self._level(position, row, real if turn or following is not None else -1, slots, rest=0)
            row += 1
            if following is None:
                if turn:
                    self._turn(position, row, slots.members(real), ahead)
                return
            node = following
        members = np.array(node.open_end)
        first = self._slots(position, 1, np.zeros(len(members), dtype=np.int64), members)
        self.open.append((position, row, first))

    def _turns(self, row: int, slots: Slots, real: int, ahead: int | None) -> bool:
        """True where the student cuts the real text otherwise than the real token alone tells, and text follows."""
        return ahead is not None and row + 1 < self.row_stop_M[row] and ahead not in slots.members(real)

    def _turn(self, position: int, row: int, members: list[int], ahead: int) -> None:
        """If the next real token follows, the mass goes to the student's real token, else to `members`."""
        number = len(self.levels)
        first = self._slots(position, 2, np.array([0] + [1] * len(members)), np.array([ahead, *members]))
        self.entries.append((np.array([number]), np.array([self.teacher_ids[row]]), np.array([first])))
        self.levels.append((position, row, -1, first + 1))

    def _level(self, position: int, row: int, real: int, slots: Slots, rest: int | None) -> None:
        first = self._slots(position, slots.count, slots.member_slot_F, slots.member_F)
        tokens, targets = slots.token_E, slots.slot_E
        if real >= 0:
            keep = tokens != real
            tokens, targets = tokens[keep], targets[keep]
        self.entries.append((np.full(len(tokens), len(self.levels)), tokens, targets + first))
        self.levels.append((position, row, real, -1 if rest is None else first + rest))

    def _slots(self, position: int, count: int, member_slot_F: np.ndarray, member_F: np.ndarray) -> int:
        first = self.num_slots
        self.num_slots += count
        self.slot_positions.append((position, count))
        self.members.append((member_slot_F + first, member_F))
        return first

    def _plan(self) -> TreePlan:
        levels = np.array(self.levels, dtype=np.int64).reshape(-1, 4)
        opened = np.array(self.open, dtype=np.int64).reshape(-1, 3)
        slots = np.array(self.slot_positions, dtype=np.int64).reshape(-1, 2)
        settled = np.array(self.settled_at, dtype=np.int64).reshape(-1, 2)
        entries = [np.concatenate([e[i] for e in self.entries] or [np.empty(0, np.int64)]) for i in range(3)]
        members = [np.concatenate([m[i] for m in self.members] or [np.empty(0, np.int64)]) for i in range(2)]
        return TreePlan(
            self.positions, self.removed_P, *np.array(self.shorter, dtype=np.int64).reshape(-1, 3).T,
            np.repeat(settled[:, 0], settled[:, 1]), np.concatenate([*self.settled, np.empty(0, np.int64)]), *levels.T, *entries, *opened.T,
            np.repeat(slots[:, 0], slots[:, 1]), *members,
        )  # fmt: skip
