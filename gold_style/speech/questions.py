"""Guards of questions, vows and rhetoric: 어찌하리오, 이루리라, and the shared -는가.

>>> vow_or_rhetorical_question(Candidate("어찌하리오", "어찌하", "-리오"))
True
>>> vow_or_rhetorical_question(Candidate("시나리오", "시나", "-리오"))
False
"""

from __future__ import annotations

from gold_style.speech.candidate import NOUNS, Candidate
from gold_style.speech.endings import JOSEON, MOSTLY_JOSEON
from gold_style.speech.stems import is_liquid_stem, is_stem
from gold_style.speech.tables import read_words

LISTS = read_words("questions")


def _asks(candidate: Candidate) -> bool:
    return any(word in LISTS.asking for word in candidate.before)


def vow_or_rhetorical_question(candidate: Candidate) -> bool | str:
    """-리라, -리오 after a stem: 하리라, 어찌하리오; not 소리라, 시나리오."""
    stem = candidate.stem
    if is_liquid_stem(stem):
        return MOSTLY_JOSEON
    if stem in LISTS.needs_company:
        return bool(candidate.before)
    if stem.endswith("으"):
        return JOSEON
    if stem + "리" in NOUNS.ri:
        return JOSEON if _asks(candidate) and is_stem(stem) else False
    return is_stem(stem)


def bare_vow_or_question(candidate: Candidate) -> bool:
    """-리 in a rhetorical question or vow: 어찌하리, 무엇하리, 잊으리; only after -으- or with a question word."""
    stem = candidate.stem
    if stem in ("어찌하", "어이하", "무엇하") or stem.endswith("으") and len(stem) > 1:
        return True
    return _asks(candidate) and is_stem(stem) and stem + "리" not in NOUNS.ri


def wondering_about_future(candidate: Candidate) -> bool:
    """-ㄹ고: 어이할고, 누가 갈고; not 갈고 (갈다) without a question word."""
    return bool(candidate.stem) and (candidate.stem in ("어이하", "어찌하") or _asks(candidate))


def shared_question(candidate: Candidate) -> bool:
    """-는가, -ㄴ가: questions of 하게체 and of modern prose alike; not 전문가, 단가, 휴가."""
    if candidate.form != "-ㄴ가":
        return bool(candidate.stem) or candidate.form == "-던가"
    adnominal = candidate.word not in NOUNS.ga and candidate.word[-2] in LISTS.adnominal
    return adnominal or candidate.stem == "누구"  # 거기 누군가?


def indignant_question(candidate: Candidate) -> bool | str:
    """-란 말이냐, -단 말이냐: indignation of lords; plain 말이냐 is open."""
    return MOSTLY_JOSEON if not candidate.stem and candidate.previous.endswith(("란", "단", "냔", "잔")) else True
