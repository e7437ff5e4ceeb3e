"""Korean sentence endings (`endings.tsv`): which speech level each marks, and whether that level is archaic or alive today.

An ending is written as grammars write it: a leading consonant letter is the final consonant (batchim) of the syllable
before it, so "ㅂ니다" finds 갑니다 and "ㄹ쏘냐" finds 질쏘냐. Matching works on NFD text, where every ending is a
plain suffix, and tries the longest first. Where an ending has a homograph, the row names a guard of `guards.py` that
looks at the stem in front of it: 망극하-옵니다 against 나오-ㅂ니다, 높-소 against 장소, 하-리라 against 소리-라.

    >>> [(ending.form, stem) for ending, stem in matches("망극하옵니다")][0]
    ('-옵니다', '망극하')
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from gold_style.speech.tables import FOLDER

JOSEON_LEVELS = ("하소서체", "하오체", "하게체", "옛 해라체")
MODERN_LEVELS = ("하십시오체", "해요체", "해체", "해라체", "명사형")
LEVELS = JOSEON_LEVELS + MODERN_LEVELS

# How an ending leans before its sentence is looked at: the outer two decide by themselves, the inner three ask for cues.
LEANS = JOSEON, MOSTLY_JOSEON, EITHER, MOSTLY_MODERN, MODERN = "joseon", "mostly_joseon", "either", "mostly_modern", "modern"
_FINAL_CONSONANTS = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"


class Ending(NamedTuple):
    """One ending: `form` as grammars write it, the level it marks if read as archaic (`old`) or as modern (`new`)."""

    form: str
    old: str
    new: str
    lean: str
    guard: str


def _key(form: str) -> str:
    """The NFD suffix of an ending; a leading consonant letter becomes a final consonant."""
    first = _FINAL_CONSONANTS.find(form[0])
    return unicodedata.normalize("NFD", form if first < 0 else chr(0x11A8 + first) + form[1:])


def read_endings() -> Iterator[tuple[str, Ending]]:
    """(NFD suffix, ending) of every form in `endings.tsv`, in its order."""
    rows = [line for line in (FOLDER / "endings.tsv").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for row in rows[1:]:  # after the names of the columns
        old, new, lean, guard, forms = (cell if cell != "-" else "" for cell in row.split("\t"))
        for form in forms.split():
            yield _key(form), Ending("-" + form, old, new, lean, guard)


ENDINGS = dict(read_endings())
_LONGEST = max(map(len, ENDINGS))


def ending_of(form: str) -> Ending | None:
    """The ending that is written `form` ("옵니다"), without its guard being asked."""
    return ENDINGS.get(unicodedata.normalize("NFD", form))


def matches(word: str) -> Iterator[tuple[Ending, str]]:
    """Every ending that an eojeol may carry, longest first, with the stem in front of it (NFC, may be empty)."""
    letters = unicodedata.normalize("NFD", word)
    for size in range(min(_LONGEST, len(letters)), 0, -1):
        ending = ENDINGS.get(letters[-size:])
        if ending is not None:
            yield ending, unicodedata.normalize("NFC", letters[:-size])
