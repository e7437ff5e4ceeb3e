"""What a guard sees: one way to cut a word into stem and ending, and the words before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gold_style.speech.stems import final_consonant
from gold_style.speech.tables import read_words

NOUNS = read_words("nouns")


class Candidate(NamedTuple):
    """An eojeol (`word`) cut into `stem` and ending, its `form` as in the table ("-소서"), and the eojeols `before` it."""

    word: str
    stem: str
    form: str
    before: tuple[str, ...] = ()

    @property
    def previous(self) -> str:
        """The eojeol right before, or an empty string."""
        return self.before[-1] if self.before else ""

    @property
    def has_object(self) -> bool:
        """Whether an object (-을, -를) comes right before: then this eojeol is a predicate, listed or not."""
        return self.previous.endswith(("을", "를")) and self.previous not in NOUNS.eul and len(self.previous) > 1

    @property
    def is_verb(self) -> bool:
        """Whether an object comes right before an open stem of two or more syllables: a verb, listed or not."""
        return len(self.stem) > 1 and not final_consonant(self.stem) and self.has_object


# What a guard says of a candidate. True: the ending, with the lean of its row; a lean (endings.py): the ending, leaning so
# here; False: not this ending, try a shorter one.
Guard = Callable[[Candidate], "bool | str"]
