"""Predicate stems, and the tests that tell a stem from the tail of a noun.

The lists in `stems.yaml` are closed on purpose: short endings such as -오, -세, -도다 accept only a stem found there, so a
noun that nobody listed ("라디오", "물가상승세", "제주도다") keeps its modern reading.

    >>> is_stem("돌아가"), is_stem("기다리"), is_stem("라디")
    (True, True, False)
"""

from __future__ import annotations

from gold_style.speech.tables import read_words

LISTS = read_words("stems")
NIEUN, RIEUL, MIEUM, SSANG_SIOT, IEUNG = 4, 8, 16, 20, 21  # final consonants, as `final_consonant` counts them
_CONVERB_VOWELS = frozenset((0, 1, 4, 6, 9, 10, 14))  # ㅏ ㅐ ㅓ ㅕ ㅘ ㅙ ㅝ: open -아/-어 forms end in one of these


def letters(text: str) -> tuple[int, int, int] | None:
    """Indices of the initial, vowel and final consonant (0: none) of a text's last syllable; None if that is not Hangul."""
    code = ord(text[-1]) - 0xAC00 if text else -1
    return (code // 588, code // 28 % 21, code % 28) if 0 <= code < 11172 else None


def final_consonant(text: str) -> int:
    """Index of the final consonant of a text's last syllable (0: none); 0 if that is not Hangul."""
    last = letters(text)
    return last[2] if last else 0


def is_converb(text: str) -> bool:
    """Whether a word could be an -아/-어 form that a second verb follows: 돌아, 적어, 가져, 해."""
    if text.endswith(("고", "러", "다")):
        return True
    last = letters(text)
    return last is not None and last[1] in _CONVERB_VOWELS and not last[2]


def is_stem(text: str, honorific: bool = True) -> bool:
    """Whether an open-syllable string ends in a predicate stem we know; with `honorific`, anything + -시- counts."""
    if not text:
        return False
    if text in LISTS.short or text in LISTS.long or text in LISTS.productive:
        return True
    if honorific and len(text) > 1 and text[-1] == "시":
        return text[:-1] in LISTS.short or is_stem(text[:-1], honorific=False) or text[-2] in "으하"
    if any(text[-size:] in LISTS.long for size in (4, 3, 2) if size < len(text)):
        return True
    return any(text[-size:] in LISTS.after_converb and is_converb(text[:-size]) for size in (1, 2))


def is_liquid_stem(text: str) -> bool:
    """Whether a string ends in a predicate stem whose last consonant is ㄹ."""
    return text in LISTS.liquid


def is_closed_stem(text: str) -> bool:
    """Whether a string ends in a consonant-final stem or a tense marker, as before -소, -소이다, -도다."""
    return final_consonant(text) == SSANG_SIOT or text[-1:] in LISTS.closed


def is_predicate(text: str) -> bool:
    """Whether a string can be a predicate before -나이다, -더이다, -다네: an open stem we know, or a closed one."""
    last = final_consonant(text)
    if not last:
        return is_stem(text)
    sonorant = last in (NIEUN, RIEUL, MIEUM, IEUNG)  # these end many more names and nouns than stems
    return not sonorant or text[-1] in LISTS.closed_sonorant or is_liquid_stem(text)


def is_reported(text: str) -> bool:
    """Whether a string is a reported clause or noun + 이- before -더이다, -더냐: 온다, 것이라, 중천이; not 라이(더)."""
    return len(text) > 1 and (text[-1] in "다라" or text[-1] == "이" and final_consonant(text[:-1]) > 0)
