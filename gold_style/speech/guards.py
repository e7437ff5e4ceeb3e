"""Guards of homographs: is this suffix the archaic ending, or a noun, a modern verb, a sign?

A guard takes the stem in front of an ending and the eojeols before it, and returns how the ending leans there (one of the
five leans of `endings.py`), or None when the suffix is not this ending at all and a shorter one should be tried.

    >>> come("망극하", ["성은이"], "-옵니다"), come("돌아", ["그가"], "-옵니다")
    ('joseon', None)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gold_style.speech import stems
from gold_style.speech.endings import EITHER, JOSEON, MODERN, MOSTLY_JOSEON, MOSTLY_MODERN
from gold_style.speech.stems import final_consonant, is_closed_stem, is_converb, is_liquid_stem, is_stem

Guard = Callable[[str, Sequence[str], str], str | None]

# 옵니다 after an open vowel is 오다 ("come") after a converb, except after these archaic stems and nouns.
_NOT_CONVERB = (
    "하 가 바라 놀라 모자라 자라 나라 차 자 사 마 비싸 만나 일어나 태어나 나타나 빛나 끝나 어긋나 드러나 떠나 머 거 떠나가 소녀 궁녀 처녀 부녀 시녀 세 베 데 에 "
    "개 재 새 채 때 배 매 보내 지내 끝내 아내 사내 견뎌내 해내 이뤄내 대 애 예 제 네 체 폐 남자 여자 제자 군자 부자 타 아가 누가 저하 전하 폐하 천하 신하"
).split()
_COME_TOGETHER = ("다가", "해", "깨", "싸", "타")
_COMING = ("나", "지나", "다녀", "건너", "가져", "데려")
_FEELINGS = frozenset("화가 겁이 탐이 의심이 부아가 짜증이 역정이 욕심이 샘이 소문이 엄두가".split())
_SIGN_VERBS = (
    "미 당기 고르 쓰 답하 서술하 구하 설명하 작성하 기재하 기입하 표시하 체크하 누르 입력하 선택하 채우 나열하 증명하 계산하 푸 적 비교하 제출하 주의하 유의하 논하 "
    "정의하 요약하 번역하 완성하 찾 연결하 써넣 멈추 멈춰서 켜 끄 잠그 확인하 기술하 제시하 분석하 배열하 고치 해석하 참고하 참조하 분류하 추론하 측정하 구분하 출력하 "
    "구현하 실행하 클릭하 삭제하 저장하 정리하 나타내 표현하 토론하 조사하 관찰하 열거하 짝지으 괄호 밑줄치 이용하 사용하 줄이 문의하 연락하 신고하 대피하 착용하 서행하 정지하"
).split()
_SIGN_MUST_NOT = (
    "들어가 만지 손대 기대 뛰 버리 밟 찍 주차하 흡연하 피우 사용하 접근하 올라가 세우 먹 섭취하 떠들 놓 붙이 출입하 누르 흔들 촬영하 던지 넘 앉 투기하 방치하 적재하 개봉하 열"
).split()
_PERSONAL_NOT = tuple(
    "염려하지 걱정하지 심려하지 근심하지 슬퍼하지 서러워하지 노여워하지 두려워하지 부러워하지 미안해하지 오해하지 의심하지 원망하지 탓하지 지체하지 상심하지 낙심하지 자책하지 "
    "괴로워하지 미워하지 말하지 섭섭해하지 어려워하지 부끄러워하지 무서워하지 당황하지 재촉하지 독촉하지 박대하지 희롱하지 능멸하지 조롱하지 과히하지 그리하지 이리하지".split()
)
_NOT_PLEDGE = ("하지", "가지", "오지", "말지", "보지", "주지", "걱정", "염려", "울지", "먹지")


def is_predicate(stem: str) -> bool:
    """Whether a string can end a verb or adjective before -나이다, -더이다, -다네: an open stem we know or a closed one."""
    if not stem:
        return False
    last = final_consonant(stem[-1])
    sonorants = (4, 8, 16, 21)  # ㄴ ㄹ ㅁ ㅇ end many more names and nouns than stems
    return is_stem(stem) if not last else last not in sonorants or stem[-1] in "안신품참넘남숨감심검담" or is_liquid_stem(stem)


def come(stem: str, before: Sequence[str], form: str) -> str | None:
    """-옵니다, -옵니까: 오다 and its compounds are modern (비가 옵니다, 돌아옵니다), -옵- after a stem or noun is archaic."""
    if not stem:
        return None
    last = before[-1] if before else ""
    if stem == "사":  # 사-옵니다: 살다 (에 사옵니다) or 사 오다 (빵을 사옵니다)
        return JOSEON if last.endswith(("에", "에서", "곁에")) else None
    if stem == "비":  # 빌다 or rain
        return JOSEON if last else None
    if stem == "나" and last in _FEELINGS:
        return JOSEON
    if final_consonant(stem[-1]):
        return None
    if stem.endswith(("고", "러")) and not stem.endswith(("최고", "창고", "광고", "원고")) or stem.endswith(_COME_TOGETHER) and not stem.endswith("비싸"):
        return None
    if stem in _COMING or stem.endswith("나") and len(stem) > 2 and is_converb(stem[:-1]) and not stem.endswith(tuple(_NOT_CONVERB)):
        return None
    if stem.endswith(tuple(_NOT_CONVERB)) or not is_converb(stem):
        return JOSEON
    if stem[-1] == "사" and len(stem) > 1:
        return JOSEON
    return None


def copula(stem: str, before: Sequence[str], form: str) -> str | None:
    """-나이다, -더이다, -오이다, ...: not where noun + 이다 looks the same (사나이다, 리더이다, 오이다, 회사이다)."""
    first = form[1]
    noun = stem + first
    last = before[-1] if before else ""
    topical = last.endswith(("은", "는", "이", "가", "도", "의", "중", "가운데", "또")) or (bool(last) and final_consonant(last[-1]) == 4)
    if first == "나":
        if noun == "하나":
            return None if topical or last in ("모두", "오직", "단") or not last else JOSEON
        return JOSEON if is_predicate(stem) and noun + "이" not in stems.NOUNS_NAI and noun != "하나하나" else None
    if first == "더":
        return JOSEON if is_predicate(stem) or stem.endswith(("다", "라")) and len(stem) > 1 else None
    if first == "오":
        return None if not stem or noun.endswith(stems.NOUNS_O) or not (is_stem(stem) or stem[-1] in "으이니") else JOSEON
    if first == "사":
        verbal = len(stem) >= 2 and (stem.endswith(("하", "시", "으", "가")) or is_stem(stem)) or stem == "하"
        return JOSEON if verbal and noun + "이" not in stems.NOUNS_SAI else None
    if first == "리":
        if len(stem) == 1 and stem not in "하되가두" and (stem not in "오보주쓰" or topical or not before):
            return None
        return JOSEON if is_liquid_stem(stem) or is_stem(stem) and noun not in stems.NOUNS_RI else None
    if first == "지":
        return JOSEON if stem.endswith(("어", "여", "아")) and not noun.endswith(("강아지", "송아지", "망아지", "바지")) else None
    if first == "니":
        return JOSEON if stem.endswith(("이", "하", "으", "되", "시")) else None
    return JOSEON


def entreaty(stem: str, before: Sequence[str], form: str) -> str | None:
    """-소서 after a stem: 하소서, 주소서; 소서 alone is a day in July."""
    return JOSEON if stem and (not final_consonant(stem[-1]) or is_closed_stem(stem)) else None


_OUTSIDE = frozenset("의외 예외 야외 해외 시외 과외 국외 교외 열외 제외 소외 참외 이외 대외 내외 장외 실외 옥외 섭외 호외 가외 외 그외 사외 권외 역외".split())


def outside(stem: str, before: Sequence[str], form: str) -> str | None:
    """-외다 after a stem or noun: 말이외다, 오해외다; not 의외다, 예외다, 해외다."""
    return JOSEON if stem and stem + "외" not in _OUTSIDE and not final_consonant(stem[-1]) else None


def closed(stem: str, before: Sequence[str], form: str) -> str | None:
    """-소 after a consonant-final stem: 있소, 높소, 했소; not 장소, 젖소, 연구소."""
    if is_closed_stem(stem) and stem + "소" not in stems.CLOSED_NOUNS:
        return JOSEON
    pleading = stem in ("하", "오", "가", "보", "주", "마") or stem.endswith(("해주", "어주", "여주", "하시", "오시"))
    return EITHER if form == "-소" and before and pleading else None  # 들어 보소: old, or southern speech


def vowel(stem: str, before: Sequence[str], form: str) -> str | None:
    """-오 after an open stem: 하오, 모르오, 사람이오; not 라디오, 정오; 아니오 alone is "no"."""
    last = before[-1] if before else ""
    if not stem or (stem + "오").endswith(stems.NOUNS_O) or stem in ("니하", "바이") and not (stem == "바이" and last[-1:] == "는"):
        return None
    if stem == "아" and not last.endswith(("을", "를", "줄", "지", "걸", "나", "도", "바", "이")) or set(stem) == {"오"} and not before:
        return None
    if stem == "아니":
        return JOSEON if last and last not in ("예", "네", "또는", "혹은", "아니면") else MODERN
    if is_stem(stem) or stem[-1] == "으":
        return JOSEON
    if stem[-1] == "이" and len(stem) >= 2:
        return JOSEON
    return None


def verb(stem: str, before: Sequence[str], form: str) -> str | None:
    """-오리다, -오리이다 after an open stem: 하오리다; not 가오리다 (a ray) or 병아오리."""
    return JOSEON if stem and is_stem(stem) and stem != "가" else None


def sign(stem: str, before: Sequence[str], form: str) -> str | None:
    """-시오: printed orders (미시오, 답하시오, 들어가지 마시오) are modern; spoken ones are 하오체, and cues decide the rest."""
    if not stem or stem.endswith("십"):
        return None
    last = before[-1] if before else ""
    if stem == "마":
        if last.endswith(_PERSONAL_NOT) or last in ("하지", "말지"):
            return JOSEON
        if last == "가지":
            return MOSTLY_MODERN if before[-2:-1] and before[-2] in ("가까이", "이쪽으로", "안으로", "밖으로") else JOSEON
        printed = last.endswith("하지") or last.endswith(tuple(v + "지" for v in _SIGN_MUST_NOT))
        return MOSTLY_MODERN if printed else JOSEON
    if stem.endswith(("계", "있으", "없으", "않으", "안녕하", "었으", "았으", "였으", "했으", "이")) or stem == "아니":
        return JOSEON
    if stem == "금하" or stem.endswith(tuple(_SIGN_VERBS)) and (len(stem) > 1 or stem in _SIGN_VERBS):
        return MOSTLY_MODERN
    return MOSTLY_JOSEON


_SERVANT_SYLLABLES = frozenset("하이되시드리올오가바알")


def servant(stem: str, before: Sequence[str], form: str) -> str | None:
    """-ㅂ지요, a servant's answer: 그럽지요, 합지요; not the adjectives 즐겁-지요, 덥-지요."""
    return EITHER if stem and stem[-1] in _SERVANT_SYLLABLES else None


def remark(stem: str, before: Sequence[str], form: str) -> str | None:
    """-구려, -구료 after a stem; 고구려 is a kingdom, 구려 alone is slang, 연구료 a fee."""
    if not stem or stem == "싸" or stem.endswith(("고", "후고")) and len(stem) <= 3 or stem.endswith(("연", "요", "탐")) and form == "-구료":
        return None
    return JOSEON


def hearsay(stem: str, before: Sequence[str], form: str) -> str | None:
    """-다오, -라오, -자오 after a clause: 좋다오, 것이라오; 라오 alone is a country, 다오 alone asks for something."""
    if stem:
        return MOSTLY_JOSEON
    return JOSEON if form == "-다오" and before else None


def promise(stem: str, before: Sequence[str], form: str) -> str | None:
    """-리다 after a stem: 하리다, 알려드리리다; not the dictionary forms 기다리다, 내리다, 가리다."""
    last = before[-1] if before else ""
    if stem.endswith("내") or (stem + "리다").endswith(("버리다", "그리다")):
        return None
    if len(stem) == 1 and stem not in "하되":
        if stem in "주보" and is_converb(last):
            return MOSTLY_JOSEON
        return EITHER if before and stem in "가오보주" and not (stem in "가오" and last.endswith(("을", "를"))) else None
    if stem in ("굶주", "드", "두드", "거느", "기다", "헤아", "다스", "부", "도", "꺼", "누", "데", "때", "노"):
        return None
    return JOSEON if is_stem(stem) or stem.endswith("으") else None


def wonder(stem: str, before: Sequence[str], form: str) -> str | None:
    """-네: shared by 하게체 and modern speech; not the pronouns and households 자네, 우리네, 그네, 동네."""
    if not stem or stem in ("자", "동", "그", "당신", "우리", "너희", "아낙", "여편", "어"):
        return None
    return EITHER


def told(stem: str, before: Sequence[str], form: str) -> str | None:
    """-다네, -라네 after a clause: 좋다네, 꿈이라네; not 바라-네, 자라-네."""
    if form == "-다네" and (not is_predicate(stem) and final_consonant(stem[-1:] or "가") != 4 or stem + "다" in PLAIN_NOUNS):
        return None
    return MOSTLY_JOSEON if stem and (form == "-다네" or stem[-1] in "이아니하" or stem.endswith(("으", "더"))) else None


def mse(stem: str, before: Sequence[str], form: str) -> str | None:
    """-(으)ㅁ세, a promise: 함세, 봄세, 줌세; not 감세 (tax cut) or 음세."""
    return JOSEON if is_stem(stem) and not (stem in ("가", "나", "차") and not before) else None


def hortative(stem: str, before: Sequence[str], form: str) -> str | None:
    """-세, "let us": 가세, 마시세, 생각해 보세; not 만세, 전세, 상승세."""
    if len(stem) == 1:
        return JOSEON if stem in "가하쉬치쏘뛰" or stem in "보두오" and before else None
    if stem.endswith(("안녕하", "도와주", "어떻하")):
        return None
    return JOSEON if is_stem(stem, honorific=False) else None


_ADNOMINAL_GA = "는은던한인큰된쁜픈른운린긴신건난싼센단쓴친킨준온본간산든만먼연찬빈흔겐"
_NOUNS_GA = tuple("인가 단가 원가 휴가 전문가 작가 친가 연가 본가 만가 산가 건가 신가 진가 찬가 민가 분가 논가 평론가 애호가 투자가 신간가 사업간가 대한가".split())


def query(stem: str, before: Sequence[str], form: str) -> str | None:
    """-는가, -ㄴ가: questions of 하게체 and of modern prose alike; not 전문가, 단가, 휴가."""
    if form != "-ㄴ가":
        return EITHER if stem or form == "-던가" else None
    word = _with_n(stem) + "가" if stem else ""
    if not stem or len(word) == 2 and word in _NOUNS_GA or word.endswith(_NOUNS_GA[3:4] + ("전문가", "평론가", "투자가", "단가", "원가")):
        return None
    return EITHER if word[-2] in _ADNOMINAL_GA else None


def _with_n(stem: str) -> str:
    return stem[:-1] + chr(ord(stem[-1]) + 4) if not final_consonant(stem[-1]) else stem


def dream(stem: str, before: Sequence[str], form: str) -> str | None:
    """-런가 after 이-: 꿈이런가; not 그런가, 이런가."""
    return JOSEON if len(stem) >= 2 and stem[-1] in "이더하" else None


def adjective_go(stem: str, before: Sequence[str], form: str) -> str | None:
    """-ㄴ고, -ㄹ고, archaic questions: 누구인고, 어떠한고, 어이할고; not 신고, 안고, 갈고, 참고."""
    if not stem:
        return None
    if form == "-ㄹ고":
        return JOSEON if any(w.startswith(("어찌", "어이", "무엇", "누가", "누구", "언제", "얼마")) for w in [*before[-3:]]) or stem in ("어이하", "어찌하") else None
    syllable = _with_n(stem)[-1]
    return JOSEON if syllable in "한인은큰쁜픈른운던린" and (len(stem) >= 2 and stem + "고" not in ("나이고",)) else None


_ORDERED = ("보", "주", "말", "두", "놓", "버리", "드리")
_NOUNS_GE = ("가", "무", "집", "지", "휴", "꽃", "대", "베", "번", "회", "공", "성", "안", "붉은대", "여", "저", "거", "이", "그", "내", "네", "제", "뭐", "누")


def order(stem: str, before: Sequence[str], form: str) -> str | None:
    """-게: an order of 하게체 (이리 오게, 들어 보게) or the modern adverb (예쁘게, 알 수 있게)."""
    if form == "-말게":
        return JOSEON if before and not stem else None
    if not stem or stem.endswith("에") or stem in _NOUNS_GE and not (stem == "가" and before and before[-1].endswith(("어서", "이만", "로", "그만", "보고"))):
        return None
    last = before[-1] if before else ""
    if stem.endswith("시") and not stem.endswith(("눈부시", "쑤시", "다시", "적시")) and is_stem(stem):
        return JOSEON
    if stem in ("보", "주", "두") and is_converb(last) or stem[-1] in "보주" and len(stem) > 1 and is_converb(stem[:-1]):
        return MOSTLY_JOSEON
    return EITHER


_SIGHS = ("고마우", "반가우", "미안하", "그러하", "이러하", "섭섭하", "대단하", "아쉬우", "놀라우", "어려우", "부러우", "괴로우", "훌륭하", "부끄러우", "장하", "기특하", "수고하", "궁금하", "답답하", "서운하", "좋으", "싶으", "많으", "없으", "무거우", "가벼우", "두려우", "그리우", "쓸쓸하", "딱하", "용하")


def sigh(stem: str, before: Sequence[str], form: str) -> str | None:
    """-(으)이, an exclamation of 하게체 adjectives: 고마우이, 미안하이, 좋으이."""
    return JOSEON if stem.endswith(_SIGHS) else None


def exclaim(stem: str, before: Sequence[str], form: str) -> str | None:
    """-도다 after a stem: 크도다, 높도다, 사라지도다; not 제주도다, 온도다, 시도다."""
    if not stem:
        return None
    if is_closed_stem(stem) and stem[-1] not in "입식작막잡집" or stem in ("알", "살", "길", "멀", "달") or stem.endswith(stems.LONG_LIQUID_STEMS):
        return JOSEON
    if len(stem) == 1:
        return JOSEON if stem in "하크가오되서" and (stem != "서" or before) else None
    if stem.endswith(("난이", "제주", "성취", "만족", "선호", "인지", "완성", "신뢰", "충성", "이해", "기여", "참여", "숙련", "집중", "중요")):
        return None
    return JOSEON if is_stem(stem) else None


def noun_ro(stem: str, before: Sequence[str], form: str) -> str | None:
    """-로다 after a vowel-final noun or 이-, 하리-: 이로다, 때로다; not 별로다, 도로다, 회로다."""
    if not stem or stem + "로" in stems.NOUNS_RO or any((stem + "로").endswith(n) for n in stems.NOUNS_RO if len(n) >= 3):
        return None
    if (stem + "로").endswith(("도로", "통로", "회로", "경로", "항로", "선로", "진로", "으로")) or final_consonant(stem[-1]):
        return None
    return JOSEON


def tell(stem: str, before: Sequence[str], form: str) -> str | None:
    """-니라 after 이-, 하-, -시-, ...: 것이니라, 하니라; 아니라 is a connective."""
    return JOSEON if stem and stem != "아" and (stem[-1] in "이하시으되지느더오가리치" or is_stem(stem)) else None


def recall(stem: str, before: Sequence[str], form: str) -> str | None:
    """-더냐 after a stem or a quoted clause: 하더냐, 온다더냐; not 리더-냐."""
    return JOSEON if is_predicate(stem) or stem.endswith(("다", "라", "이")) and len(stem) > 1 else None


def rhetoric(stem: str, before: Sequence[str], form: str) -> str | None:
    """-리라, -리오, -랴 after a stem: 하리라, 어찌하리오, 가랴; not 소리라, 시나리오."""
    if not stem:
        return None
    if form == "-랴":
        return JOSEON if is_stem(stem) or is_liquid_stem(stem) or stem[-1] in "으리" else None
    if is_liquid_stem(stem):
        return MOSTLY_JOSEON
    if stem in ("오", "보", "가", "주", "크", "자", "사"):
        return (MOSTLY_JOSEON if form == "-리라" else JOSEON) if before else None
    if stem.endswith("으"):
        return JOSEON
    word = stem + "리"
    if word in stems.NOUNS_RI or len(stem) > 1 and word.endswith(stems.NOUNS_RI) and not is_stem(stem):
        asking = any(w.startswith(("어찌", "어이", "누가", "무엇", "언제")) for w in before)
        return JOSEON if asking and is_stem(stem) else None
    if not is_stem(stem):
        return None
    return MOSTLY_JOSEON if form in ("-리라", "-리니") else JOSEON


def rhetoric_ri(stem: str, before: Sequence[str], form: str) -> str | None:
    """-리 in a rhetorical question or vow: 어찌하리, 무엇하리, 잊으리; only after 으/하/되 or with a question word."""
    asking = any(w.startswith(("어찌", "어이", "누가", "무엇", "뉘", "언제", "그 누가")) for w in before)
    if stem in ("어찌하", "어이하", "무엇하") or stem.endswith("으") and len(stem) > 1:
        return JOSEON
    return JOSEON if asking and stem and is_stem(stem) and stem + "리" not in stems.NOUNS_RI else None


def sister(stem: str, before: Sequence[str], form: str) -> str | None:
    """-누나 after a stem: 오누나, 지누나, 있누나; not 우리 누나, 큰누나."""
    return JOSEON if stem and stem not in ("큰", "작은", "막내", "둘째", "첫째", "셋째", "친", "사촌", "외사촌") and (is_stem(stem) or is_closed_stem(stem)) else None


def stemmed(stem: str, before: Sequence[str], form: str) -> str | None:
    """An ending that only needs something in front: -느니, -노니; not 노니, 느니 themselves (놀다, 늘다)."""
    return MOSTLY_JOSEON if form == "-느니" and stem else JOSEON if stem and stem != "뛰" else None


def praise(stem: str, before: Sequence[str], form: str) -> str | None:
    """-ㄴ지고, -로고, praise and blame: 기특한지고, 절경이로고; not 던지-고, 만지-고, 회사 로고."""
    if form == "-로고":
        return JOSEON if stem.endswith("이") else None
    return JOSEON if stem and _with_n(stem)[-1] in "한은인운른쁜픈큰얀긴" else None


def nyo(stem: str, before: Sequence[str], form: str) -> str | None:
    """-뇨, an archaic question: 어찌하뇨, 누구뇨, 있느뇨; not 당뇨, 이뇨, 분뇨."""
    return JOSEON if stem and (stem[-1] in "하느으구디되시" or stem.endswith("이") and len(stem) > 1) and stem not in ("비", "당") else None


_EXAM_STEMS = tuple(v for v in _SIGN_VERBS if len(v) > 1) + ("풀", "읽", "적", "고르", "써")
_COURT_ORDERS = (
    "고하 대령하 아뢰 거행하 하옥하 압송하 포박하 참하 명심하 엄수하 봉행하 받들 들으 물러가 물러서 이르 베푸 베풀 엎드리 준행하 하사하 구휼하 문초하 국문하 방면하 "
    "추포하 칭송하 경계하 삼가 어여삐여기 살피 헤아리 고하여 전하 이실직고하 감하 면하 탕감하 윤허하 진휼하 상고하 힘쓰"
).split()


def geora(stem: str, before: Sequence[str], form: str) -> str | None:
    """-거라 after a stem: 물렀거라, 살거라; not 것이라 run together (위한거라, 갈거라)."""
    if not stem:
        return None
    if final_consonant(stem[-1]) in (4, 8):
        return JOSEON if stem[-1] in "신안" or stem in ("말", "살", "놀", "알", "열", "들", "풀", "만들", "걸", "불", "밀") else None
    return JOSEON


_L_STEMS = frozenset("아 사 노 드 거 여 푸 미 부 무 가 도 우 마 이끄 만드 베푸 받드 물러나 열 붙드 흔드 힘드 거드".split())


def offer(stem: str, before: Sequence[str], form: str) -> str | None:
    """-ㄹ게 offers (갈게); after a stem in ㄹ it may be the order -게 (들-게, 만들-게)."""
    return MOSTLY_MODERN if stem in _L_STEMS else MODERN


def fear(stem: str, before: Sequence[str], form: str) -> str | None:
    """-ㄹ라, a modern warning (다칠라), or a written order of a stem in ㄹ: 말라, 들라, 알라."""
    return EITHER if stem in _L_STEMS else MODERN


_SLOGANS = tuple(
    "처벌하 보장하 사퇴하 각성하 철회하 중단하 폐지하 규명하 공개하 인정하 석방하 퇴진하 해체하 개선하 마련하 인상하 해결하 책임지 물러나 촉구하 규탄하 사과하 지급하 확대하 폐기하 반대하".split()
)


def shout(stem: str, before: Sequence[str], form: str) -> str | None:
    """-아라, -어라: the plain order of every age, archaic only in archaic company; 나라, 사라 and 어라 are words."""
    if not stem and (not before or form in ("-나라", "-사라", "-내라", "-서라", "-여라", "-어라", "-아라", "-켜라", "-져라")):
        return None
    if form in ("-나라", "-사라", "-가라", "-내라", "-서라", "-와라") and stem and not (is_stem(stem + form[1:-1]) or is_converb(stem)):
        return None
    return MOSTLY_MODERN


def written_order(stem: str, before: Sequence[str], form: str) -> str | None:
    """-(으)라, -하여라: royal orders and modern print share them; exam verbs are modern, court verbs archaic, cues decide."""
    if not stem and form == "-라":
        return None
    if form == "-라":
        return _bare_ra(stem, before)
    full = stem + form[1:-1]
    if full.rstrip("여아어").endswith(tuple(_EXAM_STEMS)):
        return MOSTLY_MODERN if form != "-으라" else EITHER
    return MOSTLY_JOSEON if form != "-으라" else EITHER


def _bare_ra(stem: str, before: Sequence[str]) -> str | None:
    if stem.endswith(_RA_CONVERBS):
        return MODERN
    if stem in ("나", "바닷", "전", "우리나", "콜", "드", "오로", "한", "신", "카메", "오페", "프레", "구"):
        return None
    if stem.endswith(tuple(_COURT_ORDERS)):
        return MOSTLY_JOSEON
    if stem.endswith(_EXAM_STEMS + _SLOGANS):
        return MOSTLY_MODERN
    if stem == "하" and before and before[-1].endswith(("게", "도록")):
        return MOSTLY_JOSEON
    if stem.endswith(("아", "어", "여", "해", "와", "워", "려", "져", "둬", "줘", "봐", "쳐", "켜", "꺼", "써", "서", "가")) and stem not in ("가", "나가", "물러가", "돌아가", "들어가", "떠나가", "올라가", "나아가", "내려가", "가서"):
        return MODERN
    return EITHER if is_stem(stem) or stem[-1] in "으이말" or final_consonant(stem[-1]) == 8 else None


_RA_CONVERBS = ("몰", "달", "올", "골", "잘", "빨", "불", "눌", "흘", "갈", "말", "굴", "길", "둘", "찔", "서둘", "저질", "게을", "바")[:-1]


def pledge(stem: str, before: Sequence[str], form: str) -> str | None:
    """-마, a promise down: 그리하마, 주마; 하지 마 is the modern "do not", 엄마 and 고구마 are nouns."""
    if not stem:
        return MODERN if before else None
    if stem.endswith(_NOT_PLEDGE) or stem.endswith("지"):
        return MODERN
    return EITHER if stem in ("하", "가", "오", "주", "보", "그리하", "약속하", "기다리") or stem.endswith(("으", "하", "해주", "어주")) else None


_YO_NOUNS = tuple("필요 중요 수요 강요 민요 동요 주요 개요 소요 가요제 고요 월요 목요 금요 토요 일요 화요 수요 대중가요 법요 신요 저요오 요요 비브리요".split())


def polite(stem: str, before: Sequence[str], form: str) -> str | None:
    """-요 on a predicate or, in speech, on anything; not the nouns 필요, 수요, 동요."""
    return None if not stem or (stem + "요") in _YO_NOUNS or stem.endswith(("대중가", "불필", "긴급수")) else MODERN


PLAIN_NOUNS = frozenset("바다 캐나다 판다 한바다 밤바다 겨울바다 여름바다 마다 저마다 람다 혼다 소다 수다 베란다 플로리다 린다 레서판다 유다".split())


_NOT_SPOKEN = frozenset(
    "아버지 할아버지 강아지 송아지 망아지 바지 편지 돼지 까지 휴지 반지 먼지 가지 한가지 여러가지 토지 복지 단지 잡지 무지 하나 누나 어머니 할머니 언니 주머니 비둘기 남자 여자 의자 과자 모자 "
    "사자 혼자 각자 글자 숫자 환자 기자 독자 저자 학자 부자 제자 피자 상자 그림자 정자 탁자 액자 문자 한자 감자 이야 분야 시야 광야 평야 심야 이미지 메시지 페이지 홈페이지 소시지 오렌지 스펀지".split()
)


def spoken(stem: str, before: Sequence[str], form: str) -> str | None:
    """-지, -나, -니, -자, -야 of everyday speech; not 아버지, 하나, 어머니, 남자."""
    if not stem or stem + form[1:] in _NOT_SPOKEN or stem.endswith(("강아", "바", "편", "까")) and form == "-지":
        return None
    return MODERN if form in ("-야", "-이야", "-거야") else MOSTLY_MODERN


def linked(stem: str, before: Sequence[str], form: str) -> str | None:
    """-고, -며, -면, ...: a clause that goes on; `_decide` leaves it ambiguous whatever its vocabulary."""
    return EITHER if stem else None


def indignant(stem: str, before: Sequence[str], form: str) -> str | None:
    """-란 말이냐, -단 말이냐: indignation of lords; plain 말이냐 is open."""
    return MOSTLY_JOSEON if not stem and before and before[-1].endswith(("란", "단", "냔", "잔")) else EITHER


def plain(stem: str, before: Sequence[str], form: str) -> str | None:
    """-다 of books and newspapers; 바다, 캐나다 and other nouns stay undecided."""
    return None if not stem or stem + "다" in PLAIN_NOUNS else MODERN


def nominal(stem: str, before: Sequence[str], form: str) -> str | None:
    """-음, -함, -기 of notes: 있음, 참석 바람, 제출함; only where the stem looks like a predicate."""
    if form == "-음":
        return MODERN if stem and final_consonant(stem[-1]) in (6, 18, 20, 27) else None
    if form == "-슴":
        return MODERN if stem and final_consonant(stem[-1]) == 20 else None
    if form == "-듯":
        return MODERN if before else None
    return MODERN if stem and (is_stem(stem) or stem.endswith("이") and len(stem) > 2) and stem not in ("그리", "사", "하지", "거") else None


GUARDS: dict[str, Guard] = {
    "come": come, "copula": copula, "entreaty": entreaty, "closed": closed, "vowel": vowel, "verb": verb, "sign": sign,
    "remark": remark, "hearsay": hearsay, "promise": promise, "wonder": wonder, "mse": mse, "hortative": hortative,
    "query": query, "adjective_go": adjective_go, "order": order, "sigh": sigh, "exclaim": exclaim, "noun_ro": noun_ro,
    "tell": tell, "rhetoric": rhetoric, "rhetoric_ri": rhetoric_ri, "sister": sister, "nyo": nyo,
    "written_order": written_order, "told": told, "dream": dream, "servant": servant, "geora": geora, "fear": fear, "outside": outside, "recall": recall, "stemmed": stemmed, "shout": shout, "spoken": spoken, "linked": linked, "indignant": indignant, "praise": praise, "offer": offer, "pledge": pledge, "polite": polite, "plain": plain, "nominal": nominal,
}  # fmt: skip
