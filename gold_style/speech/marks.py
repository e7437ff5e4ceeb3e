"""Words and endings that mark a style wherever they are in a sentence, in any language.

What stands in quotation marks marks nothing, unless there is nothing else; neither does what is written like a name: with a capital
inside a sentence ("my friend Thy Nguyen"), or with one before another capital ("Thine Electronics").

    >>> marks = Marks.read({"words": ["thou", "'tis"], "endings": ["eth"], "except": ["teeth"]}, "en")
    >>> [marks.in_sentence(text) for text in ("’Tis cold.", "She singeth.", "My teeth hurt.", "A friend of Thou Li's.")]
    [True, True, False, False]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gold_style import did_you_mean
from gold_style.speech.languages import TABLE, WORD
from gold_style.speech.text import QUOTED_RE, normalise, split_sentences

LISTS = ("words", "endings", "except", "unless")
NAME = "·"  # what a name becomes, so that nothing is found in it
STARTS_AFTER = tuple(":;!?…—–")  # a capital after one of these says no more than one at the start


def plain_words(text: str) -> str:
    """The words of a text in lower case, a space between, without the apostrophes at their edges."""
    return " ".join(word.casefold() for word in WORD.findall(text.replace("’", "'").replace("‘", "'")))


def unquoted(text: str, elided: re.Pattern[str]) -> list[str]:
    """The sentences of a text without what they quote; with it where nothing else is left. `elided` ('tis) opens no quotation."""
    text = elided.sub(r"\1", re.sub(r"(?<=\w)’(?=\w)", "'", normalise(text)))
    told = split_sentences(text)
    return [bare for sentence in told if WORD.search(bare := QUOTED_RE.sub(" ", sentence))] or told


@dataclass(frozen=True)
class Marks:
    """What marks one verdict: `found` in a line of words at least `minimum` times, outside of `excepted` and without any of `unless`."""

    found: re.Pattern[str]
    excepted: re.Pattern[str]
    unless: re.Pattern[str]
    elided: frozenset[str]
    minimum: int
    language: str

    @classmethod
    def read(cls, entry: Mapping[str, Any], language: str, key: str = "classifier.markers") -> Marks:
        """{words, endings, except, unless, minimum} of a style pack. Raises ValueError for the first mistake, naming its key."""
        for name, value in entry.items():
            if name not in (*LISTS, "minimum"):
                raise ValueError(
                    f"{key}.{name}: unknown; allowed: {', '.join((*LISTS, 'minimum'))}{did_you_mean(name, (*LISTS, 'minimum'))}"
                )
            if name != "minimum" and (isinstance(value, str) or not isinstance(value, Sequence)):
                raise ValueError(f"{key}.{name}: {value!r} is not a list of strings")
            for word in value if name != "minimum" else ():
                if not isinstance(word, str) or not plain_words(word):
                    raise ValueError(
                        f"{key}.{name}: {word!r} has no letter or digit; a marker is a word, in quotes where YAML reads it otherwise"
                    )
        words, endings, excepted, unless = ([plain_words(word) for word in entry.get(name) or ()] for name in LISTS)
        minimum = entry.get("minimum", 1)
        if not words and not endings:
            raise ValueError(f"{key}: neither words nor endings; give at least one of them")
        if isinstance(minimum, bool) or not isinstance(minimum, int) or minimum < 1:
            raise ValueError(f"{key}.minimum: {minimum!r} is not a whole number of at least 1")
        within = bool(TABLE[language].get("no_spaces"))
        elided = frozenset(plain_words(word) for word in entry.get("words") or () if word[0] in "'’‘")
        return cls(_any(words, within, endings), _any(excepted, within), _any(unless, within), elided, minimum, language)

    def in_sentence(self, sentence: str) -> bool:
        """Whether a sentence (of `unquoted`) is marked."""
        words = list(WORD.finditer(sentence))
        following = [*words[1:], None]
        is_loud = sentence.isupper() or TABLE[self.language].get("nouns_big")
        pairs = zip(words, following, strict=True)
        line = " ".join(NAME if not is_loud and _is_name(sentence, *pair) else plain_words(pair[0].group()) for pair in pairs)
        line = self.excepted.sub(NAME, f" {line} ")
        return not self.unless.search(line) and len(self.found.findall(line)) >= self.minimum


def _any(words: Sequence[str], within: bool, endings: Sequence[str] = ()) -> re.Pattern[str]:
    """Finds any of the words (`within` a word, too) and any word with one of the endings in a line of words with a space at each edge."""
    longest = [re.escape(word) for word in sorted(words, key=len, reverse=True)]
    ended = [rf"[^\s{NAME}]+{re.escape(ending)}" for ending in endings]
    if within:
        return re.compile("|".join([*longest, *(rf"{word}(?= )" for word in ended)]) or "(?!)")
    return re.compile(rf"(?<= )(?:{'|'.join([*longest, *ended]) or '(?!)'})(?= )")


def _is_name(sentence: str, word: re.Match[str], following: re.Match[str] | None) -> bool:
    """Whether a word has a capital that its place does not explain."""
    if not word.group()[0].isupper():
        return False
    before = sentence[: word.start()].rstrip(" \"'“‘([")
    if WORD.search(before) and not before.endswith(STARTS_AFTER):
        return True
    if following is None or sentence[word.end() : following.start()] != " ":
        return False
    first = re.split("['’]", following.group())[0]
    return first[0].isupper() and len(first) > 1  # not I, I'll
