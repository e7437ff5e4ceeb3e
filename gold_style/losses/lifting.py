"""Which student tokens a stretch of teacher text can turn into: the tables behind the `tree` loss (maths in tree.py).

`Lifting` holds one static table, for places at which the teacher has a token boundary, and caches for all that depends
on the text: a student token may run over several teacher tokens, end inside of one, or begin inside of one.

A text is *against the student's cut* if the student, writing its previous token and then this text, would have cut
elsewhere. *Slots* are explained in slots.py.
"""

import bisect
from collections.abc import Iterable

import numpy as np
from transformers import PreTrainedTokenizerBase

from gold_style.losses.segmentation import Segmenter
from gold_style.losses.slots import CutOff, Head, Node, Slots, SlotWriter
from gold_style.losses.token_bytes import TokenBytes

AGAINST_CUT = 0.01  # weight of teacher tokens against the student's cut: students err in their segmentation that often
MAX_SEGMENTED = 4096  # texts segmented for one entry; beyond, the longest match decides
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
        if previous is None:
            return False
        key = previous, text
        return self._cached("cut", key, lambda: self.first(self.student.pieces[previous] + text) != previous)

    def members(self, text: bytes, longer: Iterable[int], fallback: int | None) -> tuple[int, ...]:
        """Student tokens for "the teacher's text is `text` up to a boundary": the longer ones that begin with its
        tokens, and the one of exactly these bytes; where there is none, `fallback`, the first token of the text."""
        exact = self.student.id_of.get(text, fallback)
        return tuple(longer) if exact is None else (*longer, exact)

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
        weights: dict[int, float] = {}
        writer = SlotWriter()
        if key is not None:
            previous, before = key[0], self.teacher.pieces[key[1]]
            for w in sorted(self.straddled(previous, b"")):
                text = self.teacher.pieces[w]
                if self.against_cut(previous, text) and self.teacher_segment(before + text)[:1] == key[1:]:
                    runs_on = [u for u in self.starting_with.get(w, ()) if self.student.lengths[u] > len(text)]
                    members = [u for u in runs_on if not self.against_cut(previous, self.student.pieces[u])]
                    weights[w] = 0.0 if members else AGAINST_CUT
                    if members:
                        writer.add(w, members)
        return CutOff(np.array(list(weights), dtype=np.int64), np.array(list(weights.values())), writer.done())

    # --- inside a teacher token --------------------------------------------------------------------------------------

    def covers(self, written: bytes) -> bool:
        """True where some teacher token is longer than `written` and begins with it."""
        beginning = _range(self.teacher_sorted, written)
        return bool(beginning) and beginning[-1][0] != written

    def head(self, written: bytes, previous: int | None, weight_against: float) -> Head:
        """The teacher row whose next bytes `written` are there already; the student's last token is `previous`."""
        key = written, previous, weight_against
        return self._cached("head", key, lambda: self._head(*key))

    def _head(self, written: bytes, previous: int | None, weight_against: float) -> Head:
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
            weight = weight_against if self.against_cut(previous, text) else 1.0
            if members and weight > 0:
                writer.add(w, members, weight)
        slots = writer.done()
        named = np.unique(slots.member_F).tolist()
        cuts = [self.teacher_segment(written + self.student.pieces[u]) for u in named]
        settled = [u for u, ids in zip(named, cuts, strict=True) if ids and self.teacher.lengths[ids[0]] > size]
        ends = [(n, self.teacher.id_of.get(written[:n])) for n in range(1, size + 1)]
        shorter = [(n, token) for n, token in ends if token is not None]
        return Head(slots, shorter, np.array(settled, dtype=np.int64))

    # --- behind the real teacher token -------------------------------------------------------------------------------

    def root(self, written: bytes, real: int, previous: int | None, own: int | None) -> Node | None:
        """What stands behind the real teacher token, of which `written` is there already; None if no student token runs
        beyond it. `own` is the token of the student's own tokenisation of the real text."""
        if own is not None and self.student.lengths[own] <= self.teacher.lengths[real] - len(written):
            own = None
        key = written, real, previous, own
        return self._cached("root", key, lambda: self._root(*key))

    def _root(self, written: bytes, real: int, previous: int | None, own: int | None) -> Node | None:
        text = self.teacher.pieces[real][len(written) :]
        if written:
            candidates = [(u, piece, self.teacher_segment(written + piece)) for u, piece in self._extensions(text)]
        else:
            candidates = [(u, self.student.pieces[u], self.segmentation[u]) for u in self.starting_with.get(real, ())]
        longer = [(u, p, ids) for u, p, ids in candidates if len(p) > len(text) and ids and ids[0] == real]
        return self._node(1, previous, text, longer, own)

    def _node(self, depth: int, previous: int | None, text: bytes, longer: list, own: int | None) -> Node | None:
        short = self.student.id_of.get(text, self.first(text))
        if not (longer or own is not None) or short is None:
            return None
        groups: dict[int, list[int]] = {}  # teacher token of this level -> the student tokens that go through it
        rests = {u: piece[len(text) :] for u, piece, _ in longer}
        for u, _, ids in longer:
            if len(ids) > depth:
                groups.setdefault(ids[depth], []).append(u)
        if own is not None:
            rests[own] = self.student.pieces[own][len(text) :]
            if rests[own] in self.teacher.id_of:
                groups.setdefault(self.teacher.id_of[rests[own]], []).append(own)
        inside = self._inside(text, rests)
        against = self.straddled(previous, text)
        rest_weight = AGAINST_CUT if self.against_cut(previous, text) else 1.0
        writer = SlotWriter()
        writer.slot((short,))
        for w in sorted(groups.keys() | inside.keys() | against):
            beyond = text + self.teacher.pieces[w]
            known = w in groups or w in inside
            members = self.members(beyond, groups.get(w, ()), inside.get(w, short)) if known else (short,)
            writer.add(w, members, AGAINST_CUT if self.against_cut(previous, beyond) else 1.0)
        return Node(depth, previous, text, longer, own, short, rest_weight, writer.done())

    def _inside(self, text: bytes, rests: dict[int, bytes]) -> dict[int, int]:
        """Teacher tokens in which a student token (its bytes behind `text` are `rests`) ends -> the student's first
        token of that text."""
        inside: dict[int, int] = {}
        for u, rest in sorted(rests.items(), key=lambda entry: (len(entry[1]), entry[0])):
            for piece, w in _range(self.teacher_sorted, rest):
                if len(piece) > len(rest):
                    inside[w] = u  # the longest one, unless the student's own segmentation knows better
        if len(inside) <= MAX_SEGMENTED:
            return {w: self.first(text + self.teacher.pieces[w]) for w in inside}
        return inside

    def straddled(self, previous: int | None, text: bytes) -> set[int]:
        """Teacher tokens behind `text` that the student could have drawn together with bytes of its previous token."""
        if previous is None:
            return set()
        before, found = self.student.pieces[previous] + text, set()
        for start in range(int(self.student.lengths[previous])):
            rests = {piece[len(before) - start :] for _, piece in self._extensions(before[start:])}
            straddled = {w for rest in rests for _, w in _range(self.teacher_sorted, rest)}
            if len(found) + len(straddled) > MAX_SEGMENTED:
                break  # short ends of the previous token are drawn into others least
            found |= straddled
        return found

    def follow(self, node: Node, real: int) -> Node | None:
        """The node behind the real token of this level; None where its mass is settled on this level."""
        if self.teacher.special[real]:
            return None
        if real not in node.next:
            text = node.text + self.teacher.pieces[real]
            through = [entry for entry in node.longer if entry[2][node.depth : node.depth + 1] == (real,)]
            longer = [entry for entry in through if len(entry[1]) > len(text)]
            own = None if node.own is None or self.student.lengths[node.own] <= len(text) else node.own
            node.next[real] = self._node(node.depth + 1, node.previous, text, longer, own)
        return node.next[real]


def _range(ordered: list[tuple[bytes, int]], prefix: bytes) -> list[tuple[bytes, int]]:
    """The entries of a sorted list whose bytes begin with `prefix`."""
    first = bisect.bisect_left(ordered, (prefix, -1))
    above = _successor(prefix)
    last = len(ordered) if above is None else bisect.bisect_left(ordered, (above, -1))
    return ordered[first:last]


def _successor(prefix: bytes) -> bytes | None:
    """The smallest byte string greater than every string that begins with `prefix`; None where there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
