"""Guards of statements: is this suffix the archaic ending, or a noun, a name, a modern verb?

>>> come(Place("망극하", ("성은이",), "-옵니다")), come(Place("돌아", ("그가",), "-옵니다"))
('joseon', None)
"""

from __future__ import annotations

from gold_style.speech import stems
from gold_style.speech.endings import EITHER, JOSEON, MODERN, MOSTLY_JOSEON
from gold_style.speech.place import Place
from gold_style.speech.stems import final_consonant, is_closed_stem, is_converb, is_liquid_stem, is_predicate, is_reported, is_stem

_RIEUL, _NIEUN = 8, 4

# 옵니다 after an open vowel is 오다 ("come") after a converb, except after these archaic stems and nouns.
_NOT_CONVERB = tuple(
    "하 가 바라 놀라 모자라 나라 차 자 사 마 비싸 만나 일어나 태어나 나타나 빛나 끝나 어긋나 드러나 떠나 머 거 "
    "떠나가 소녀 궁녀 처녀 부녀 시녀 세 베 데 에 개 재 새 채 때 배 매 끝내 아내 사내 견뎌내 해내 이뤄내 "
    "대 애 예 제 네 체 폐 남자 여자 제자 군자 부자 타 노래 바다 아가 누가 저하 전하 폐하 천하 신하".split()
)
_COMING = frozenset("나 지나 다녀 건너 가져 데려".split())
_COMING_NOUNS = ("이사", "휴가", "나들이", "장가", "면회", "건네")
_COME_TOGETHER = ("다가", "해", "깨", "싸", "타")
_FEELINGS = frozenset("화가 겁이 탐이 의심이 부아가 짜증이 역정이 욕심이 샘이 소문이 엄두가".split())


def come(place: Place) -> str | None:
    """-옵니다, -옵니까: -옵- after a stem or noun is archaic; 오다 and compounds are not (비가 옵니다, 돌아옵니다)."""
    stem, last = place.stem, place.last
    if stem == "사":  # 사-옵니다: 살다 (에 사옵니다) or 사 오다 (빵을 사옵니다)
        return JOSEON if last.endswith(("에", "에서")) else None
    if stem == "아":  # 알다
        return JOSEON
    if stem == "비":  # 빌다, or rain
        return JOSEON if last else None
    if stem.endswith(("보내", "지내", "자라")):  # 보내-옵-니다, or 보내 오다
        return EITHER
    if stem == "나" and last in _FEELINGS:
        return JOSEON
    return JOSEON if stem and not final_consonant(stem[-1]) and not _is_coming(stem) else None


def _is_coming(stem: str) -> bool:
    """Whether 오다 ("come") follows: after a converb (돌아), not after a stem that only looks like one."""
    if stem.endswith(("고", "러")) and not stem.endswith(("최고", "창고", "광고", "원고")):
        return True
    if stem in _COMING or stem.endswith(_COMING_NOUNS) or stem.endswith(_COME_TOGETHER) and not stem.endswith("비싸"):
        return True
    if stem.endswith(_NOT_CONVERB) or len(stem) > 1 and stem[-1] == "사":
        return False
    return is_converb(stem)


_BEFORE_HA = tuple("고자 려 라 게 야 니 을 를 까 면 록 다 듯 히 로".split())
_TOPICAL = ("은", "는", "이", "가", "도", "의", "중", "가운데", "또")


def copula(place: Place) -> str | None:
    """-나이다, -더이다, -오이다, ...: not where noun + 이다 looks the same (사나이다, 리더이다, 오이다, 회사이다)."""
    if place.governed and place.form[1] in "나더리" and place.stem and place.stem + "나이" not in stems.NOUNS_NAI:
        return JOSEON
    return JOSEON if _COPULA[place.form[1]](place) else None


def _topical(place: Place) -> bool:
    """Whether the eojeol before is a topic or modifies a noun: then noun + 이다 follows (저 새는 오리이다)."""
    return place.last.endswith(_TOPICAL) or bool(place.last) and final_consonant(place.last[-1]) == _NIEUN


def _naida(place: Place) -> bool:
    if place.stem == "하":  # 하나 + 이다, unless an auxiliary 하- can follow: 가고자 하나이다
        return place.last.endswith(_BEFORE_HA)
    return is_predicate(place.stem) and place.stem + "나이" not in stems.NOUNS_NAI and place.stem != "하나하"


def _deoida(place: Place) -> bool:
    return is_predicate(place.stem) or is_reported(place.stem)


def _oida(place: Place) -> bool:
    stem = place.stem
    return bool(stem) and not (stem + "오").endswith(stems.NOUNS_O) and (is_stem(stem) or stem[-1] in "으이니")


_TOGETHER = ("함께", "같이", "어서", "이제", "모두", "다")


def _saida(place: Place) -> bool:
    stem = place.stem
    if stem in tuple("가주보두") and (place.last in _TOGETHER or stem != "가" and _serves(place)):
        return True
    if stem.endswith("옵") or place.governed and len(stem) >= 2:
        return True
    if stem + "사이" in stems.NOUNS_SAI:
        return False
    return stem == "하" or len(stem) >= 2 and (stem.endswith(("하", "시", "으", "가")) or is_stem(stem))


def _serves(place: Place) -> bool:
    """Whether the eojeol is an auxiliary after a converb: 헤아려 주-, 살펴 보-; not 이거 주-."""
    return is_converb(place.last) and len(place.last) > 1 and place.last[-1] in "려어아여펴켜쳐져와워해줘봐내"


def _riida(place: Place) -> bool:
    stem = place.stem
    if len(stem) == 1 and stem not in "하되가두" and (stem not in "오보주쓰" or _topical(place) or not place.before):
        return False
    return is_liquid_stem(stem) or is_stem(stem) and stem + "리" not in stems.NOUNS_RI


def _jiida(place: Place) -> bool:
    return place.stem.endswith(("어", "여", "아")) and not place.stem.endswith(("강아", "송아", "망아"))


def _niida(place: Place) -> bool:
    return place.stem.endswith(("이", "하", "으", "되", "시"))


_COPULA = {"나": _naida, "더": _deoida, "오": _oida, "사": _saida, "리": _riida, "지": _jiida, "니": _niida}


def entreaty(place: Place) -> str | None:
    """-소서 after a stem: 하소서, 주소서; 소서 alone is a day in July."""
    stem = place.stem
    return JOSEON if stem and (not final_consonant(stem[-1]) or is_closed_stem(stem)) else None


def closed(place: Place) -> str | None:
    """-소 after a consonant-final stem: 있소, 높소, 했소; not 장소, 젖소, 연구소."""
    stem = place.stem
    if is_closed_stem(stem) and stem + "소" not in stems.CLOSED_NOUNS:
        return JOSEON
    pleading = stem in tuple("하오가보주마") or stem.endswith(("해주", "어주", "여주", "하시", "오시"))
    return EITHER if place.form == "-소" and place.before and pleading else None  # 들어 보소: old, or southern speech


_OUTSIDE = frozenset(
    "의외 예외 야외 해외 시외 과외 국외 교외 열외 제외 소외 참외 이외 대외 내외 장외 실외 옥외 섭외 호외 가외 외 그외 "
    "사외 권외 역외".split()
)


def outside(place: Place) -> str | None:
    """-외다 after a stem or noun: 말이외다, 오해외다; not 의외다, 예외다, 해외다."""
    stem = place.stem
    return JOSEON if stem and stem + "외" not in _OUTSIDE and not final_consonant(stem[-1]) else None


def vowel(place: Place) -> str | None:
    """-오 after an open stem: 하오, 모르오, 사람이오; not 라디오, 정오; 아니오 alone is "no"."""
    stem, last = place.stem, place.last
    if not stem or (stem + "오").endswith(stems.NOUNS_O) or stem == "니하" or stem == "바이" and last[-1:] != "는":
        return None
    if stem == "올리" and last == "알리오" or stem.endswith("알리오올리"):
        return None  # a spaghetti
    if stem == "아" and not last.endswith(("을", "를", "줄", "지", "걸", "나", "도", "바", "이", "잘", "다")):
        return None  # 아오, a groan
    if set(stem) == {"오"} and not place.before:
        return None  # 오오
    if stem == "아니":
        return JOSEON if last and last not in ("예", "네", "또는", "혹은", "아니면") else MODERN
    if place.governed and len(stem) >= 2 and not final_consonant(stem[-1]):
        return JOSEON
    return JOSEON if is_stem(stem) or stem[-1] == "으" or stem[-1] == "이" and len(stem) >= 2 else None


def humble(place: Place) -> str | None:
    """-올지요, -올까요 after a humble stem: 어떠하올지요; not 비가 올지요, 나올까요."""
    return JOSEON if place.stem.endswith(("하", "되", "드리", "아뢰", "여쭈", "올리", "시")) else None


def verb(place: Place) -> str | None:
    """-오리다, -오리이다 after an open stem: 하오리다; not 가오리-다 (a ray)."""
    known = is_stem(place.stem) or place.governed and len(place.stem) >= 2 and not final_consonant(place.stem[-1])
    return JOSEON if known and place.stem != "가" else None


def remark(place: Place) -> str | None:
    """-구려, -구료 after a stem; 고구려 is a kingdom, 구려 alone is slang, 연구료 a fee."""
    fee = place.form == "-구료" and place.stem.endswith(("연", "요", "탐"))
    return JOSEON if place.stem and place.stem not in ("싸", "고", "후고") and not fee else None


_DICTIONARY_RIDA = frozenset("굶주 드 두드 거느 기다 헤아 다스 부 도 꺼 누 데 때 노".split())


def promise(place: Place) -> str | None:
    """-리다 after a stem: 하리다, 알려드리리다; not the dictionary forms 기다리다, 내리다, 가리다."""
    stem, last = place.stem, place.last
    if stem in _DICTIONARY_RIDA or stem.endswith(("내", "버", "그")):
        return None
    if len(stem) == 1 and stem not in "하되":
        if stem in "주보" and is_converb(last):
            return MOSTLY_JOSEON
        open_verb = stem in "보주" or stem in "가오" and not last.endswith(("을", "를"))
        return EITHER if last and open_verb else None
    return JOSEON if is_stem(stem) or stem.endswith("으") else None


def hortative(place: Place) -> str | None:
    """-세, "let us": 가세, 마시세, 생각해 보세; not 만세, 전세, 상승세."""
    stem = place.stem
    if len(stem) == 1:
        return JOSEON if stem in "가하쉬치쏘뛰" or stem in "보두오" and place.before else None
    if place.governed and len(stem) >= 2 and not final_consonant(stem[-1]):
        return JOSEON
    return JOSEON if is_stem(stem, honorific=False) and not stem.endswith(("안녕하", "도와주")) else None


def mse(place: Place) -> str | None:
    """-(으)ㅁ세, a promise: 함세, 봄세, 줌세; not 감세 (tax cut), 오름세 (a rise)."""
    if place.stem in ("오르", "내리"):
        return None
    return JOSEON if is_stem(place.stem) and (place.before or place.stem not in ("가", "나", "차")) else None


_DEGREES = tuple("난이 제주 성취 만족 선호 인지 완성 신뢰 충성 이해 기여 참여 숙련 집중 중요".split())


def exclaim(place: Place) -> str | None:
    """-도다 after a stem: 크도다, 높도다, 사라지도다; not 제주도다, 온도다, 시도다."""
    stem = place.stem
    if is_closed_stem(stem) and stem[-1] not in "입식작막잡집":
        return JOSEON
    if stem in tuple("알살길멀달") or stem.endswith(stems.LONG_LIQUID_STEMS):
        return JOSEON
    if len(stem) == 1:
        return JOSEON if stem in "하크가오되" or stem == "서" and place.before else None
    known = is_stem(stem) or place.governed and not final_consonant(stem[-1])
    return JOSEON if known and not stem.endswith(_DEGREES) else None


def noun_ro(place: Place) -> str | None:
    """-로다 after a vowel-final noun: 때로다, 솜씨로다; not 별로다, 도로다, 회로다."""
    if not place.stem or final_consonant(place.stem[-1]):
        return None
    word = place.stem + "로"
    return None if word in stems.NOUNS_RO or word.endswith(stems.ROADS) else JOSEON


def tell(place: Place) -> str | None:
    """-니라 after 이-, 하-, -시-, ...: 것이니라, 하니라; 아니라 is a connective."""
    stem = place.stem
    return JOSEON if stem and stem != "아" and (stem[-1] in "이하시으되지느더오가리치터" or is_stem(stem)) else None


_SISTERS = frozenset("큰 작은 막내 둘째 첫째 셋째 친 사촌 외사촌".split())


def sister(place: Place) -> str | None:
    """-누나 after a stem: 오누나, 지누나, 있누나; not 우리 누나, 큰누나."""
    verbal = is_stem(place.stem) or is_closed_stem(place.stem)
    return JOSEON if verbal and place.stem not in _SISTERS else None


def stemmed(place: Place) -> str | None:
    """-느니, -노니 after a stem; not 노니, 느니 themselves (놀다, 늘다)."""
    if not place.stem or place.stem == "뛰":
        return None
    return MOSTLY_JOSEON if place.form == "-느니" else JOSEON


def praise(place: Place) -> str | None:
    """-ㄴ지고, -로고, praise and blame: 기특한지고, 절경이로고; not 던지-고, 만지-고, 회사 로고."""
    if place.form == "-로고":
        return JOSEON if place.stem.endswith("이") else None
    return JOSEON if place.stem and stems.with_nieun(place.stem)[-1] in "한은인운른쁜픈큰얀긴" else None


_SIGHS = tuple("고마우 반가우 아쉬우 놀라우 어려우 부러우 괴로우 부끄러우 무거우 가벼우 두려우 그리우 좋으 싶으 많으 없으".split())


def sigh(place: Place) -> str | None:
    """-(으)이, an exclamation of 하게체 adjectives: 고마우이, 미안하이, 좋으이; not 상하이."""
    stem = place.stem
    of_ha = stem.endswith("하") and len(stem) > 1 and stem not in ("상하", "오하")
    return JOSEON if stem.endswith(_SIGHS) or of_ha and (place.before or stem in ("미안하", "그러하")) else None


def hearsay(place: Place) -> str | None:
    """-다오, -라오, -자오 after a clause: 좋다오, 것이라오; 라오 alone is a country, 다오 alone asks for something."""
    if place.stem:
        return MOSTLY_JOSEON
    return JOSEON if place.form == "-다오" and place.before else None


def servant(place: Place) -> str | None:
    """-ㅂ지요, a servant's answer: 합지요; not the adjectives 즐겁-지요, 덥-지요."""
    return EITHER if place.stem and place.stem[-1] in "하이되시드리올오가바알" else None
