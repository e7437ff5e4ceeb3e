"""The small structures of the `tree` loss: where pieces of the teacher's probability go (filled by lifting.py).

A *slot* is a set of student tokens that share a piece of the teacher's probability; most have one member.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

StudentToken = tuple[int, bytes, tuple[int, ...]]  # id, bytes, the teacher's segmentation of them


@dataclass(frozen=True, eq=False)
class Slots:
    """Teacher tokens -> slots -> student tokens: `token_E[e]`'s probability goes to `slot_E[e]`; tokens ascend."""

    token_E: np.ndarray
    slot_E: np.ndarray
    member_slot_F: np.ndarray
    member_F: np.ndarray
    count: int

    def members(self, token: int) -> tuple[int, ...]:
        """Student tokens that share the mass of a teacher token, () if it is not listed."""
        at, listed = find(self.token_E, token)
        if not listed:
            return ()
        first, last = np.searchsorted(self.member_slot_F, (self.slot_E[at], self.slot_E[at] + 1))
        return tuple(self.member_F[first:last].tolist())


def find(ascending: np.ndarray, values: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """-> (where each value is in an ascending array, whether it is there)."""
    if not len(ascending):
        return np.zeros(np.shape(values), dtype=np.int64), np.zeros(np.shape(values), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return at, ascending[at] == values


class SlotWriter:
    """Collects slots; equal member sets become one slot."""

    def __init__(self) -> None:
        self.slot_of: dict[int, int] = {}
        self.numbers: dict[tuple[int, ...], int] = {}

    def slot(self, members: Iterable[int]) -> int:
        return self.numbers.setdefault(tuple(sorted(set(members))), len(self.numbers))

    def add(self, token: int, members: Iterable[int]) -> None:
        self.slot_of[token] = self.slot(members)

    def done(self) -> Slots:
        pairs = [(slot, member) for members, slot in self.numbers.items() for member in members]
        flat = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        entries = np.array(sorted(self.slot_of.items()), dtype=np.int64).reshape(-1, 2)
        return Slots(entries[:, 0], entries[:, 1], flat[:, 0], flat[:, 1], len(self.numbers))


class Weights:
    """What an event weighs by the student's own cut: `usual`, except for some teacher tokens (in ascending order)."""

    def __init__(self, usual: float, exceptions: dict[int, float]):
        self.usual = usual
        self.token_Y = np.array(list(exceptions), dtype=np.int64)
        self.weight_Y = np.array(list(exceptions.values()), dtype=np.float64)

    def of(self, token_E: np.ndarray) -> np.ndarray:
        at, found = find(self.token_Y, token_E)
        weight_E = np.full(len(token_E), self.usual)
        weight_E[found] = self.weight_Y[at[found]]
        return weight_E


@dataclass(frozen=True, eq=False)
class Node:
    """What the teacher may write after real tokens whose bytes from the student's position on are `text`.

    `longer` are the student tokens that run beyond `text`; `through` has them by the teacher token of this level. Slot 0
    of `slots` is `short`, the student token for every continuation that is not listed.
    """

    depth: int  # real teacher tokens so far
    text: bytes
    longer: list[StudentToken]
    through: dict[int, list[StudentToken]]
    short: int
    slots: Slots


@dataclass(frozen=True, eq=False)
class Head:
    """A teacher row of which some bytes are written already: `slots` of the tokens that continue them.

    `shorter` are the teacher tokens that end at or before the student's position, with their number of bytes; `excluded`
    the student tokens that cannot follow one of them, by the teacher's own cuts.
    """

    slots: Slots
    shorter: list[tuple[int, int]]
    excluded: np.ndarray


@dataclass(frozen=True, eq=False)
class CutOff:
    """Teacher tokens after a student token that the student would have drawn together with it.

    Their weight is AGAINST_CUT; or 0, where longer student tokens exist that would have kept the cut: `keeping` names
    them, and what share of the teacher's mass leads to them is open.
    """

    weights: Weights
    keeping: Slots
