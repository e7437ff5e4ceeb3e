"""Words and endings that mark a style wherever they are in a sentence, in any language.

What stands in quotation marks marks nothing, unless there is nothing else; neither does what is written like a name: with a capital
inside a sentence ("my friend Thy Nguyen"), or with one before another capital ("Thine Electronics").

Words may be phrases: "i * not" has any one word for its *, and no pause between; ", sire ," wants its commas; others may have one
between two words. A list may hold lists, so that YAML's aliases can share them.

    >>> marks = Marks.read({"words": ["thou", "'tis"], "endings": ["eth"], "except": ["teeth"]}, "en")
    >>> marks.shares(["’Tis cold.", "She singeth.", "My teeth hurt.", "A friend of Thou Li's."])
    [1.0, 1.0, 0.0, 0.0]
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gold_style import did_you_mean
from gold_style.speech.languages import WORD, words_of
from gold_style.speech.text import QUOTED_RE, normalise, split_sentences

LISTS = ("words", "endings", "except", "unless")
ENTRY = re.compile(rf"{WORD.pattern}|(?<!\S)[*,](?!\S)")
NAME = "·"  # what a name becomes, so that nothing is found in it
TOKEN = re.compile(rf"{WORD.pattern}|[,;:()—–]")  # a pause, too: no * reaches over it
STARTS_AFTER = tuple(":;!?…—–")  # a capital after one of these says no more than one at the start


def plain_words(text: str) -> str:
    """The words of a text in lower case, a space between, without apostrophes at their edges; a lone * or comma is one, too."""
    return " ".join(word.casefold() for word in ENTRY.findall(text.replace("’", "'").replace("‘", "'")))


def unquoted(text: str, elided: re.Pattern[str]) -> list[str]:
    """The sentences of a text without what they quote; with it where nothing else is left. `elided` ('tis) opens no quotation."""
    text = elided.sub(r"\1", re.sub(r"(?<=\w)’(?=\w)", "'", normalise(text)))
    told = split_sentences(text)
    return [bare for sentence in told if WORD.search(bare := QUOTED_RE.sub(" ", sentence))] or told


@dataclass(frozen=True)
class Group:
    """Marks that count together, `minimum` to a sentence: `found` in its line of words, outside of `excepted`, no `unless` in the text."""

    found: re.Pattern[str]
    excepted: re.Pattern[str]
    unless: re.Pattern[str]
    minimum: int

    @classmethod
    def read(cls, entry: Mapping[str, Any], within: bool, key: str) -> Group:
        """{words, endings, except, unless, minimum} of a style pack. Raises ValueError for the first mistake, naming its key."""
        for name, value in entry.items():
            if name not in (*LISTS, "minimum"):
                raise ValueError(f"{key}.{name}: unknown; allowed: {', '.join(LISTS)}, minimum{did_you_mean(name, LISTS)}")
            is_list = isinstance(value, Sequence) and not isinstance(value, str)
            if name != "minimum" and not (is_list and all(isinstance(word, str) and plain_words(word) for word in _flat(value))):
                raise ValueError(f"{key}.{name}: {value!r} is not a list of words; put in quotes what YAML reads as something else")
        words, excepted, unless = ([plain_words(word) for word in _flat(entry.get(name) or ())] for name in ("words", "except", "unless"))
        endings = [ending.replace("’", "'").strip("- ").casefold() for ending in _flat(entry.get("endings") or ())]
        minimum = entry.get("minimum", 1)
        if not words and not endings:
            raise ValueError(f"{key}: neither words nor endings; give at least one of them")
        if type(minimum) is not int or minimum < 1:
            raise ValueError(f"{key}.minimum: {minimum!r} is not a whole number of at least 1")
        return cls(_any(words, within, endings), _any(excepted, within), _any(unless, within), minimum)

    def shares(self, lines: Sequence[str]) -> list[float]:
        """How much of each line of words is marked, from 0 to 1: with one of two marks a half."""
        least = math.inf if any(map(self.unless.search, lines)) else self.minimum
        return [min(1.0, len(self.found.findall(self.excepted.sub(NAME, line))) / least) for line in lines]


@dataclass(frozen=True)
class Marks:
    """What marks one verdict: any of its groups. `words` are those of all groups, as written."""

    groups: tuple[Group, ...]
    words: tuple[str, ...]
    language: str

    @classmethod
    def read(cls, entries: Mapping[str, Any] | Sequence[Mapping[str, Any]], language: str, key: str = "classifier.markers") -> Marks:
        """One group, or a list of them. Raises ValueError for the first mistake."""
        keyed = {key: entries} if isinstance(entries, Mapping) else {f"{key}[{number}]": entry for number, entry in enumerate(entries)}
        within = "no_spaces" in words_of(language, "traits")
        groups = tuple(Group.read(entry, within, name) for name, entry in keyed.items())
        return cls(groups, tuple(word for entry in keyed.values() for word in _flat(entry.get("words") or ())), language)

    def shares(self, sentences: Sequence[str]) -> list[float]:
        """How much of each sentence (of `unquoted`) is marked, from 0 to 1."""
        lines = [f" {self._line(sentence)} " for sentence in sentences]
        return [max(shares) for shares in zip(*(group.shares(lines) for group in self.groups), strict=True)]

    def _line(self, sentence: str) -> str:
        words = list(TOKEN.finditer(sentence))
        is_plain = sentence.isupper() or "nouns_big" in words_of(self.language, "traits")
        pairs = zip(words, [*words[1:], None], strict=True)
        return " ".join(NAME if not is_plain and _is_name(sentence, *pair) else plain_words(pair[0].group()) or "," for pair in pairs)


def _flat(value: Any) -> list[Any]:
    """The items of a list and of the lists in it (such as YAML's aliases of other groups' lists)."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return [word for item in value for word in _flat(item)] if is_list else [value]


def _any(words: Sequence[str], within: bool, endings: Sequence[str] = ()) -> re.Pattern[str]:
    """Finds any of the words (`within` a word, too) and any word with one of the endings in a line of words with a space at each edge."""
    longest = [re.escape(word) for word in sorted(words, key=len, reverse=True)]
    longest = [word.replace(r"\*", rf"[^\s,{NAME}]+") if "*" in word else word.replace(r"\ ", " (?:, )?") for word in longest]
    ended = [rf"[^\s{NAME}]+{re.escape(ending)}" for ending in endings]
    if within:
        return re.compile("|".join([*longest, *(rf"{word}(?= )" for word in ended)]) or "(?!)")
    return re.compile(rf"(?<= )(?:{'|'.join([*longest, *ended]) or '(?!)'})(?= )")


def _is_name(sentence: str, word: re.Match[str], following: re.Match[str] | None) -> bool:
    """Whether a word has a capital that its place does not explain."""
    if not _is_big(word.group()):
        return False
    before = sentence[: word.start()].rstrip(" \"'“‘([")
    is_inside = WORD.search(before) and not before.endswith(STARTS_AFTER)
    return bool(is_inside or following and sentence[word.end() : following.start()] == " " and _is_big(following.group()))


def _is_big(word: str) -> bool:
    """Whether a word begins with a capital; I and I'll do not count."""
    return word[0].isupper() and len(re.split("['’]", word)[0]) > 1
