"""What the rest of a sentence says where its ending is shared by both eras.

Cues (`cues.yaml`) never make a style by themselves: they are only asked when an ending leans (see `endings.py`). Speaker cues
are pronouns, forms of address and sentence adverbs (자네, 소인, 어찌; 진짜, 근데); they count for every shared ending. Topic
words (백성, 관아; 버스, 함수) count for written orders, and modern ones for questions: modern Korean writes about the Joseon
era all the time, so an old topic never makes an old sentence.

    >>> score("자네 어디 가는가"), score("진짜 맛있네 ㅋㅋ"), score("백성을 구휼하라", order=True)
    (2, -4, 1)
"""

from __future__ import annotations

import re

from gold_style.speech.tables import read_table

_CUES = read_table("cues")
_PARTICLES = "|".join(_CUES["particles"].split())


def _pattern(words: str, phrases: str | None = None) -> re.Pattern[str]:
    """Finds the words of one list, with particles, and the phrases of another."""
    body = "|".join(sorted(map(re.escape, _CUES[words].split()), key=len, reverse=True))
    return re.compile("|".join([rf"(?<![가-힣])(?:{body})(?:{_PARTICLES})?(?![가-힣])", *(_CUES[phrases] if phrases else ())]))


_OLD_SPEECH_RE = _pattern("old_speech", "old_phrases")
_NEW_SPEECH_RE = _pattern("new_speech", "new_phrases")
_PLEAS_RE = _pattern("pleas", "plea_phrases")
_HUMBLE_RE = _pattern("humble")
_OLD_TOPICS_RE = _pattern("old_topics")
_NEW_TOPICS_RE = _pattern("new_topics")


def score(text: str, order: bool = False, upward: bool = False, plea: bool = False) -> int:
    """Archaic minus modern cues: each speaker cue counts 2, topics together 1.

    Old topics count only for an `order`, humble speakers (소신, 전하) only for an `upward` or equal ending,
    words of a personal plea (어서, 내 말) only for a `plea`, which may also be a sign.
    """
    speech = _count(_OLD_SPEECH_RE, text) - _count(_NEW_SPEECH_RE, text)
    if upward:
        speech += _count(_HUMBLE_RE, text)
    if plea:
        speech += min(_count(_PLEAS_RE, text), 1)
    topic = -min(_count(_NEW_TOPICS_RE, text), 2 if plea else 1)
    if order:
        topic += min(_count(_OLD_TOPICS_RE, text), 1)
    return 2 * speech + topic


def _count(pattern: re.Pattern[str], text: str) -> int:
    return len({match.group() for match in pattern.finditer(text)})
