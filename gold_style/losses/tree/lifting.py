"""Which student tokens a piece of teacher text can become: the tables of the `tree` loss (maths in loss.py).

`Lifting` holds one static table, for positions where a teacher token begins, and a cache for all that depends on the
text: a student token may run over several teacher tokens, end inside of one, or begin inside of one.

A text is *against the student's cut* if the student, writing its previous token and then this text, would have cut
elsewhere. *Slots* are explained in slots.py.
"""

import bisect
import functools
from collections.abc import Callable, Iterable
from typing import TypeVar, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from gold_style.losses.tree.slots import CutOff, Head, Node, Slots, SlotWriter, StudentToken, Weights
from gold_style.tokens.segmentation import Segmenter
from gold_style.tokens.token_bytes import TokenBytes

AGAINST_CUT = 0.1  # weight of teacher tokens against the student's cut; a learning student errs in its segmentation that often
MAX_SEGMENTED = 512  # texts segmented for one entry, 5 us each; beyond, the longest match decides
MAX_CACHED = 200_000  # results of all cached methods together; the cache starts anew beyond
Method = TypeVar("Method", bound=Callable)


def cached(method: Method) -> Method:
    """Keeps the results of a method in `self.cache`."""

    @functools.wraps(method)
    def cached_method(self, *arguments):
        key = method.__name__, *arguments
        if key not in self.cache:
            if len(self.cache) > MAX_CACHED:
                self.cache.clear()
            self.cache[key] = method(self, *arguments)
        return self.cache[key]

    return cast(Method, cached_method)


class Lifting:
    """Tables for two tokenizers; every stop id of one side is a stop to the other.

    Building takes about 5 s for 150,000 tokens on each side.
    """

    def __init__(
        self,
        student: PreTrainedTokenizerBase,
        teacher: PreTrainedTokenizerBase,
        student_stop_ids: Iterable[int],
        teacher_stop_ids: Iterable[int],
    ):
        self.student_stop_ids, self.teacher_stop_ids = frozenset(student_stop_ids), frozenset(teacher_stop_ids)
        self.student = TokenBytes.from_tokenizer(student, self.student_stop_ids)
        self.teacher = TokenBytes.from_tokenizer(teacher, self.teacher_stop_ids)
        self.student_segment, self.teacher_segment = Segmenter(student, self.student), Segmenter(teacher, self.teacher)
        control = np.flatnonzero(self.student.special).tolist()
        self.student_control_ids = tuple(index for index in control if index not in self.student_stop_ids)
        self.student_sorted = sorted((piece, index) for index, piece in enumerate(self.student.pieces) if piece)
        self.teacher_sorted = sorted((piece, index) for index, piece in enumerate(self.teacher.pieces) if piece)
        self.segmentation = {u: self.teacher_segment(piece) for piece, u in self.student_sorted}
        self.starting_with: dict[int, list[int]] = {}
        for u, ids in self.segmentation.items():
            if ids:
                self.starting_with.setdefault(ids[0], []).append(u)
        self.longest_teacher = int(self.teacher.lengths.max(initial=0))
        self.static = self._static()
        self.cache: dict[tuple, object] = {}

    # --- segmentation ------------------------------------------------------------------------------------------------

    def first(self, text: bytes) -> int | None:
        """The student's first token for a text; None where its vocabulary cannot write it."""
        ids = self.student_segment(text)
        return ids[0] if ids else None

    def against_cut(self, previous: int | None, text: bytes) -> bool:
        """True where the student, if `text` follows, would not have ended `previous` here."""
        return previous is not None and self.first(self.student.pieces[previous] + text) != previous

    @cached
    def usual_weight(self, previous: int | None, text: bytes) -> float:
        """Weight of what follows `text`, if it does not change where the student cuts."""
        return AGAINST_CUT if self.against_cut(previous, text) else 1.0

    @cached
    def weights(self, previous: int | None, written: bytes, text: bytes) -> Weights:
        """Weights of the teacher tokens that follow `text`; their first bytes `written` are there already."""
        usual, exceptions = self.usual_weight(previous, text), {}
        for w in sorted(self.straddled(previous, written, text)):
            beyond = text + self.teacher.pieces[w][len(written) :]
            weight = AGAINST_CUT if self.against_cut(previous, beyond) else 1.0
            if weight != usual:
                exceptions[w] = weight
        return Weights(usual, exceptions)

    def straddled(self, previous: int | None, written: bytes, text: bytes) -> set[int]:
        """Teacher tokens, of which `written` is there already, that could change where the student cuts after
        `previous`: it could draw them together with bytes of it; or, to restore the cut, with bytes of `text`."""
        found: set[int] = set()
        if previous is None:
            return found
        before = self.student.pieces[previous] + text
        restorable = self.usual_weight(previous, text) < 1
        for start in range(len(before) if restorable else len(before) - len(text)):
            for rest in sorted({piece[len(before) - start :] for _, piece in self._extensions(before[start:])}):
                beginning = _beginning_with(self.teacher_sorted, written + rest)
                if len(found) + len(beginning) > MAX_SEGMENTED:
                    return found  # short ends of the text before are drawn into others least
                found.update(w for _, w in beginning)
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
        return [(index, piece) for piece, index in _beginning_with(self.student_sorted, text) if len(piece) > len(text)]

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

    @cached
    def cut_off(self, previous: int | None, teacher_previous: int | None) -> CutOff:
        """Teacher tokens that are against the student's cut after `previous`, but not against the teacher's own."""
        exceptions: dict[int, float] = {}
        writer = SlotWriter()
        if previous is not None and teacher_previous is not None:
            for w in self.weights(previous, b"", b"").token_Y.tolist():
                text = self.teacher.pieces[w]
                if self.teacher_segment(self.teacher.pieces[teacher_previous] + text)[:1] == (teacher_previous,):
                    longer = [u for u in self.starting_with.get(w, ()) if self.student.lengths[u] > len(text)]
                    members = [u for u in longer if not self.against_cut(previous, self.student.pieces[u])]
                    exceptions[w] = 0.0 if members else AGAINST_CUT
                    if members:
                        writer.add(w, members)
        return CutOff(Weights(1.0, exceptions), writer.done())

    # --- inside a teacher token --------------------------------------------------------------------------------------

    @cached
    def head(self, written: bytes) -> Head:
        """A teacher row whose next bytes `written` are there already."""
        size = len(written)
        beyond = [(piece[size:], w) for piece, w in _beginning_with(self.teacher_sorted, written) if len(piece) > size]
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
        excluded = [u for u, ids in zip(named, cuts, strict=True) if ids and self.teacher.lengths[ids[0]] > size]
        ends = [(n, self.teacher.id_of.get(written[:n])) for n in range(1, size + 1)]
        shorter = [(n, token) for n, token in ends if token is not None]
        return Head(slots, shorter, np.array(excluded, dtype=np.int64))

    # --- after the real teacher token --------------------------------------------------------------------------------

    @cached
    def root(self, written: bytes, real: int) -> Node:
        """What follows the real teacher token, of which `written` is there already."""
        text = self.teacher.pieces[real][len(written) :]
        if written:
            candidates = [(u, piece, self.teacher_segment(written + piece)) for u, piece in self._extensions(text)]
        else:
            candidates = [(u, self.student.pieces[u], self.segmentation[u]) for u in self.starting_with.get(real, ())]
        return self._node(1, text, [(u, p, ids) for u, p, ids in candidates if len(p) > len(text) and ids and ids[0] == real])

    @cached
    def follow(self, node: Node, real: int) -> Node:
        """What follows the real text token of a node's level."""
        text = node.text + self.teacher.pieces[real]
        return self._node(node.depth + 1, text, [entry for entry in node.through.get(real, ()) if len(entry[1]) > len(text)])

    def _node(self, depth: int, text: bytes, longer: list[StudentToken]) -> Node:
        short = self.student.id_of.get(text, self.first(text))
        assert short is not None  # the student wrote this text
        through: dict[int, list[StudentToken]] = {}
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

    def _inside(self, text: bytes, rests: list[tuple[bytes, int]]) -> dict[int, int | None]:
        """Teacher tokens in which a student token (a rest is its bytes after `text`) ends -> the student's first token
        of that text."""
        inside: dict[int, int | None] = {}
        for rest, u in sorted(rests, key=lambda entry: (len(entry[0]), entry[1])):
            for piece, w in _beginning_with(self.teacher_sorted, rest):
                if len(piece) > len(rest):
                    inside[w] = u  # the longest one, unless the student's own segmentation knows better
        if len(inside) <= MAX_SEGMENTED:
            return {w: self.first(text + self.teacher.pieces[w]) for w in inside}
        return inside

    @cached
    def canonical_slots(self, node: Node, canonical: int) -> Slots:
        """Further tokens of a node's level: those that `canonical`, the student's own token for the real text, goes
        through or ends in."""
        writer = SlotWriter()
        for piece, w in _beginning_with(self.teacher_sorted, self.student.pieces[canonical][len(node.text) :]):
            if not node.slots.members(w):
                beyond = node.text + piece
                writer.add(w, self.members(beyond, (), self.first(beyond)))
        return writer.done()


def _beginning_with(ordered: list[tuple[bytes, int]], prefix: bytes) -> list[tuple[bytes, int]]:
    """The entries of a sorted list whose bytes begin with `prefix`."""
    first = bisect.bisect_left(ordered, (prefix, -1))
    return ordered[first : bisect.bisect_right(ordered, prefix, first, key=lambda entry: entry[0][: len(prefix)])]
