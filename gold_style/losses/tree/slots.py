"""The small structures of the `tree` loss: where pieces of the teacher's probability go (filled by lifting.py).

Words: a *slot* is a set of student tokens that share a piece of the teacher's probability; most have one member.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


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
        at = np.searchsorted(self.token_E, token)
        if at == len(self.token_E) or self.token_E[at] != token:
            return ()
        first, last = np.searchsorted(self.member_slot_F, (self.slot_E[at], self.slot_E[at] + 1))
        return tuple(self.member_F[first:last].tolist())


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


@dataclass(frozen=True, eq=False)
class Weights:
    """What an event weighs by the student's own cut: `usual`, but `weight_Y` for the teacher tokens `token_Y`."""

    usual: float
    token_Y: np.ndarray  # ascending
    weight_Y: np.ndarray

    def of(self, token_E: np.ndarray) -> np.ndarray:
        weight_E = np.full(len(token_E), self.usual)
        if len(self.token_Y):
            at = np.minimum(np.searchsorted(self.token_Y, token_E), len(self.token_Y) - 1)
            found = self.token_Y[at] == token_E
            weight_E[found] = self.weight_Y[at[found]]
        return weight_E


@dataclass(eq=False)
class Node:
    """What the teacher may write behind real tokens, whose bytes from the student's place on are `text`.

    `longer` are the student tokens that run beyond `text`: id, bytes, the teacher's segmentation; `through` has them by
    the teacher token of this level. Slot 0 of `slots` is `short`, the student token for every continuation that is not
    listed.
    """

    depth: int  # teacher tokens behind
    text: bytes
    longer: list[tuple[int, bytes, tuple[int, ...]]]
    through: dict[int, list[tuple[int, bytes, tuple[int, ...]]]]
    short: int
    slots: Slots
    next: dict[int, "Node"] = field(default_factory=dict)  # real teacher token -> the node behind it
    own: dict[int, Slots] = field(default_factory=dict)  # filled by Lifting.own_slots

    def open_end(self, own: int | None) -> tuple[int, ...]:
        """Student tokens for the node's mass where its level is not known: the teacher's text ends there."""
        return tuple({self.short, *([] if own is None else [own]), *(u for u, _, _ in self.longer)})


@dataclass(frozen=True, eq=False)
class Head:
    """A teacher row of which bytes are written already: tokens that go on behind them.

    `shorter` are the teacher tokens that end before or where the student stands, with their number of bytes; `settled`
    the student tokens that cannot follow one of them, going by the teacher's own cuts.
    """

    slots: Slots
    shorter: list[tuple[int, int]]
    settled: np.ndarray


@dataclass(frozen=True, eq=False)
class CutOff:
    """Teacher tokens behind a student token that the student would have drawn together with it.

    Their weight is AGAINST_CUT; or 0, where longer student tokens exist that would have kept the cut: what share of the
    teacher's mass leads there is open, `maybe` names them.
    """

    weights: Weights
    maybe: Slots
