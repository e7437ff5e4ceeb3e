"""Guards of statements: is this suffix the ending, or part of a noun, a name, a modern verb?

>>> humble_not_coming(Candidate("망극하옵니다", "망극하", "-옵니다")), humble_not_coming(Candidate("돌아옵니다", "돌아", "-옵니다"))
(True, False)
"""

from __future__ import annotations

from gold_style.speech.candidate import NOUNS, Candidate
from gold_style.speech.endings import EITHER, JOSEON, MODERN, MOSTLY_JOSEON
from gold_style.speech.stems import NIEUN, final_consonant, is_closed_stem, is_converb, is_liquid_stem, is_predicate, is_stem
from gold_style.speech.tables import read_words

LISTS = read_words("statements")


def humble_not_coming(candidate: Candidate) -> bool | str:
    """-옵니다, -옵니까: -옵- after a stem or noun is archaic; 오다 and its compounds are not (비가 옵니다, 돌아옵니다)."""
    stem, previous = candidate.stem, candidate.previous
    if stem == "사":  # 사-옵니다: 살다 (에 사옵니다) or 사 오다 (빵을 사옵니다)
        return previous.endswith(("에", "에서"))
    if stem == "비":  # 빌다, or rain
        return bool(previous)
    if stem.endswith(("보내", "지내", "자라")):  # 보내-옵-니다, or 보내 오다
        return EITHER
    known = stem == "아" or stem == "나" and previous in LISTS.feelings  # 알다, 나다
    return known or bool(stem) and not final_consonant(stem) and not _is_coming(stem)


def _is_coming(stem: str) -> bool:
    """Whether 오다 ("come") follows: after a converb (돌아), not after a stem that only looks like one."""
    compound = stem in LISTS.coming and not stem.endswith("비싸")
    return compound or stem not in LISTS.not_converb and is_converb(stem)


def report_not_noun(candidate: Candidate) -> bool:
    """-나이다 after a predicate; not noun + 이다: 사나이다, 하나이다 (unless 하- is an auxiliary: 가고자 하나이다)."""
    if candidate.stem == "하":
        return candidate.previous in LISTS.before_auxiliary
    return (is_predicate(candidate.stem) or candidate.has_object) and candidate.word not in NOUNS.naida


def humble_report_not_noun(candidate: Candidate) -> bool:
    """-오이다: 모르오이다; not noun + 이다: 라디오이다."""
    stem = candidate.stem
    return stem + "오" not in NOUNS.o and (is_stem(stem) or stem.endswith(("으", "이", "니")))


def proposal_not_noun(candidate: Candidate) -> bool:
    """-사이다, "let us": 물리치사이다, 함께 가사이다; not noun + 이다: 회사이다."""
    stem, previous = candidate.stem, candidate.previous
    serves = stem != "가" and is_converb(previous) and len(previous) > 1 and previous in LISTS.serving
    if stem in ("가", "주", "보", "두") and (previous in LISTS.together or serves):
        return True
    if stem.endswith("옵") or candidate.has_object and len(stem) > 1:
        return True
    known = stem == "하" or len(stem) > 1 and (is_stem(stem) or stem[-1] in "시으가")
    return known and candidate.word not in NOUNS.saida


def vow_not_noun(candidate: Candidate) -> bool:
    """-리이다 after a stem: 하리이다, 알리이다; not noun + 이다: 오리이다, 자리이다."""
    stem, previous = candidate.stem, candidate.previous
    if candidate.has_object and stem:
        return True
    if len(stem) == 1 and stem not in "하되가두":
        modified = previous in LISTS.topics or final_consonant(previous) == NIEUN  # 저 새는 오리이다
        if stem not in "오보주쓰" or modified or not candidate.before:
            return False
    return is_liquid_stem(stem) or is_stem(stem) and stem + "리" not in NOUNS.ri


def statement_after_consonant(candidate: Candidate) -> bool | str:
    """-소, -소이다 after a consonant-final stem: 있소, 높소, 했소; not 장소, 젖소, 연구소."""
    stem = candidate.stem
    if is_closed_stem(stem) and stem + "소" not in NOUNS.so:
        return True
    pleading = candidate.form == "-소" and candidate.before and stem in LISTS.pleading
    return EITHER if pleading else False  # 들어 보소: old, or southern speech


def statement_after_vowel(candidate: Candidate) -> bool | str:
    """-오 after an open stem: 하오, 모르오, 사람이오; not 라디오, 정오; 아니오 by itself is "no"."""
    stem, previous = candidate.stem, candidate.previous
    noun = stem + "오" in NOUNS.o or stem == "니하" or stem == "바이" and not previous.endswith("는")
    spaghetti = stem == "올리" and previous == "알리오" or stem.endswith("알리오올리")
    groan = stem == "아" and previous not in LISTS.before_ao or set(stem) == {"오"} and not candidate.before
    if not stem or noun or spaghetti or groan:
        return False
    if stem == "아니":
        return JOSEON if previous and previous not in LISTS.before_no else MODERN
    return candidate.is_verb or is_stem(stem) or stem[-1] == "으" or stem[-1] == "이" and len(stem) > 1


def promise_not_dictionary_form(candidate: Candidate) -> bool | str:
    """-리다 after a stem: 하리다, 알려드리리다; not the dictionary forms 기다리다, 내리다, 가리다."""
    stem, previous = candidate.stem, candidate.previous
    if candidate.word in LISTS.dictionary_rida:
        return False
    if len(stem) == 1 and stem not in "하되":
        if stem in "주보" and is_converb(previous):
            return MOSTLY_JOSEON
        verb = stem in "보주" or stem in "가오" and not previous.endswith(("을", "를"))
        return EITHER if previous and verb else False
    return is_stem(stem) or stem.endswith("으")


def promise_not_noun(candidate: Candidate) -> bool:
    """-(으)ㅁ세, a promise: 함세, 봄세, 줌세; not 감세 (tax cut), 오름세 (a rise)."""
    first = not candidate.before and candidate.word in ("감세", "남세", "참세")
    return is_stem(candidate.stem) and not first and candidate.word not in ("오름세", "내림세")


def suggestion_not_noun(candidate: Candidate) -> bool:
    """-세, "let us": 가세, 마시세, 생각해 보세; not 만세, 전세, 상승세."""
    stem = candidate.stem
    if len(stem) == 1:
        return stem in "가하쉬치쏘뛰" or stem in "보두오" and bool(candidate.before)
    return candidate.is_verb or is_stem(stem, honorific=False) and not stem.endswith(("안녕하", "도와주"))


def exclamation_not_noun(candidate: Candidate) -> bool:
    """-도다 after a stem: 크도다, 높도다, 사라지도다; not 제주도다, 온도다, 시도다."""
    stem = candidate.stem
    if is_closed_stem(stem) and stem not in LISTS.closed_before_do:
        return True
    if len(stem) == 1:
        return stem in "알살길멀달하크가오되" or stem == "서" and bool(candidate.before)
    return is_liquid_stem(stem) or (is_stem(stem) or candidate.is_verb) and stem not in LISTS.degrees


def sigh_of_adjective(candidate: Candidate) -> bool:
    """-(으)이, an exclamation of 하게체 adjectives: 고마우이, 미안하이, 좋으이; not 상하이."""
    stem = candidate.stem
    of_ha = stem.endswith("하") and stem not in ("하", "상하", "오하")
    return stem in LISTS.sighs or of_ha and (bool(candidate.before) or stem in ("미안하", "그러하"))


def hearsay(candidate: Candidate) -> bool | str:
    """-다오, -라오, -자오 after a clause: 좋다오, 것이라오; 라오 by itself is a country, 다오 by itself asks for something."""
    return bool(candidate.stem) or (JOSEON if candidate.form == "-다오" and candidate.before else False)


def retold_remark(candidate: Candidate) -> bool:
    """-다네, -라네 after a clause: 좋다네, 꿈이라네; not 바라-네, 자라-네."""
    stem = candidate.stem
    if candidate.form == "-다네":
        return (is_predicate(stem) or final_consonant(stem) == NIEUN) and stem + "다" not in NOUNS.da
    return stem in LISTS.reported_by_ra


def note_not_noun(candidate: Candidate) -> bool:
    """-음, -ㅁ, -듯 of notes: 있음, 제출함, 좋을 듯; only where the stem looks like a predicate."""
    stem, form = candidate.stem, candidate.form
    if form == "-듯":
        return bool(candidate.before)
    if form in ("-음", "-슴"):
        return is_closed_stem(stem) and stem + "음" not in NOUNS.eum
    if len(stem) == 2 and stem[1] == "이" and final_consonant(stem[0]):  # 네 탓임: a closed noun and the copula
        return bool(candidate.before) and candidate.word not in NOUNS.im
    predicate = is_stem(stem) or stem.endswith("이") and len(stem) > 2
    return predicate and stem not in ("그리", "사", "하지", "거")
