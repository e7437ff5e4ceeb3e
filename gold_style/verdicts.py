"""How a style pack names the style of a text: the classifier that its YAML asks for.

    classifier: {name: speech_level, backend: rules}    joseon or modern, by sentence endings (gold_style.speech)
    classifier: {name: markers, markers: {village: [", 도토!"]}, otherwise: modern}    a word that ends most sentences

Every classifier calls a text `other` that is empty, looping, broken or not Korean, and `ambiguous` where nothing
decides: both labels are reserved, and `other` is always a failure, never a style. A pack can name a classifier of this
file and nothing else: no imports, no regular expressions, no code from YAML.

    >>> pack = {"name": "markers", "markers": {"village": [", 도토!"]}, "otherwise": "modern"}
    >>> classifier = build_classifier(pack)
    >>> classifier("숲에 가자, 도토! 꿀차도 마시자, 도토!"), classifier("숲에 가요. 꿀차도 마셔요.")
    ('village', 'modern')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gold_style import did_you_mean
from gold_style.speech import BACKENDS, LEVELS, VERDICTS, classify, is_degenerate, sentences
from gold_style.speech.text import is_korean, normalise, split_sentences
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
    """The verdict whose marker closes more than half of the sentences; `otherwise` for Korean text without any marker.

    A marker is compared with the end of a sentence, punctuation and spaces aside: ", 도토!" and "도토" are the same
    marker. A text with markers in half of its sentences or fewer is `ambiguous`: it is neither in the style nor free
    of it.
    """

    def __init__(self, markers: Mapping[str, Sequence[str]], otherwise: str, backend: str = "rules") -> None:
        self.markers = {verdict: tuple(_bare(word) for word in words) for verdict, words in markers.items()}
        self.otherwise, self.backend = otherwise, backend
        self.labels = (*dict.fromkeys((*self.markers, otherwise)), *RESERVED)

    def __call__(self, text: str) -> str:
        found = self.sentences(text)
        if not found:
            return OTHER
        marked = {verdict: found.count(verdict) for verdict in self.markers}
        best = max(marked, key=marked.__getitem__)
        if 2 * marked[best] > len(found):
            return best
        return AMBIGUOUS if any(marked.values()) else self.otherwise

    def level(self, text: str) -> str | None:
        return classify(text, self.backend).level

    def sentences(self, text: str) -> list[str]:
        if is_degenerate(text) or not is_korean(normalise(text)):
            return []
        ends = [_bare(sentence) for sentence in split_sentences(text)]
        return [next((verdict for verdict, words in self.markers.items() if end.endswith(words)), self.otherwise) for end in ends]


def _bare(text: str) -> str:
    """A marker or sentence without punctuation, symbols and spaces at its edges."""
    text = normalise(text)
    keep = [i for i, letter in enumerate(text) if letter.isalnum()]
    return text[keep[0] : keep[-1] + 1] if keep else ""


def build_classifier(spec: Mapping[str, object]) -> Classifier:
    """The classifier a pack's `classifier` mapping asks for. Raises ValueError for anything it does not know."""
    if not isinstance(spec, Mapping):
        raise ValueError(f"classifier: {spec!r} is not a mapping; write e.g. {{name: speech_level, backend: rules}}")
    name, backend = spec.get("name"), spec.get("backend", "rules")
    if name not in tuple(KEYS):
        raise ValueError(_unknown(f"classifier.name: {name!r}", name, tuple(KEYS)))
    for key in spec:
        if key not in ("name", *KEYS[name]):
            raise ValueError(_unknown(f"classifier: key {key!r} of {name}", key, ("name", *KEYS[name])))
    if backend not in BACKENDS:
        raise ValueError(_unknown(f"classifier.backend: {backend!r}", backend, BACKENDS))
    classify("가나", backend)  # a missing extra shows here, before any model loads
    if name == "speech_level":
        return SpeechLevel(backend)
    return _markers(spec.get("markers"), spec.get("otherwise", "modern"), backend)


def label_mistakes(pack: StylePack) -> list[str]:
    """What nobody can give of the labels that a pack asks for, a line each: a verdict, an accepted speech level.

    Also a neutral tag with the verdict of the first one: every right answer under it would count as leakage. Raises ValueError
    as `build_classifier`.
    """
    labels = [label for label in build_classifier(pack.classifier).labels if label not in RESERVED]
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


def _markers(markers: object, otherwise: object, backend: str) -> Markers:
    if not isinstance(markers, Mapping) or not markers:
        raise ValueError(f"classifier.markers: {markers!r} is empty; give verdict -> strings that end a sentence, e.g. {{village: [도토]}}")
    if not isinstance(otherwise, str) or not otherwise or otherwise in (*RESERVED, *markers):
        taken = ", ".join(map(str, (*RESERVED, *markers)))
        raise ValueError(f"classifier.otherwise: {otherwise!r} must be a verdict of its own, other than {taken}")
    known: dict[str, str] = {}
    for verdict, words in markers.items():
        if not isinstance(verdict, str) or verdict in RESERVED:
            raise ValueError(f"classifier.markers: verdict {verdict!r} is reserved or no string; reserved: {', '.join(RESERVED)}")
        if isinstance(words, str) or not isinstance(words, Sequence) or not words:
            raise ValueError(f"classifier.markers.{verdict}: {words!r} is not a list of strings")
        for word in words:
            bare = _bare(word) if isinstance(word, str) else ""
            if not bare:
                raise ValueError(f"classifier.markers.{verdict}: {word!r} has no letter or digit; a marker is a word")
            if known.setdefault(bare, verdict) != verdict:
                raise ValueError(f"classifier.markers.{verdict}: {word!r} marks {known[bare]!r} already")
    return Markers(markers, otherwise, backend)


def _unknown(what: str, value: object, allowed: Sequence[str]) -> str:
    return f"{what} is unknown; allowed: {', '.join(allowed)}{did_you_mean(value, allowed)}"
