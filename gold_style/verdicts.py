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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gold_style import did_you_mean
from gold_style.speech import BACKENDS, VERDICTS, classify, is_degenerate, sentences
from gold_style.speech.text import is_korean, normalise, split_sentences

AMBIGUOUS, OTHER = "ambiguous", "other"
RESERVED = (AMBIGUOUS, OTHER)


class Classifier(Protocol):
    """Says which style a text is in. `labels` are all verdicts it can give, `backend` what gives them (noted beside every rate)."""

    labels: tuple[str, ...]
    backend: str

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


@dataclass(frozen=True)
class Markers:
    """The verdict whose marker closes more than half of the sentences; `otherwise` for Korean text without any marker.

    A marker is compared with the end of a sentence, punctuation and spaces aside: ", 도토!" and "도토" are the same
    marker. A text with markers in half of its sentences or fewer is `ambiguous`: it is neither in the style nor free
    of it.
    """

    markers: Mapping[str, tuple[str, ...]]
    otherwise: str
    backend: str = "rules"
    labels: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        bare = {verdict: tuple(_bare(marker) for marker in markers) for verdict, markers in self.markers.items()}
        object.__setattr__(self, "markers", bare)
        object.__setattr__(self, "labels", (*dict.fromkeys((*bare, self.otherwise)), *RESERVED))

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
        return [self._sentence(sentence) for sentence in split_sentences(text)]

    def _sentence(self, sentence: str) -> str:
        end = _bare(sentence)
        return next((v for v, markers in self.markers.items() if end.endswith(markers)), self.otherwise)


def _bare(text: str) -> str:
    """A marker or sentence without punctuation, symbols and spaces at its edges."""
    text = normalise(text)
    keep = [i for i, letter in enumerate(text) if letter.isalnum()]
    return text[keep[0] : keep[-1] + 1] if keep else ""


def build_classifier(spec: Mapping[str, object]) -> Classifier:
    """The classifier a pack's `classifier` mapping asks for. Raises ValueError for anything it does not know."""
    if not isinstance(spec, Mapping):
        raise ValueError(f"classifier: {spec!r} is not a mapping; write e.g. {{name: speech_level, backend: rules}}")
    name = spec.get("name")
    if name not in BUILDERS:
        raise ValueError(_unknown("classifier.name", name, tuple(BUILDERS)))
    build, keys = BUILDERS[str(name)]
    for key in spec:
        if key not in ("name", *keys):
            raise ValueError(_unknown(f"classifier: key {key!r} of {name}", None, ("name", *keys), near=str(key)))
    backend = spec.get("backend", "rules")
    if backend not in BACKENDS:
        raise ValueError(_unknown("classifier.backend", backend, BACKENDS))
    classify("가나", str(backend))  # a missing extra shows here, before any model loads
    return build(spec)


def _speech_level(spec: Mapping[str, object]) -> Classifier:
    return SpeechLevel(str(spec.get("backend", "rules")))


def _markers(spec: Mapping[str, object]) -> Classifier:
    markers, otherwise = spec.get("markers"), spec.get("otherwise", "modern")
    if not isinstance(markers, Mapping) or not markers:
        raise ValueError(f"classifier.markers: {markers!r} is empty; give verdict -> strings that end a sentence, e.g. {{village: [도토]}}")
    if not isinstance(otherwise, str) or not otherwise or otherwise in (*RESERVED, *markers):
        raise ValueError(
            f"classifier.otherwise: {otherwise!r} must be a verdict of its own, other than " + ", ".join(map(str, (*RESERVED, *markers)))
        )
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
    return Markers({str(v): tuple(words) for v, words in markers.items()}, otherwise, str(spec.get("backend", "rules")))


# name -> (builder, the keys it reads beside `name`)
BUILDERS: dict[str, tuple[Callable[[Mapping[str, object]], Classifier], tuple[str, ...]]] = {
    "speech_level": (_speech_level, ("backend",)),
    "markers": (_markers, ("backend", "markers", "otherwise")),
}


def _unknown(what: str, value: object, allowed: Sequence[str], near: str | None = None) -> str:
    said = what if near is not None else f"{what}: {value!r}"
    return f"{said} is unknown; allowed: {', '.join(allowed)}{did_you_mean(value if near is None else near, allowed)}"


def accepted(level: str | None, direction: str | None, levels_by_direction: Mapping[str, Sequence[str]]) -> bool | None:
    """Whether a speech level fits the direction of address (up, equal, down); None where that cannot be said.

    An order downward is not written in upward 하소서체: `accepted("하소서체", "down", {"down": ["옛 해라체"]})` is
    False. None: the text has no level, the request no direction, or the pack lists no levels for it.
    """
    levels = levels_by_direction.get(direction) if direction is not None else None
    if level is None or not levels:
        return None
    return level in levels
