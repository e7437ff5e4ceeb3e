"""A second opinion from the morphological analyser Kiwi on the sentences where a suffix table guesses.

Kiwi (https://github.com/bab2min/kiwipiepy, Apache-2.0) tells 망극하-오(EP)-ㅂ니다 from 나오-ㅂ니다 and 연구소-이-다
from 있-소이다 by its statistics of whole sentences. It knows the modern language better than the archaic one (리이다,
ㄹ쏘냐 and -겠소 come out wrong), so an archaic ending that the table finds with certainty stands; Kiwi is asked

- to find an archaic ending after a stem that our lists lack (붐비-오, 무리-오),
- to veto a short archaic ending that is the tail of a noun,
- to name the modern ending of a sentence in which the table found none (자주 가?).

Needs the extra `gold-style[kiwi]`; the first call loads the model (seconds, about 300 MB).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from gold_style.speech.endings import EITHER, ENDINGS, JOSEON, MODERN, MOSTLY_MODERN, Ending
from gold_style.speech.reading import Reading

if TYPE_CHECKING:
    from kiwipiepy import Kiwi, Token

# Final endings (EF) that no modern speech level has, as Kiwi writes them.
_ARCHAIC = frozenset(
    "오 으오 나이다 나이까 도다 로다 노라 세 리다 으리다 리라 으리라 으리 리오 으리오 구려 느냐 더냐 랴 으랴 니라 "
    "느니라 더니라 ᆯ지어다 을지어다 너라 소서 "
    "으소서 네그려 사이다 더이다 로소이다 소이다 오이다 로세 ᆯ세 ᆷ세 음세 게나 세나 누나 는고 ᆫ고 ᆯ꼬 을꼬 로구나 "
    "렷다 뇨 올시다 니이다 리이다".split()
)
_HUMBLE = frozenset("오 옵 사오 사옵 으오 으옵 자오 자옵".split())  # pre-final endings (EP) of humility
_NOUNISH = frozenset("vowel closed copula hortative exclaim noun_ro rhetoric promise outside remark sister wonder order".split())
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
    kiwi = _kiwi()
    if not reading.core or _certain(reading):
        return reading
    tokens = [token for token in kiwi.tokenize(reading.core) if token.tag[0] not in "SW" and not token.tag.startswith("U")]
    if not tokens:
        return reading
    if reading.lean == JOSEON:
        return _veto(reading, tokens)
    archaic = _archaic(tokens)
    if archaic is not None and (reading.ending is None or reading.ending.guard not in ("sign", "written_order", "vowel")):
        return reading._replace(ending=archaic, lean=JOSEON)
    if reading.ending is None:
        return _modern(reading, tokens)
    return reading


def _certain(reading: Reading) -> bool:
    ending = reading.ending
    return ending is not None and (
        ending.lean == JOSEON and ending.guard not in _NOUNISH or ending.form in ("-요", "-습니다", "-습니까", "-죠")
    )


def _archaic(tokens: list[Token]) -> Ending | None:
    """The archaic ending that closes the tokens: by its form, or by a humble pre-final ending before -니다, -니까."""
    last, before = tokens[-1], tokens[-2] if len(tokens) > 1 else None
    if last.tag != "EF" or before is None or not before.tag.startswith(_PREDICATE):
        return None
    if before.tag == "EP" and before.form in _HUMBLE and "니" in last.form:
        return ENDINGS[unicodedata.normalize("NFD", "옵니까" if last.form.endswith("까") else "옵니다")]
    if last.form not in _ARCHAIC or last.form == "오" and (before.form, before.tag) in (("시", "EP"), ("아니", "VCN")):
        return None
    found = ENDINGS.get(unicodedata.normalize("NFD", last.form))
    return found if found is not None and found.old else None


def _veto(reading: Reading, tokens: list[Token]) -> Reading:
    """Drop a short archaic ending where Kiwi sees a noun, or a noun with the plain copula 이다."""
    word = _HANGUL_WORD_RE.search(reading.core.rstrip(" .!?…~,\"'”’")) if reading.ending is not None else None
    last = tokens[-1]
    if word is None or reading.ending.guard not in _NOUNISH or word.group()[-1] != reading.ending.form[-1]:
        return reading
    behind_stem = len(tokens) > 1 and tokens[-2].tag in _STEMS and len(last.form) < len(word.group())
    if last.tag == "NNG" and len(last.form) >= 2 and word.group().endswith(last.form) and not behind_stem:
        return reading._replace(ending=None, lean=EITHER)
    if len(tokens) >= 3 and (last.form, last.tag, tokens[-2].tag, tokens[-3].tag) == ("다", "EF", "VCP", "NNG"):
        noun = tokens[-3].form
        if len(noun) >= 3 and word.group() in (noun + "이다", noun + "다"):
            return reading._replace(ending=ENDINGS[unicodedata.normalize("NFD", "다")], lean=MODERN)
    return reading


def _modern(reading: Reading, tokens: list[Token]) -> Reading:
    """A modern ending for a sentence in which the table found none."""
    last = tokens[-1]
    if last.tag == "ETN":
        return reading._replace(ending=ENDINGS[unicodedata.normalize("NFD", "음")], lean=MOSTLY_MODERN)
    if last.tag != "EF":
        return reading
    form = "요" if last.form.endswith("요") else "아" if last.form in ("아", "어") else last.form
    ending = ENDINGS.get(unicodedata.normalize("NFD", form))
    return reading._replace(ending=ending, lean=ending.lean) if ending is not None and ending.new and not ending.old else reading
