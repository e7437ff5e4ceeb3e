"""Which student tokens a stretch of teacher text can turn into: the tables behind the `tree` loss (maths in loss.py).

`Lifting` holds one static table, for places at which the teacher has a token boundary, and caches for all that depends
on the text: a student token may run over several teacher tokens, end inside of one, or begin inside of one.

A text is *against the student's cut* if the student, writing its previous token and then this text, would have cut
elsewhere. *Slots* are explained in slots.py.
"""

import bisect
from collections.abc import Iterable

import numpy as np
from transformers import PreTrainedTokenizerBase

from gold_style.losses.tree.slots import CutOff, Head, Node, Slots, SlotWriter, Weights
from gold_style.tokens.segmentation import Segmenter
from gold_style.tokens.token_bytes import TokenBytes

AGAINST_CUT = 0.1  # weight of teacher tokens against the student's cut; a learning student errs in its segmentation that often
MAX_SEGMENTED = 512  # texts segmented for one entry, 5 us each; beyond, the longest match decides
MAX_CACHED = 200_000  # entries of all caches together; they start anew beyond


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
        self.longest_teacher = int(teacher.lengths.max(initial=0))
        self.static = self._static()
        self.caches: dict[str, dict] = {}
        self.num_cached = 0

    @classmethod
    def between(
        cls,
        student: PreTrainedTokenizerBase,
        teacher: PreTrainedTokenizerBase,
        student_stop_ids: Iterable[int],
        teacher_stop_ids: Iterable[int],
    ) -> "Lifting":
        """Tables of two tokenizers; every stop id of one side is a stop to the other."""
        stops = frozenset(student_stop_ids), frozenset(teacher_stop_ids)
        tables = [TokenBytes.from_tokenizer(side, ids) for side, ids in zip((student, teacher), stops, strict=True)]
        return cls(*tables, Segmenter(student, tables[0]), Segmenter(teacher, tables[1]), *stops)

    def _cached(self, kind: str, key, make):
        if self.num_cached > MAX_CACHED:
            self.caches, self.num_cached = {}, 0
        cache = self.caches.setdefault(kind, {})
        if key not in cache:
            cache[key] = make()
            self.num_cached += 1
        return cache[key]

    # --- segmentation ------------------------------------------------------------------------------------------------

    def first(self, text: bytes) -> int | None:
        """The student's first token for a text; None where its vocabulary cannot write it."""
        ids = self.student_segment(text)
        return ids[0] if ids else None

    def against_cut(self, previous: int | None, text: bytes) -> bool:
        """True where the student, having `text` before it, would not have ended `previous` here."""
        return previous is not None and self.first(self.student.pieces[previous] + text) != previous

    def usual_weight(self, previous: int | None, text: bytes) -> float:
        """Weight of what follows `text`, if it does not change where the student cuts."""
        key = previous, text
        return self._cached("usual", key, lambda: AGAINST_CUT if self.against_cut(*key) else 1.0)

    def weights(self, previous: int | None, written: bytes, text: bytes) -> Weights:
        """Weights of teacher tokens behind `text`, which begin with `written` bytes that are there already."""
        key = previous, written, text
        return self._cached("weights", key, lambda: self._weights(*key))

    def _weights(self, previous: int | None, written: bytes, text: bytes) -> Weights:
        usual, found = self.usual_weight(previous, text), {}
        for w in sorted(self.straddled(previous, written, text)):
            beyond = text + self.teacher.pieces[w][len(written) :]
            weight = AGAINST_CUT if self.against_cut(previous, beyond) else 1.0
            if weight != usual:
                found[w] = weight
        return Weights(usual, np.array(list(found), dtype=np.int64), np.array(list(found.values())))

    def straddled(self, previous: int | None, written: bytes, text: bytes) -> set[int]:
        """Teacher tokens, of which `written` is there already, that could change where the student cuts after
        `previous`: it could draw them together with bytes of it; or, to restore the cut, with bytes of `text`."""
        if previous is None:
            return set()
        before, found = self.student.pieces[previous] + text, set()
        restorable = self.usual_weight(previous, text) < 1
        for start in range(len(before) if restorable else len(before) - len(text)):
            for rest in sorted({piece[len(before) - start :] for _, piece in self._extensions(before[start:])}):
                first, last = _bounds(self.teacher_sorted, written + rest)
                if len(found) + last - first > MAX_SEGMENTED:
                    return found  # short ends of what stands before are drawn into others least
                found.update(w for _, w in self.teacher_sorted[first:last])
        return found

    def members(self, text: bytes, longer: Iterable[int], fallback: int | None) -> tuple[int, ...]:
        """Student tokens for "the teacher's text is `text` up to a boundary": the longer ones that begin with its
        tokens, and the one of exactly these bytes; where there is neither, `fallback`, the first token of the text.

        Were the fallback counted beside longer tokens, a token that many texts fall back to (a lone space) would take a
        share of each of them, and words would come apart.
        """
        members, exact = tuple(longer), self.student.id_of.get(text)
        if exact is None and not members:
            exact = fallback
        return members if exact is None else (*members, exact)

    def _extensions(self, text: bytes) -> list[tuple[int, bytes]]:
        """Student tokens strictly longer than `text` that begin with it."""
        return [(index, piece) for piece, index in _range(self.student_sorted, text) if len(piece) > len(text)]

    # --- at a teacher boundary ---------------------------------------------------------------------------------------

    def _static(self) -> Slots:
        """Every teacher id -> student tokens."""
        writer = SlotWriter()
        for w, piece in enumerate(self.teacher.pieces):
            if w in self.teacher_stop_ids:
                members = tuple(self.student_stop_ids)
            elif self.teacher.special[w]:
                members = self.student_control_ids
            else:
                members = self.members(piece, self.starting_with.get(w, ()), self.first(piece))
            writer.add(w, members or range(len(self.student)))
        return writer.done()

    def cut_off(self, previous: int | None, teacher_previous: int | None) -> CutOff:
        """Teacher tokens that are against the student's cut after `previous`, but not against the teacher's own."""
        key = (previous, teacher_previous) if previous is not None and teacher_previous is not None else None
        return self._cached("cut_off", key, lambda: self._cut_off(key))

    def _cut_off(self, key: tuple[int, int] | None) -> CutOff:
        found: dict[int, float] = {}
        writer = SlotWriter()
        if key is not None:
            previous, before = key[0], self.teacher.pieces[key[1]]
            for w in self.weights(previous, b"", b"").token_Y.tolist():
                text = self.teacher.pieces[w]
                if self.teacher_segment(before + text)[:1] == key[1:]:
                    runs_on = [u for u in self.starting_with.get(w, ()) if self.student.lengths[u] > len(text)]
                    members = [u for u in runs_on if not self.against_cut(previous, self.student.pieces[u])]
                    found[w] = 0.0 if members else AGAINST_CUT
                    if members:
                        writer.add(w, members)
        weights = Weights(1.0, np.array(list(found), dtype=np.int64), np.array(list(found.values())))
        return CutOff(weights, writer.done())

    # --- inside a teacher token --------------------------------------------------------------------------------------

    def covers(self, written: bytes) -> bool:
        """True where some teacher token is longer than `written` and begins with it."""
        first, last = _bounds(self.teacher_sorted, written)
        return first < last and self.teacher_sorted[last - 1][0] != written

    def head(self, written: bytes) -> Head:
        """A teacher row whose next bytes `written` are there already."""
        return self._cached("head", written, lambda: self._head(written))

    def _head(self, written: bytes) -> Head:
        size = len(written)
        beyond = [(piece[size:], w) for piece, w in _range(self.teacher_sorted, written) if len(piece) > size]
        groups: dict[int, list[int]] = {}
        for u in {u for text, _ in beyond for u, _ in self._extensions(text)}:
            ids = self.teacher_segment(written + self.student.pieces[u])
            if ids:
                groups.setdefault(ids[0], []).append(u)
        writer = SlotWriter()
        for text, w in beyond:
            members = self.members(text, groups.get(w, ()), self.first(text))
            if members:
                writer.add(w, members)
        slots = writer.done()
        named = np.unique(slots.member_F).tolist()
        cuts = [self.teacher_segment(written + self.student.pieces[u]) for u in named]
        settled = [u for u, ids in zip(named, cuts, strict=True) if ids and self.teacher.lengths[ids[0]] > size]
        ends = [(n, self.teacher.id_of.get(written[:n])) for n in range(1, size + 1)]
        shorter = [(n, token) for n, token in ends if token is not None]
        return Head(slots, shorter, np.array(settled, dtype=np.int64))

    # --- behind the real teacher token -------------------------------------------------------------------------------

    def root(self, written: bytes, real: int) -> Node:
        """What stands behind the real teacher token, of which `written` is there already."""
        return self._cached("root", (written, real), lambda: self._root(written, real))

    def _root(self, written: bytes, real: int) -> Node:
        text = self.teacher.pieces[real][len(written) :]
        if written:
            candidates = [(u, piece, self.teacher_segment(written + piece)) for u, piece in self._extensions(text)]
        else:
            candidates = [(u, self.student.pieces[u], self.segmentation[u]) for u in self.starting_with.get(real, ())]
        longer = [(u, p, ids) for u, p, ids in candidates if len(p) > len(text) and ids and ids[0] == real]
        return self._node(1, text, longer)

    def _node(self, depth: int, text: bytes, longer: list) -> Node:
        short = self.student.id_of.get(text, self.first(text))
        through: dict[int, list] = {}
        for entry in longer:
            if len(entry[2]) > depth:
                through.setdefault(entry[2][depth], []).append(entry)
        inside = self._inside(text, [(piece[len(text) :], u) for u, piece, _ in longer])
        writer = SlotWriter()
        writer.slot((short,))
        for w in through.keys() | inside.keys():
            group = [u for u, _, _ in through.get(w, ())]
            writer.add(w, self.members(text + self.teacher.pieces[w], group, inside.get(w, short)))
        return Node(depth, text, longer, through, short, writer.done())

    def _inside(self, text: bytes, rests: list[tuple[bytes, int]]) -> dict[int, int]:
        """Teacher tokens in which a student token (its bytes behind `text` are a rest) ends -> the student's first
        token of that text."""
        inside: dict[int, int] = {}
        for rest, u in sorted(rests, key=lambda entry: (len(entry[0]), entry[1])):
            for piece, w in _range(self.teacher_sorted, rest):
                if len(piece) > len(rest):
                    inside[w] = u  # the longest one, unless the student's own segmentation knows better
        if len(inside) <= MAX_SEGMENTED:
            return {w: self.first(text + self.teacher.pieces[w]) for w in inside}
        return inside

    def own_slots(self, node: Node, own: int) -> Slots:
        """Further tokens of a node's level: those that `own`, the student's own token for the real text, goes through
        or ends in."""
        if own not in node.own:
            node.own[own] = self._own_slots(node, own)
        return node.own[own]

    def _own_slots(self, node: Node, own: int) -> Slots:
        rest = self.student.pieces[own][len(node.text) :]
        writer = SlotWriter()
        for piece, w in _range(self.teacher_sorted, rest):
            if not node.slots.members(w):
                beyond = node.text + piece
                writer.add(w, self.members(beyond, (), self.first(beyond)))
        return writer.done()

    def follow(self, node: Node, real: int) -> Node:
        """The node behind the real text token of this level."""
        if real not in node.next:
            text = node.text + self.teacher.pieces[real]
            longer = [entry for entry in node.through.get(real, ()) if len(entry[1]) > len(text)]
            node.next[real] = self._node(node.depth + 1, text, longer)
        return node.next[real]


def _bounds(ordered: list[tuple[bytes, int]], prefix: bytes) -> tuple[int, int]:
    """First and last + 1 of the entries of a sorted list whose bytes begin with `prefix`."""
    above = _successor(prefix)
    last = len(ordered) if above is None else bisect.bisect_left(ordered, (above, -1))
    return bisect.bisect_left(ordered, (prefix, -1)), last


def _range(ordered: list[tuple[bytes, int]], prefix: bytes) -> list[tuple[bytes, int]]:
    first, last = _bounds(ordered, prefix)
    return ordered[first:last]


def _successor(prefix: bytes) -> bytes | None:
    """The smallest byte string greater than every string that begins with `prefix`; None where there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
