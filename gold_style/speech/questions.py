"""Guards of questions, vows and rhetoric: 어찌하리오, 누구인고, 하더냐, 이루리라, and the shared -는가.

>>> rhetoric(Place("어찌하", (), "-리오")), rhetoric(Place("시나", ("새",), "-리오"))
('joseon', None)
"""

from __future__ import annotations

from gold_style.speech import stems
from gold_style.speech.endings import EITHER, JOSEON, MOSTLY_JOSEON
from gold_style.speech.place import Place
from gold_style.speech.stems import is_liquid_stem, is_predicate, is_reported, is_stem, with_nieun

_ASKING = ("어찌", "어이", "누가", "누구", "무엇", "뉘", "언제", "얼마")


def _asks(place: Place) -> bool:
    return any(word.startswith(_ASKING) for word in place.before)


def rhetoric(place: Place) -> str | None:
    """-리라, -리오, -랴 after a stem: 하리라, 어찌하리오, 가랴; not 소리라, 시나리오."""
    stem, form = place.stem, place.form
    if form == "-랴":
        return JOSEON if is_stem(stem) or is_liquid_stem(stem) or stem[-1:] in ("으", "리") else None
    if is_liquid_stem(stem):
        return MOSTLY_JOSEON
    lean = MOSTLY_JOSEON if form == "-리라" else JOSEON
    if stem in tuple("오보가주크자사"):  # 오리, 보리, 자리 are nouns as well
        return lean if place.before else None
    if stem.endswith("으"):
        return JOSEON
    if stem + "리" in stems.NOUNS_RI:
        return JOSEON if _asks(place) and is_stem(stem) else None
    return lean if is_stem(stem) else None


def rhetoric_ri(place: Place) -> str | None:
    """-리 in a rhetorical question or vow: 어찌하리, 무엇하리, 잊으리; only after -으- or with a question word."""
    stem = place.stem
    if stem in ("어찌하", "어이하", "무엇하") or stem.endswith("으") and len(stem) > 1:
        return JOSEON
    return JOSEON if _asks(place) and is_stem(stem) and stem + "리" not in stems.NOUNS_RI else None


def nyo(place: Place) -> str | None:
    """-뇨, an archaic question: 어찌하뇨, 누구뇨, 있느뇨; not 당뇨, 이뇨, 분뇨."""
    stem = place.stem
    if not stem or stem in ("비", "당"):
        return None
    return JOSEON if stem[-1] in "하느으구디되시" or stem.endswith("이") and len(stem) > 1 else None


def recall(place: Place) -> str | None:
    """-더냐 after a stem or a reported clause: 하더냐, 온다더냐; not 리더-냐."""
    return JOSEON if is_predicate(place.stem) or is_reported(place.stem) else None


def adjective_go(place: Place) -> str | None:
    """-ㄴ고, -ㄹ고: 누구인고, 어떠한고, 어이할고; not 신고, 안고, 갈고, 참고."""
    stem = place.stem
    if place.form == "-ㄹ고":
        return JOSEON if stem and (_asks(place) or stem in ("어이하", "어찌하")) else None
    return JOSEON if len(stem) >= 2 and with_nieun(stem)[-1] in "한인은큰쁜픈른운던린" else None


def dream(place: Place) -> str | None:
    """-런가 after 이-: 꿈이런가; not 그런가, 이런가."""
    return JOSEON if len(place.stem) >= 2 and place.stem[-1] in "이더하" else None


_ADNOMINAL = frozenset("는은던한인큰된쁜픈른운린긴신건난싼센단쓴친킨준온본간산든만먼연찬빈흔겐")
_NOUNS_GA = frozenset("인가 단가 원가 작가 친가 연가 본가 만가 산가 건가 신가 진가 찬가 민가 분가 논가".split())


def query(place: Place) -> str | None:
    """-는가, -ㄴ가: questions of 하게체 and of modern prose alike; not 전문가, 단가, 휴가."""
    if place.form != "-ㄴ가":
        return EITHER if place.stem or place.form == "-던가" else None
    if place.stem == "누구":  # 거기 누군가?
        return EITHER
    word = with_nieun(place.stem) + "가" if place.stem else ""
    if not word or word in _NOUNS_GA or word.endswith(("휴가", "전문가", "평론가", "투자가", "단가", "원가")):
        return None
    return EITHER if word[-2] in _ADNOMINAL else None


def indignant(place: Place) -> str | None:
    """-란 말이냐, -단 말이냐: indignation of lords; plain 말이냐 is open."""
    return MOSTLY_JOSEON if not place.stem and place.last.endswith(("란", "단", "냔", "잔")) else EITHER
