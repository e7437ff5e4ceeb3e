"""A second opinion from the morphological analyser Kiwi on the sentences where a suffix table guesses.

Kiwi (https://github.com/bab2min/kiwipiepy, Apache-2.0) tells 망극하-오(EP)-ㅂ니다 from 나오-ㅂ니다 and 연구소-이-다
from 있-소이다 by its statistics of whole sentences. It knows the modern language better than the archaic one (리이다,
ㄹ쏘냐 and -겠소 come out wrong), so an archaic ending that the table finds with certainty stays; Kiwi is asked

- to find an archaic ending after a stem that our lists lack (붐비-오, 무리-오),
- to veto a short archaic ending that is the tail of a noun,
- to name the modern ending of a sentence in which the table found none (자주 가?).

Needs the extra `gold-style[kiwi]`; the first call loads the model (seconds, about 300 MB).
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from gold_style.speech.endings import EITHER, JOSEON, MODERN, MOSTLY_MODERN, Ending, ending_of
from gold_style.speech.reading import Reading
from gold_style.speech.tables import read_words

if TYPE_CHECKING:
    from kiwipiepy import Kiwi, Token

LISTS = read_words("morphemes")
_PREDICATE = ("VV", "VA", "VX", "VC", "XSV", "XSA", "EP")
_STEMS = ("VV", "VA", "VX", "XSV", "XSA", "EP")  # no noun follows these inside one word
_HANGUL_WORD_RE = re.compile(r"[가-힣]+$")


@cache
def _kiwi() -> Kiwi:
    try:
        from kiwipiepy import Kiwi
    except ImportError as error:
        raise ValueError("speech backend 'kiwi' needs the extra: pip install 'gold-style[kiwi]' (or use 'rules')") from error
    return Kiwi()


def analyse(text: str) -> list[Token]:
    """Kiwi's morphemes of `text`. Raises ValueError if kiwipiepy is not installed."""
    return _kiwi().tokenize(text)


def reread(reading: Reading) -> Reading:
    """The reading after Kiwi's veto, addition or silence. Raises ValueError if kiwipiepy is not installed."""
    kiwi, ending = _kiwi(), reading.ending
    certain = ending and (
        ending.lean == JOSEON and ending.guard not in LISTS.doubtful or ending.form in ("-요", "-습니다", "-습니까", "-죠")
    )
    if certain or not reading.core:
        return reading
    tokens = [token for token in kiwi.tokenize(reading.core) if token.tag[0] not in "SW" and not token.tag.startswith("U")]
    if not tokens:
        return reading
    if reading.lean == JOSEON:
        return _veto(reading, tokens)
    archaic = _archaic(tokens)
    if archaic and (ending is None or ending.guard not in LISTS.cued):
        return reading._replace(ending=archaic, lean=JOSEON)
    return _modern(reading, tokens) if ending is None else reading


def _archaic(tokens: list[Token]) -> Ending | None:
    """The archaic ending that closes the tokens: by its form, or by a humble pre-final ending before -니다, -니까."""
    last, before = tokens[-1], tokens[-2] if len(tokens) > 1 else None
    if last.tag != "EF" or before is None or not before.tag.startswith(_PREDICATE):
        return None
    if before.tag == "EP" and before.form in LISTS.humble and "니" in last.form:
        return ending_of("옵니까" if last.form.endswith("까") else "옵니다")
    if last.form not in LISTS.archaic or last.form == "오" and (before.form, before.tag) in (("시", "EP"), ("아니", "VCN")):
        return None
    found = ending_of(last.form)
    return found if found and found.old else None


def _veto(reading: Reading, tokens: list[Token]) -> Reading:
    """Drop a short archaic ending where Kiwi sees a noun, or a noun with the plain copula 이다."""
    found = _HANGUL_WORD_RE.search(reading.core.rstrip(" .!?…~,\"'”’"))
    word = found.group() if found else ""
    if reading.ending is None or reading.ending.guard not in LISTS.doubtful or word[-1:] != reading.ending.form[-1]:
        return reading
    last = tokens[-1]
    after_stem = len(tokens) > 1 and tokens[-2].tag in _STEMS and len(last.form) < len(word)
    if last.tag == "NNG" and len(last.form) >= 2 and word.endswith(last.form) and not after_stem:
        return reading._replace(ending=None, lean=EITHER)
    if [token.tag for token in tokens[-3:]] == ["NNG", "VCP", "EF"] and last.form == "다":
        noun = tokens[-3].form
        if len(noun) >= 3 and word in (noun + "이다", noun + "다"):
            return reading._replace(ending=ending_of("다"), lean=MODERN)
    return reading


def _modern(reading: Reading, tokens: list[Token]) -> Reading:
    """A modern ending for a sentence in which the table found none."""
    last = tokens[-1]
    if last.tag == "ETN":
        return reading._replace(ending=ending_of("음"), lean=MOSTLY_MODERN)
    if last.tag != "EF":
        return reading
    form = "요" if last.form.endswith("요") else "아" if last.form in ("아", "어") else last.form
    ending = ending_of(form)
    return reading._replace(ending=ending, lean=ending.lean) if ending and ending.new and not ending.old else reading
