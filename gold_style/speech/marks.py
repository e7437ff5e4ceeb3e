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
from gold_style.speech.languages import WORD, words_of
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
class Group:
    """Marks that count together: `found` in a line of words at least `minimum` times, outside of `excepted`, without any of `unless`."""

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
            if name != "minimum" and not (is_list and all(isinstance(word, str) and plain_words(word) for word in value)):
                raise ValueError(f"{key}.{name}: {value!r} is not a list of words; put in quotes what YAML reads as something else")
        words, endings, excepted, unless = ([plain_words(word) for word in entry.get(name) or ()] for name in LISTS)
        minimum = entry.get("minimum", 1)
        if not words and not endings:
            raise ValueError(f"{key}: neither words nor endings; give at least one of them")
        if type(minimum) is not int or minimum < 1:
            raise ValueError(f"{key}.minimum: {minimum!r} is not a whole number of at least 1")
        return cls(_any(words, within, endings), _any(excepted, within), _any(unless, within), minimum)

    def is_in(self, line: str) -> bool:
        """Whether a line of words is marked."""
        line = self.excepted.sub(NAME, line)
        return not self.unless.search(line) and len(self.found.findall(line)) >= self.minimum


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
        return cls(groups, tuple(word for entry in keyed.values() for word in entry.get("words") or ()), language)

    def in_sentence(self, sentence: str) -> bool:
        """Whether a sentence (of `unquoted`) is marked."""
        words = list(WORD.finditer(sentence))
        is_plain = sentence.isupper() or "nouns_big" in words_of(self.language, "traits")
        pairs = zip(words, [*words[1:], None], strict=True)
        line = " ".join(NAME if not is_plain and _is_name(sentence, *pair) else plain_words(pair[0].group()) for pair in pairs)
        return any(group.is_in(f" {line} ") for group in self.groups)


def _any(words: Sequence[str], within: bool, endings: Sequence[str] = ()) -> re.Pattern[str]:
    """Finds any of the words (`within` a word, too) and any word with one of the endings in a line of words with a space at each edge."""
    longest = [re.escape(word) for word in sorted(words, key=len, reverse=True)]
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
