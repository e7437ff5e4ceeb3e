"""Guards of endings that modern speech owns or shares: -네, -지, -다, -요, and nouns that only look like them.

>>> plain(Place("그렇", (), "-다")), plain(Place("바", (), "-다"))
('modern', None)
"""

from __future__ import annotations

from gold_style.speech.endings import EITHER, MODERN, MOSTLY_JOSEON, MOSTLY_MODERN
from gold_style.speech.place import Place
from gold_style.speech.stems import final_consonant, is_closed_stem, is_predicate, is_stem

_HOUSEHOLDS = frozenset("자 동 그 당신 우리 너희 아낙 여편 어".split())


def wonder(place: Place) -> str | None:
    """-네: shared by 하게체 and modern speech; not the pronouns and households 자네, 우리네, 그네, 동네."""
    return EITHER if place.stem and place.stem not in _HOUSEHOLDS else None


_NOUNS_DA = frozenset(
    "바다 캐나다 판다 한바다 밤바다 겨울바다 여름바다 마다 저마다 람다 혼다 소다 수다 베란다 플로리다 린다 레서판다 유다".split()
)


def told(place: Place) -> str | None:
    """-다네, -라네 after a clause: 좋다네, 꿈이라네; not 바라-네, 자라-네."""
    stem = place.stem
    if place.form == "-다네":
        clause = is_predicate(stem) or bool(stem) and final_consonant(stem[-1]) == 4
        return MOSTLY_JOSEON if clause and stem + "다" not in _NOUNS_DA else None
    return MOSTLY_JOSEON if stem and (stem[-1] in "이아니하" or stem.endswith(("으", "더"))) else None


_NOUNS_YO = frozenset("필요 중요 수요 강요 민요 동요 주요 개요 소요 고요 월요 목요 금요 토요 일요 화요 법요 요요".split())


def polite(place: Place) -> str | None:
    """-요 on a predicate or, in speech, on anything; not the nouns 필요, 수요, 동요."""
    stem = place.stem
    noun = stem + "요" in _NOUNS_YO or stem.endswith(("대중가", "불필", "긴급수"))
    return MODERN if stem and not noun else None


def plain(place: Place) -> str | None:
    """-다 of books and newspapers; 바다, 캐나다 and other nouns stay undecided."""
    return MODERN if place.stem and place.stem + "다" not in _NOUNS_DA else None


_NOUNS = frozenset(
    "아버지 할아버지 강아지 송아지 망아지 바지 편지 돼지 까지 휴지 반지 먼지 한가지 여러가지 토지 복지 단지 "
    "잡지 무지 "
    "하나 누나 어머니 할머니 언니 주머니 남자 여자 의자 과자 모자 사자 혼자 각자 글자 숫자 환자 기자 독자 저자 학자 "
    "부자 "
    "제자 피자 상자 그림자 정자 탁자 액자 문자 한자 감자 이야 분야 시야 광야 평야 심야 이미지 메시지 페이지 홈페이지 "
    "소시지 "
    "오렌지 스펀지".split()
)


def spoken(place: Place) -> str | None:
    """-지, -나, -니, -자, -야 of everyday speech; not 아버지, 하나, 어머니, 남자."""
    stem, form = place.stem, place.form
    if not stem or stem + form[1:] in _NOUNS or form == "-지" and stem.endswith(("강아", "바", "편", "까")):
        return None
    if form == "-렴" and not is_stem(stem):  # 폐렴, 후렴
        return None
    return MODERN if form.endswith(("야", "렴")) else MOSTLY_MODERN


def linked(place: Place) -> str | None:
    """-고, -며, -면, ...: a clause that goes on; it stays ambiguous whatever its vocabulary."""
    return EITHER if place.stem else None


_NOUNS_EUM = frozenset(
    "믿음 웃음 죽음 젊음 걸음 울음 물음 녹음 묶음 볶음 복음 흡음 방음 잡음 화음 소음 얻음 첫걸음 비웃음 눈웃음 헛웃음 발걸음".split()
)

_OFFICES = "책선담신연전상역중겸불운절현원임단"  # 책임, 담임, ...: nouns


def nominal(place: Place) -> str | None:
    """-음, -ㅁ, -듯 of notes: 있음, 제출함, 좋을 듯; only where the stem looks like a predicate."""
    stem, form = place.stem, place.form
    if form == "-듯":
        return MODERN if place.before else None
    if not stem:
        return None
    if form in ("-음", "-슴"):
        return MODERN if is_closed_stem(stem) and stem + "음" not in _NOUNS_EUM else None
    if len(stem) == 2 and stem[-1] == "이" and final_consonant(stem[0]):  # 네 탓임: a closed noun and the copula
        return MODERN if place.before and stem[0] not in _OFFICES else None
    predicate = is_stem(stem) or stem.endswith("이") and len(stem) > 2
    return MODERN if predicate and stem not in ("그리", "사", "하지", "거") else None
