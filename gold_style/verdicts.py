"""How a style pack names the style of a text: the classifier that its YAML asks for.

    classifier: {name: speech_level, backend: rules}    joseon or modern, by sentence endings (gold_style.speech)
    classifier: {name: markers, markers: {village: [", 도토!"]}, otherwise: modern}    a word that ends most sentences
    classifier: {name: markers, markers: {bard: {words: [thou, "'tis"], endings: [eth], except: [teeth]}}}    anywhere in a sentence
    classifier: [{...}, {...}]    the first that gives a verdict of the pack other than its `otherwise`

Every classifier calls a text `other` that is empty, looping, broken or not in the pack's language, and `ambiguous` where nothing
decides: both labels are reserved, and `other` is always a failure, never a style. A pack can name a classifier of this
file and nothing else: no imports, no regular expressions, no code from YAML.

    >>> pack = {"name": "markers", "markers": {"village": [", 도토!"]}, "otherwise": "modern"}
    >>> classifier = build_classifier(pack)
    >>> classifier("숲에 가자, 도토! 꿀차도 마시자, 도토!"), classifier("숲에 가요. 꿀차도 마셔요.")
    ('village', 'modern')
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gold_style import did_you_mean
from gold_style.speech import BACKENDS, LEVELS, VERDICTS, classify, is_degenerate, sentences
from gold_style.speech.languages import KOREAN, is_prose
from gold_style.speech.marks import Marks, unquoted
from gold_style.speech.text import normalise, split_sentences
from gold_style.styles import StylePack, one_of

AMBIGUOUS, OTHER = "ambiguous", "other"
RESERVED = (AMBIGUOUS, OTHER)
KEYS = {"speech_level": ("backend",), "markers": ("backend", "markers", "otherwise")}  # of each classifier, beside `name`


class Classifier(Protocol):
    """Says which style a text is in. `labels` are all verdicts it can give, `backend` what gives them (noted beside every rate)."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def backend(self) -> str: ...

    def __call__(self, text: str) -> str:
        """The verdict of a whole text."""

    def level(self, text: str) -> str | None:
        """The speech level the text ends in (one of `gold_style.speech.LEVELS`); None where it has none."""

    def sentences(self, text: str) -> list[str]:
        """One verdict per sentence, each read with its neighbours, for strict rates; empty if the text is `other`."""


@dataclass(frozen=True)
class SpeechLevel:
    """`joseon` or `modern` by the ending of the last sentence."""

    backend: str = "rules"
    labels: tuple[str, ...] = VERDICTS

    def __call__(self, text: str) -> str:
        return classify(text, self.backend).verdict

    def level(self, text: str) -> str | None:
        return classify(text, self.backend).level

    def sentences(self, text: str) -> list[str]:
        return [speech.verdict for speech in sentences(text, self.backend)]


class Markers:
    """The verdict whose marks are in enough of the sentences; `otherwise` for text of the language without any.

    A list of words: a marker closes more than half of the sentences, punctuation and spaces aside: ", 도토!" and "도토"
    are the same marker. A mapping or a list of them (`Marks`): at least half of the sentences have enough of the words
    and endings of one mapping, anywhere; half of enough is half a sentence, and it takes one sentence at least.
    A text with fewer marked sentences is `ambiguous`: it is neither in the style nor free of it.
    """

    def __init__(self, markers: Mapping[str, Sequence[str] | Marks], otherwise: str, backend: str, language: str) -> None:
        self.markers = {verdict: marks if isinstance(marks, Marks) else tuple(map(_bare, marks)) for verdict, marks in markers.items()}
        self.otherwise, self.backend, self.language = otherwise, backend, language
        self.labels = (*dict.fromkeys((*self.markers, otherwise)), *RESERVED)
        anywhere = [marks for marks in self.markers.values() if isinstance(marks, Marks)]
        elided = "|".join(re.escape(word[1:]) for marks in anywhere for word in marks.words if word[0] in "'’‘")
        self._elided = re.compile(rf"(?<!\w)['’‘]({elided or '(?!)'})(?![\w'’])", re.IGNORECASE) if anywhere else None

    def __call__(self, text: str) -> str:
        found = self._marked(text)
        if not found:
            return OTHER
        marked = {verdict: sum(share for by, share in found if by == verdict) for verdict in self.markers}
        best = max(marked, key=marked.__getitem__)
        if 2 * marked[best] >= max(2, len(found) + (not isinstance(self.markers[best], Marks))):
            return best
        return AMBIGUOUS if marked[best] >= 1 else self.otherwise

    def level(self, text: str) -> str | None:
        return classify(text, self.backend).level if self.language == KOREAN else None

    def sentences(self, text: str) -> list[str]:
        return [verdict if share == 1 else self.otherwise for verdict, share in self._marked(text)]

    def _marked(self, text: str) -> list[tuple[str, float]]:
        """For each sentence the verdict that marks most of it, and how much of it (0 to 1)."""
        if is_degenerate(text, self.language) or not is_prose(text, self.language):
            return []
        told = unquoted(text, self._elided) if self._elided else split_sentences(text)
        columns = [[(verdict, share) for share in _shares(marks, told)] for verdict, marks in self.markers.items()]
        found = [max(pairs, key=lambda pair: pair[1]) for pairs in zip(*columns, strict=True)]
        # "Mr." and "1." are cut off like sentences of one word
        whole = [pair for one, pair in zip(told, found, strict=True) if pair[1] or " " in one]
        return whole if whole and self.language != KOREAN else found


class FirstOf:
    """Several classifiers: the first that gives one of `verdicts`, other than its own `otherwise`, decides.

    Where none does, a text is `ambiguous` if it is to one of them, else what the last says that gives a verdict at all.
    """

    def __init__(self, members: Sequence[Classifier], verdicts: Collection[str]) -> None:
        self.members, self.verdicts = members, verdicts
        self.labels = tuple(dict.fromkeys(label for member in members for label in member.labels))
        self.backend = max((member.backend for member in members), key=lambda backend: backend != "rules")

    def _decided(self, text: str) -> tuple[Classifier, str]:
        given = [(member, member(text)) for member in self.members]
        styles = [pair for pair in given if pair[1] in self.verdicts]
        deciding = [pair for pair in styles if pair[1] != getattr(pair[0], "otherwise", None)]
        unclear = [pair for pair in given if pair[1] == AMBIGUOUS]
        return (deciding or unclear or styles[::-1] or given[::-1])[0]

    def __call__(self, text: str) -> str:
        return self._decided(text)[1]

    def level(self, text: str) -> str | None:
        return self._decided(text)[0].level(text)

    def sentences(self, text: str) -> list[str]:
        return self._decided(text)[0].sentences(text)


def _shares(marks: tuple[str, ...] | Marks, sentences: Sequence[str]) -> Sequence[float]:
    return marks.shares(sentences) if isinstance(marks, Marks) else [_bare(one).endswith(marks) for one in sentences]


def _bare(text: str) -> str:
    """A marker or sentence without punctuation, symbols and spaces at its edges."""
    text = normalise(text)
    keep = [i for i, letter in enumerate(text) if letter.isalnum()]
    return text[keep[0] : keep[-1] + 1] if keep else ""


def build_classifier(spec: object, language: str = KOREAN, verdicts: Collection[str] = ()) -> Classifier:
    """The classifier a pack's `classifier` asks for, a mapping or a list of them; `verdicts` are those of the pack's tags.

    Raises ValueError for anything it does not know.
    """
    if isinstance(spec, Sequence) and not isinstance(spec, str) and spec:
        return FirstOf([_one_classifier(one, language, f"classifier[{number}]") for number, one in enumerate(spec)], verdicts)
    return _one_classifier(spec, language, "classifier")


def classifier_of(pack: StylePack) -> Classifier:
    """The classifier of a style pack. Raises ValueError as `build_classifier`."""
    return build_classifier(pack.classifier, pack.language, [style.verdict for style in pack.styles])


def _one_classifier(spec: object, language: str, key: str) -> Classifier:
    if not isinstance(spec, Mapping):
        raise ValueError(f"{key}: {spec!r} is not a mapping; write e.g. {{name: speech_level, backend: rules}}")
    name, backend = spec.get("name"), spec.get("backend", "rules")
    if name not in tuple(KEYS):
        raise ValueError(_unknown(f"{key}.name: {name!r}", name, tuple(KEYS)))
    for own in spec:
        if own not in ("name", *KEYS[name]):
            raise ValueError(_unknown(f"{key}: key {own!r} of {name}", own, ("name", *KEYS[name])))
    if backend not in BACKENDS:
        raise ValueError(_unknown(f"{key}.backend: {backend!r}", backend, BACKENDS))
    if language != KOREAN and (name == "speech_level" or "backend" in spec):
        what = "name: speech_level" if name == "speech_level" else "backend: it"
        raise ValueError(f"{key}.{what} reads Korean, and styles.language is {language}; use {{name: markers, markers: ...}}")
    classify("가나", backend)  # a missing extra shows here, before any model loads
    if name == "speech_level":
        return SpeechLevel(backend)
    return _markers(spec.get("markers"), spec.get("otherwise", "modern"), backend, language, key)


def label_mistakes(pack: StylePack) -> list[str]:
    """What nobody can give of the labels that a pack asks for, a line each: a verdict, an accepted speech level.

    Also a neutral tag with the verdict of the first one: every right answer under it would count as leakage. Raises ValueError
    as `build_classifier`.
    """
    labels = [label for label in classifier_of(pack).labels if label not in RESERVED]
    found = []
    for style in pack.styles:
        key = f"styles.styles.{style.tag}"
        found += one_of(f"{key}.verdict", style.verdict, labels)
        for direction, accepted in style.levels.items():
            found += [line for level in accepted for line in one_of(f"{key}.levels.{direction}", level, LEVELS)]
    if pack.verdict_of(pack.neutral) == pack.target_verdict:
        reason = f"is the verdict of the first tag, {pack.tags[0]}, too: no margin could tell the two apart"
        found.append(f"styles.styles.{pack.neutral}.verdict: {pack.target_verdict!r} {reason}")
    return found


def _markers(markers: object, otherwise: object, backend: str, language: str, key: str) -> Markers:
    if not isinstance(markers, Mapping) or not markers:
        raise ValueError(f"{key}.markers: {markers!r} is empty; give verdict -> strings that end a sentence, e.g. {{village: [도토]}}")
    if not isinstance(otherwise, str) or not otherwise or otherwise in (*RESERVED, *markers):
        taken = ", ".join(map(str, (*RESERVED, *markers)))
        raise ValueError(f"{key}.otherwise: {otherwise!r} must be a verdict of its own, other than {taken}")
    known: dict[str, str] = {}
    read: dict[str, Any] = {}
    for verdict, words in markers.items():
        if not isinstance(verdict, str) or verdict in RESERVED:
            raise ValueError(f"{key}.markers: verdict {verdict!r} is reserved or no string; reserved: {', '.join(RESERVED)}")
        if isinstance(words, str) or not isinstance(words, Sequence | Mapping) or not words:
            raise ValueError(f"{key}.markers.{verdict}: {words!r} is not a list of strings, nor {{words: [...], endings: [...]}}")
        read[verdict] = words
        if isinstance(words, Mapping) or all(isinstance(group, Mapping) for group in words):
            read[verdict] = marks = Marks.read(words, language, f"{key}.markers.{verdict}")
            words = marks.words
        for word in words:
            bare = _bare(word) if isinstance(word, str) else ""
            if not bare:
                raise ValueError(f"{key}.markers.{verdict}: {word!r} has no letter or digit; a marker is a word")
            if known.setdefault(bare, verdict) != verdict:
                raise ValueError(f"{key}.markers.{verdict}: {word!r} marks {known[bare]!r} already")
    return Markers(read, otherwise, backend, language)


def _unknown(what: str, value: object, allowed: Sequence[str]) -> str:
    return f"{what} is unknown; allowed: {', '.join(allowed)}{did_you_mean(value, allowed)}"
