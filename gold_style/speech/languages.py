"""What is known about each language that a style pack may be in (`languages.yaml`), for everything that is not about style:
whether a text is in the language at all, and which forms of a word count as the word.

    >>> is_prose("The sea is wide.", "en"), is_prose("바다는 넓습니다.", "en"), is_prose("asdkj qwoei zmxnc", "en")
    (True, False, False)
    >>> bool(mention("art", "en").search("my heart")), bool(mention("spider", "en").search("Two Spiders!"))
    (False, True)

`data/retention/` has held-out texts by which it is measured what a student has kept: LANGUAGE.txt and LANGUAGE.jsonl.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import Any

from gold_style import PROJECT, did_you_mean
from gold_style.speech.tables import read_table
from gold_style.speech.text import is_korean, normalise

KOREAN = "ko"
TABLE: dict[str, dict[str, Any]] = read_table("languages")
LANGUAGES = tuple(TABLE)
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
FEW_WORDS = 12  # below that a text may do without any common word: "Flour, sugar, eggs, butter, milk."
LIKELY_PAIRS = 0.75  # of all letter pairs of a text
HELD_OUT = PROJECT / "data" / "retention"


def held_out(language: str) -> tuple[str, list[dict[str, Any]]]:
    """Plain prose of a language, and the items of a choice test: `text`, `options` (its possible ends), `answer` (the right one's number).

    Raises ValueError where there are none.
    """
    if lacks := held_out_lacks(language):
        raise ValueError(f"evaluation.retention=true: {lacks}")
    text, lines = ((HELD_OUT / f"{language}.{kind}").read_text(encoding="utf-8") for kind in ("txt", "jsonl"))
    return text, [json.loads(line) for line in lines.splitlines()]


def held_out_lacks(language: str) -> str | None:
    """Why what a student has kept cannot be measured in a language; None where it can."""
    known = sorted(path.stem for path in HELD_OUT.glob("*.jsonl") if path.with_suffix(".txt").is_file())
    if language in known:
        return None
    reason = f"there are held-out texts in {' and '.join(known)}, none in styles.language={language}{did_you_mean(language, known)}"
    return f"{reason}; write {HELD_OUT}/{language}.txt and .jsonl, or set evaluation.retention=null"


@lru_cache
def words_of(language: str, name: str) -> frozenset[str]:
    """One list of `languages.yaml`; empty where a language has none."""
    return frozenset(TABLE[language].get(name, "").split())


@lru_cache
def _pairs(language: str) -> frozenset[str]:
    return frozenset(group[0] + second for group in words_of(language, "pairs") for second in group[2:])


def is_prose(text: str, language: str) -> bool:
    """Whether a text is written in a language: its script, and as far as there are lists its letter pairs and common words."""
    if language == KOREAN:
        return is_korean(normalise(text))
    letters = [letter for letter in normalise(text) if letter.isalpha()]
    in_script = [unicodedata.name(letter, "").startswith(tuple(TABLE[language]["script"])) for letter in letters]
    if not letters or 2 * sum(in_script) < len(letters):
        return False
    words = [word.casefold().replace("’", "'") for word in WORD.findall(normalise(text))]
    if known := _pairs(language):
        pairs = [pair for word in words for pair in map("".join, pairwise(word)) if pair.isascii() and pair.isalpha()]
        if sum(pair in known for pair in pairs) < LIKELY_PAIRS * len(pairs):
            return False
    common, shared, foreign = (sum(word in words_of(language, name) for word in words) for name in ("common", "shared", "foreign"))
    is_likely = len(words) < FEW_WORDS or 20 * common >= len(words) or 3 * shared >= len(words) or not words_of(language, "common")
    return foreign <= common and is_likely


@lru_cache(maxsize=8192)
def forms(word: str, language: str) -> frozenset[str]:
    """A word of a topic in every form that counts as it: singular and plural; of a word in -ing the verb. Lower case."""
    word, found = word.casefold(), set()
    for name in ("plural", "verbal"):
        for pair in TABLE[language].get(name, "").split():
            ends = pair.split(">")
            for old, new in (ends, ends[::-1]) if name == "plural" else (ends,):
                if word.endswith(old):
                    stem = word[: len(word) - len(old)]
                    twice = name == "verbal" and stem[-1:] == stem[-2:-1]  # running: run
                    found |= {stem + new, stem[:-1] + new if twice else stem + new}
    found -= words_of(language, "common") | words_of(language, "shared")
    return frozenset({word, *(form for form in found if len(form) > 2)})


@lru_cache(maxsize=8192)
def mention(topic: str, language: str, between: int = 0) -> re.Pattern[str]:
    """Finds a topic as words of its own, in any of their forms and in either case, up to `between` other words between its words."""
    words = re.findall(r"[^\W_]+", topic)
    words = [word for word in words if word.casefold() not in words_of(language, "asking")] or words  # the internet: internet
    if "no_spaces" in words_of(language, "traits"):
        return re.compile(r"\s*".join(map(re.escape, words)) or r"(?!)", re.IGNORECASE)
    alternatives = ["(?:" + "|".join(map(re.escape, sorted(forms(word, language), key=len, reverse=True))) + ")" for word in words]
    gap = rf"[\W_]+(?:[^\W_]+[\W_]+){{0,{between}}}?"
    return re.compile(rf"(?<![^\W_])(?:{gap.join(alternatives) or '(?!)'})(?![^\W_])", re.IGNORECASE)
