"""The small structures of the `tree` loss: where pieces of the teacher's probability go (filled by lifting.py).

Words: a *slot* is a set of student tokens that share a piece of the teacher's probability; most have one member.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Slots:
    """Teacher tokens -> slots -> student tokens. `weight_E[e]` of `token_E[e]`'s probability goes to `slot_E[e]`."""

    token_E: np.ndarray
    slot_E: np.ndarray
    weight_E: np.ndarray
    member_slot_F: np.ndarray
    member_F: np.ndarray
    count: int

    def members(self, token: int) -> tuple[int, ...]:
        """Student tokens that share the mass of a teacher token, () if it is not listed."""
        listed = self.slot_E[self.token_E == token]
        return tuple(self.member_F[self.member_slot_F == listed[0]].tolist()) if len(listed) else ()

    def without(self, token: int) -> "Slots":
        keep = self.token_E != token
        entries = self.token_E[keep], self.slot_E[keep], self.weight_E[keep]
        return Slots(*entries, self.member_slot_F, self.member_F, self.count)


class SlotWriter:
    """Collects slots; equal member sets become one slot."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, float]] = []
        self.numbers: dict[tuple[int, ...], int] = {}

    def slot(self, members: Iterable[int]) -> int:
        return self.numbers.setdefault(tuple(sorted(set(members))), len(self.numbers))

    def add(self, token: int, members: Iterable[int], weight: float = 1.0) -> None:
        self.entries.append((token, self.slot(members), weight))

    def done(self) -> Slots:
        pairs = [(slot, member) for members, slot in self.numbers.items() for member in members]
        flat = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        tokens, slots, weights = zip(*self.entries, strict=True) if self.entries else ((), (), ())
        indices = np.array(tokens, dtype=np.int64), np.array(slots, dtype=np.int64)
        return Slots(*indices, np.array(weights, dtype=np.float64), flat[:, 0], flat[:, 1], len(self.numbers))


@dataclass(eq=False)
class Node:
    """What the teacher may write behind real tokens, whose bytes from the student's place on are `text`.

    `longer` are the student tokens that run beyond `text`: id, bytes, the teacher's segmentation; `own` is one more,
    the token of the student's own tokenisation of the real text, if it runs beyond. Slot 0 of `slots` is `short`, the
    student token for every continuation that is not listed; those weigh `rest_weight`.
    """

    depth: int  # teacher tokens behind
    previous: int | None  # student token before this place
    text: bytes
    longer: list[tuple[int, bytes, tuple[int, ...]]]
    own: int | None
    short: int
    rest_weight: float
    slots: Slots
    next: dict[int, "Node | None"] = field(default_factory=dict)

    def members(self, token: int) -> tuple[int, ...]:
        """Student tokens that share the mass of a teacher token of this level."""
        return self.slots.members(token) or (self.short,)

    @property
    def open_end(self) -> tuple[int, ...]:
        """Student tokens for the node's mass where its level is not known: the teacher's text ends there."""
        own = () if self.own is None else (self.own,)
        return tuple({self.short, *own, *(u for u, _, _ in self.longer)})


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

    token_Y: np.ndarray
    weight_Y: np.ndarray
    maybe: Slots
