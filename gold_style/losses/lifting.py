"""Which student tokens a teacher token can turn into: the tables behind the `tree` loss (see tree.py for the maths).

`Lifting` holds one static table, for positions at which the teacher has a token boundary, and a cache of nodes for what
depends on the text: a student token may run over several teacher tokens, or begin inside of one.

Words: a *slot* is a set of student tokens that share a piece of the teacher's probability; most have one member.
"""

import bisect
from dataclasses import dataclass, field

import numpy as np

from gold_style.losses.segmentation import Segmenter
from gold_style.losses.token_bytes import TokenBytes

MAX_SEGMENTED = 4096  # texts segmented for one node; beyond, the longest match decides
MAX_NODES = 200_000  # the cache starts anew beyond; a node takes about 1 kB


@dataclass(frozen=True, eq=False)
class Slots:
    """Teacher tokens -> slots -> student tokens, as index arrays. `token_E[e]`'s probability goes to `slot_E[e]`."""

    token_E: np.ndarray
    slot_E: np.ndarray
    member_slot_F: np.ndarray
    member_F: np.ndarray
    count: int

    def members(self, token: int) -> list[int]:
        """Student tokens that share the mass of a teacher token; of slot 0 where it is not listed."""
        listed = self.slot_E[self.token_E == token]
        return self.member_F[self.member_slot_F == (listed[0] if len(listed) else 0)].tolist()


class SlotWriter:
    """Collects slots; equal member sets become one slot."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.slots: list[int] = []
        self.numbers: dict[tuple[int, ...], int] = {}

    def slot(self, members: tuple[int, ...]) -> int:
        return self.numbers.setdefault(members, len(self.numbers))

    def add(self, token: int, members: tuple[int, ...]) -> None:
        self.tokens.append(token)
        self.slots.append(self.slot(members))

    def done(self) -> Slots:
        pairs = [(slot, member) for members, slot in self.numbers.items() for member in members]
        flat = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        tokens, slots = np.array(self.tokens, dtype=np.int64), np.array(self.slots, dtype=np.int64)
        return Slots(tokens, slots, flat[:, 0], flat[:, 1], len(self.numbers))


@dataclass(eq=False)
class Node:
    """One teacher level under a path: the student tokens still possible there, and where the level's mass goes.

    `longer` are the student tokens that run beyond the path's bytes `text`: id, bytes, teacher segmentation; `ahead` is
    one more, the token that the student's own tokenisation of the real text has, if it runs beyond too. `short` is the
    student token for text that goes on in none of their ways; every token that `slots` does not list means that.
    """

    depth: int
    text: bytes
    longer: list[tuple[int, bytes, tuple[int, ...]]]
    ahead: int | None
    short: int
    slots: Slots | None = None  # filled when first asked for
    next: dict[int, "Node | None"] = field(default_factory=dict)  # real token -> where its mass is resolved further

    @property
    def open_end(self) -> tuple[int, ...]:
        """Members for the node's mass where its level is not known, because the teacher's text ends there."""
        ahead = () if self.ahead is None else (self.ahead,)
        return tuple(sorted({self.short, *ahead, *(u for u, _, _ in self.longer)}))


@dataclass(frozen=True, eq=False)
class Head:
    """Level 0 inside a teacher token. `shorter` are the teacher tokens that end before or where the student stands, with
    their number of bytes; `settled` the student tokens that cannot follow one of them, going by the teacher's cuts."""

    slots: Slots
    shorter: list[tuple[int, int]]
    settled: np.ndarray


class Lifting:
    """Tables for one pair of vocabularies. Building takes about 2 s for 150,000 tokens on each side."""

    def __init__(
        self,
        student: TokenBytes,
        teacher: TokenBytes,
        student_segment: Segmenter,
        teacher_segment: Segmenter,
        student_stop_ids: frozenset[int],
        teacher_stop_ids: frozenset[int],
    ):
        self.student, self.teacher = student, teacher
        self.student_segment, self.teacher_segment = student_segment, teacher_segment
        self.student_stop_ids, self.teacher_stop_ids = student_stop_ids, teacher_stop_ids
        control = np.flatnonzero(student.special).tolist()
        self.student_control_ids = tuple(index for index in control if index not in student_stop_ids)
        self.student_sorted = sorted((piece, index) for index, piece in enumerate(student.pieces) if piece)
        self.teacher_sorted = sorted((piece, index) for index, piece in enumerate(teacher.pieces) if piece)
        self.segmentation = {u: teacher_segment(piece) for piece, u in self.student_sorted}
        self.starting_with: dict[int, list[int]] = {}
        for u, ids in self.segmentation.items():
            if ids:
                self.starting_with.setdefault(ids[0], []).append(u)
        self.static = self._static()
        self.roots: dict[tuple[bytes, int, int | None], Node | None] = {}
        self.heads: dict[bytes, Head] = {}
        self.num_nodes = 0

    # --- level 0 at a teacher boundary ------------------------------------------------------------------------------

    def _static(self) -> Slots:
        """Every teacher id -> student tokens: itself, those that begin with it, or the first token of its text."""
        writer = SlotWriter()
        everything = tuple(range(len(self.student)))
        for w, piece in enumerate(self.teacher.pieces):
            if w in self.teacher_stop_ids:
                members = tuple(sorted(self.student_stop_ids))
            elif self.teacher.special[w]:
                members = self.student_control_ids
            else:
                members = self._members(piece, self.starting_with.get(w, []), self.first(piece))
            writer.add(w, members or everything)
        return writer.done()

    def first(self, text: bytes) -> int | None:
        """The student's first token for a text; None where its vocabulary cannot write it."""
        ids = self.student_segment(text)
        return ids[0] if ids else None

    def _members(self, text: bytes, longer: list[int], fallback: int | None) -> tuple[int, ...]:
        """Student tokens for "the teacher's text is `text` up to a boundary": exact ones and longer ones; where `text`
        itself is no student token, its first token too."""
        found = list(longer)
        exact = self.student.id_of.get(text)
        if exact is not None:
            found.append(exact)
        elif fallback is not None:
            found.append(fallback)
        return tuple(sorted(set(found)))

    # --- deeper levels ----------------------------------------------------------------------------------------------

    def root(self, written: bytes, token: int, ahead: int | None) -> Node | None:
        """Level 1 behind the real teacher `token`, whose bytes `written` are there already; None: nothing runs beyond.

        `ahead` is the student token that its own tokenisation of the real text has at this place.
        """
        text = self.teacher.pieces[token][len(written) :]
        if ahead is not None and self.student.lengths[ahead] <= len(text):
            ahead = None
        key = written, token, ahead
        if key not in self.roots:
            if self.num_nodes > MAX_NODES:
                self.roots, self.heads, self.num_nodes = {}, {}, 0
            self.roots[key] = self._root(written, token, text, ahead)
        return self.roots[key]

    def _root(self, written: bytes, token: int, text: bytes, ahead: int | None) -> Node | None:
        if written:
            candidates = [(u, piece, self.teacher_segment(written + piece)) for u, piece in self._extensions(text)]
        else:
            candidates = [(u, self.student.pieces[u], self.segmentation[u]) for u in self.starting_with.get(token, [])]
        longer = [(u, p, ids) for u, p, ids in candidates if len(p) > len(text) and ids and ids[0] == token]
        exact = self.student.id_of.get(text)
        return self._node(1, text, longer, ahead, self.first(text) if exact is None else exact)

    def _node(self, depth: int, text: bytes, longer: list, ahead: int | None, short: int | None) -> Node | None:
        if (not longer and ahead is None) or short is None:
            return None
        self.num_nodes += 1
        return Node(depth, text, longer, ahead, short)

    def _extensions(self, text: bytes) -> list[tuple[int, bytes]]:
        """Student tokens strictly longer than `text` that begin with it."""
        return [(index, piece) for piece, index in _range(self.student_sorted, text) if len(piece) > len(text)]

    def slots_of(self, node: Node) -> Slots:
        """Where the mass of a node's level goes, as if no token of it were the real one. Slot 0 is `short`."""
        if node.slots is None:
            groups = self._groups(node)
            inside = self._inside(node)
            writer = SlotWriter()
            writer.slot((node.short,))
            for w in sorted(groups.keys() | inside.keys()):
                text = node.text + self.teacher.pieces[w]
                writer.add(w, self._members(text, groups.get(w, []), inside.get(w, node.short)))
            node.slots = writer.done()
        return node.slots

    def _groups(self, node: Node) -> dict[int, list[int]]:
        """Teacher token of this level -> the student tokens that go through it."""
        groups: dict[int, list[int]] = {}
        for u, _, ids in node.longer:
            if len(ids) > node.depth:
                groups.setdefault(ids[node.depth], []).append(u)
        if node.ahead is not None:
            w = self.teacher.id_of.get(self.student.pieces[node.ahead][len(node.text) :])
            if w is not None:
                groups.setdefault(w, []).append(node.ahead)
        return groups

    def _rests(self, node: Node) -> list[tuple[int, bytes]]:
        """Student tokens that run beyond the node's text, shortest first, with their bytes beyond it."""
        known = {u: piece[len(node.text) :] for u, piece, _ in node.longer}
        if node.ahead is not None:
            known[node.ahead] = self.student.pieces[node.ahead][len(node.text) :]
        return sorted(known.items(), key=lambda entry: (len(entry[1]), entry[0]))

    def _inside(self, node: Node) -> dict[int, int]:
        """Teacher tokens of this level in which a student token may end -> the student's first token of that text."""
        inside: dict[int, int] = {}
        for u, rest in self._rests(node):
            for piece, w in _range(self.teacher_sorted, rest):
                if len(piece) > len(rest):
                    inside[w] = u  # the longest one, unless the student's own segmentation knows better
        if len(inside) <= MAX_SEGMENTED:
            for w in inside:
                inside[w] = self.first(node.text + self.teacher.pieces[w])
        return inside

    def follow(self, node: Node, real: int) -> Node | None:
        """The node behind the real token of this level; None where its mass is settled on this level."""
        if real not in node.next:
            node.next[real] = self._follow(node, real)
        return node.next[real]

    def _follow(self, node: Node, real: int) -> Node | None:
        piece, text = self.teacher.pieces[real], node.text + self.teacher.pieces[real]
        longer = [
            (u, p, ids)
            for u, p, ids in node.longer
            if len(ids) > node.depth and ids[node.depth] == real and len(p) > len(text)
        ]
        ahead = node.ahead
        if not piece or (ahead is not None and self.student.lengths[ahead] <= len(text)):
            ahead = None
        short = self.student.id_of.get(text)
        if short is None:
            inside = any(len(rest) < len(piece) and piece.startswith(rest) for _, rest in self._rests(node))
            short = self.first(text) if inside else node.short
        return self._node(node.depth + 1, text, longer, ahead, short)

    # --- level 0 inside a teacher token -----------------------------------------------------------------------------

    def head(self, written: bytes) -> "Head":
        """Level 0 where the bytes `written` of the teacher's token are there already."""
        if written not in self.heads:
            self.heads[written] = self._head(written)
        return self.heads[written]

    def _head(self, written: bytes) -> "Head":
        size = len(written)
        beyond = [(piece[size:], w) for piece, w in _range(self.teacher_sorted, written) if len(piece) > size]
        groups: dict[int, list[int]] = {}
        for u in {u for text, _ in beyond for u, _ in self._extensions(text)}:
            ids = self.teacher_segment(written + self.student.pieces[u])
            if ids:
                groups.setdefault(ids[0], []).append(u)
        writer = SlotWriter()
        for text, w in beyond:
            members = self._members(text, groups.get(w, []), self.first(text))
            if members:
                writer.add(w, members)
        slots = writer.done()
        named = np.unique(slots.member_F).tolist()
        cuts = [self.teacher_segment(written + self.student.pieces[u]) for u in named]
        settled = [u for u, ids in zip(named, cuts, strict=True) if ids and self.teacher.lengths[ids[0]] > size]
        shorter = [(n, self.teacher.id_of[written[:n]]) for n in range(1, size + 1) if written[:n] in self.teacher.id_of]
        return Head(slots, shorter, np.array(settled, dtype=np.int64))


def _range(ordered: list[tuple[bytes, int]], prefix: bytes) -> list[tuple[bytes, int]]:
    """The entries of a sorted list whose bytes begin with `prefix`."""
    first = bisect.bisect_left(ordered, (prefix, -1))
    last = first
    if prefix:
        above = _successor(prefix)
        last = len(ordered) if above is None else bisect.bisect_left(ordered, (above, -1))
    return ordered[first:last]


def _successor(prefix: bytes) -> bytes | None:
    """The smallest byte string greater than every string that begins with `prefix`; None where there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
