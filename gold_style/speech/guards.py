"""The guards by name, as `endings.tsv` refers to them: those that are only lists (`guards.yaml`), and the functions of
`statements`, `questions` and `orders`.

>>> GUARDS["plain_not_noun"](Candidate("그렇다", "그렇", "-다")), GUARDS["plain_not_noun"](Candidate("바다", "바", "-다"))
(True, False)
"""

from __future__ import annotations

from dataclasses import dataclass

from gold_style.speech import orders, questions, statements
from gold_style.speech.candidate import Candidate, Guard
from gold_style.speech.stems import final_consonant, is_closed_stem, is_liquid_stem, is_predicate, is_reported, is_stem
from gold_style.speech.tables import Words, read_table

KINDS: dict[str, Guard] = {  # of stems that are not empty
    "any": lambda candidate: True,
    "open": lambda candidate: not final_consonant(candidate.stem),
    "closed": lambda candidate: is_closed_stem(candidate.stem),
    "known": lambda candidate: is_stem(candidate.stem),
    "liquid": lambda candidate: is_liquid_stem(candidate.stem),
    "predicate": lambda candidate: is_predicate(candidate.stem),
    "reported": lambda candidate: is_reported(candidate.stem),
    "object": lambda candidate: candidate.has_object,
    "verb": lambda candidate: candidate.is_verb,
}


@dataclass(frozen=True)
class ListGuard:
    """A guard that is only lists: the ending counts by its stem or by the whole word, except in the words under `lookalikes`."""

    kinds: tuple[Guard, ...]
    stems: Words
    words: Words
    lookalikes: Words

    @classmethod
    def from_table(cls, lists: dict[str, str]) -> ListGuard:
        """The guard of one entry of `guards.yaml`. Raises KeyError for a kind of stem that `KINDS` lacks."""
        stems = lists.get("stem", "").split()
        kinds = tuple(KINDS[stem] for stem in stems if "-" not in stem)
        endings = " ".join(stem for stem in stems if "-" in stem)
        return cls(kinds, Words(endings), Words(lists.get("word", "")), Words(lists.get("not", "")))

    def __call__(self, candidate: Candidate) -> bool:
        if not candidate.stem or candidate.word in self.lookalikes:
            return False
        listed = candidate.stem in self.stems or candidate.word in self.words
        return listed or any(kind(candidate) for kind in self.kinds)


GUARDS: dict[str, Guard] = {name: ListGuard.from_table(lists) for name, lists in read_table("guards").items()} | {
    name: guard
    for module in (statements, questions, orders)
    for name, guard in vars(module).items()
    if getattr(guard, "__module__", "") == module.__name__ and not name.startswith("_")
}
