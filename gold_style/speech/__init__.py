"""Which speech level does a Korean text end in: one of a Joseon period drama, or a modern one?

Text -> NFC -> sentences -> the ending that closes each -> speech level -> one verdict for the text:

- `joseon`: 하소서체, 하오체, 하게체 or archaic 해라체 ("옛 해라체");
- `modern`: 하십시오체, 해요체, 해체, plain 해라체, or the nominal style of notes (명사형);
- `ambiguous`: an ending that both eras share (-네, -는가, -게) without anything around it that decides, or no ending;
- `other`: not Korean, empty, broken or looping. Never a style.

The ending of the last sentence decides; vocabulary by itself never makes Joseon, it only tips endings that both eras
share. The default backend `rules` is a table of suffixes with guards for homographs (pure Python); `kiwi` asks the
morphological analyser Kiwi (https://github.com/bab2min/kiwipiepy) about the homographs and needs the extra
`gold-style[kiwi]`.

    >>> classify("전하, 성은이 망극하옵니다.").verdict, classify("밖에 비가 옵니다.").verdict
    ('joseon', 'modern')

    echo "이리 오너라." | python -m gold_style.speech
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gold_style.speech.endings import EITHER, JOSEON, JOSEON_LEVELS, LEVELS, MODERN, MODERN_LEVELS, MOSTLY_JOSEON, MOSTLY_MODERN
from gold_style.speech.reading import ORDERS, Reading, read
from gold_style.speech.text import is_degenerate, is_korean, normalise, split_sentences

__all__ = ["BACKENDS", "JOSEON_LEVELS", "LEVELS", "MODERN_LEVELS", "VERDICTS", "Speech", "classify", "is_degenerate", "sentences"]

VERDICTS = ("joseon", "modern", "ambiguous", "other")
BACKENDS = ("rules", "kiwi")


@dataclass(frozen=True)
class Speech:
    """What was heard: the text as given, its verdict, the speech level and the ending that decided (or None)."""

    text: str
    verdict: str
    level: str | None
    ending: str | None
    backend: str


def classify(text: str, backend: str = "rules") -> Speech:
    """Verdict for a whole text: that of its last sentence with an ending; siblings tip an ending that both eras share.

    Raises ValueError if the backend is unknown or, for `kiwi`, not installed.
    """
    heard = sentences(text, backend)
    decided = [speech for speech in heard if speech.verdict in ("joseon", "modern")]
    last = next((speech for speech in reversed(heard) if speech.ending is not None), None)
    if last is None:
        verdict = "ambiguous" if any(speech.verdict == "ambiguous" for speech in heard) else "other"
        return Speech(text, verdict, None, None, backend)
    if last.verdict == "ambiguous" and decided and len({speech.verdict for speech in decided}) == 1:
        last = decided[-1]
    return Speech(text, last.verdict, last.level, last.ending, backend)


def sentences(text: str, backend: str = "rules") -> list[Speech]:
    """One `Speech` per sentence, for strict rates; empty for text that is `other`. Raises as `classify`."""
    if backend not in BACKENDS:
        raise ValueError(f"speech backend: {backend!r} is unknown; allowed: {', '.join(BACKENDS)}")
    if is_degenerate(text) or not is_korean(normalise(text)):
        return []
    readings = [read(sentence) for sentence in split_sentences(text)]
    if backend == "kiwi":
        from gold_style.speech.morphemes import reread  # the model takes a second to load

        readings = [reread(reading) for reading in readings]
    return [_decide(reading, reading.score + _support(reading, readings), backend) for reading in readings]


def _support(reading: Reading, readings: Sequence[Reading]) -> int:
    """What a text adds to a sentence's score: 2 if its clear sentences are Joseon, -2 if modern, else their cues."""
    votes = {vote for vote in map(_vote, readings) if vote}
    if {"joseon", "plain"} <= votes:
        votes.discard("plain")  # lords in costume dramas say -다 and -어 between their orders
    if len(votes) == 1:
        return 2 if votes == {"joseon"} else -2
    return max(-2, min(2, sum(other.score for other in readings) - reading.score))


def _vote(reading: Reading) -> str:
    if reading.ending is None:
        return ""
    if reading.lean == MODERN:
        return "modern" if reading.ending.new in ("하십시오체", "해요체") else "plain"
    least = {JOSEON: 0, MOSTLY_JOSEON: 0, EITHER: 1}.get(reading.lean)
    return "joseon" if least is not None and reading.score >= least and reading.ending.guard != "unfinished_clause" else ""


def _decide(reading: Reading, score: int, backend: str) -> Speech:
    ending = reading.ending
    if ending is None:
        verdict = "ambiguous" if is_korean(reading.text) else "other"
        return Speech(reading.text, verdict, None, None, backend)
    verdict = reading.lean
    if ending.guard == "unfinished_clause":
        verdict = "ambiguous"
    elif verdict == EITHER:
        verdict = "joseon" if score > 0 else "modern" if score < 0 else "ambiguous"
    elif verdict == MOSTLY_JOSEON:
        doubtful = -1 if ending.guard in (*ORDERS, "retold_remark") else -2
        verdict = "modern" if score <= doubtful else "joseon"  # a modern topic by itself (-1) is no argument: styles speak of anything
    elif verdict == MOSTLY_MODERN:
        verdict = "joseon" if score > (0 if ending.guard == "shouted_order" else 1) else "modern"
    level = ending.new or "해라체" if verdict == "modern" else ending.old or ending.new
    return Speech(reading.text, verdict, level, ending.form, backend)
