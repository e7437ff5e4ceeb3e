"""Guards of orders and promises: a king's 하라, an exam sheet's 하라, a signpost's 마시오, a mother's 하지 마.

Orders are where print and court look alike, so most guards here only lean, and the cues of the sentence decide.

    >>> sign(Place("미", ("출입문을",), "-시오")), order(Place("앉", ("이리",), "-게"))
    ('mostly_modern', 'either')
"""

from __future__ import annotations

from gold_style.speech.endings import EITHER, JOSEON, MODERN, MOSTLY_JOSEON, MOSTLY_MODERN
from gold_style.speech.place import Place
from gold_style.speech.stems import final_consonant, is_converb, is_stem

# What signs, forms and exam sheets tell people to do,
_SIGN_VERBS = tuple(
    "미 당기 고르 쓰 답하 서술하 구하 설명하 작성하 기재하 기입하 표시하 체크하 누르 입력하 선택하 채우 나열하 증명하 "
    "계산하 푸 적 비교하 제출하 주의하 유의하 논하 정의하 요약하 번역하 완성하 찾 연결하 써넣 멈추 멈춰서 켜 끄 잠그 "
    "확인하 기술하 제시하 분석하 배열하 고치 해석하 참고하 참조하 분류하 추론하 측정하 구분하 출력하 구현하 실행하 "
    "클릭하 "
    "삭제하 저장하 정리하 나타내 표현하 토론하 조사하 관찰하 열거하 짝지으 밑줄치 이용하 사용하 줄이 문의하 연락하 "
    "신고하 "
    "대피하 착용하 서행하 정지하 금하 만드 이으 논술하 표기하 통행하 서명하 보관하 정렬하 판별하 넣으 찾아보 두드리 "
    "그려 매달 검토하 응시하 "
    "지참하".split()
)
_EXAM_VERBS = (*(verb for verb in _SIGN_VERBS if len(verb) > 1), "풀", "읽", "적", "고르", "써")
# what they forbid,
_FORBIDDEN = tuple(
    "들어가지 만지지 손대지 기대지 뛰지 버리지 밟지 찍지 피우지 올라가지 세우지 먹지 떠들지 놓지 붙이지 누르지 흔들지 "
    "던지지 넘지 앉지 열지 쌓지 매달리지 꽂지 끄지 켜지 접지 닫지 하지".split()
)
# and what people ask of each other: "하지" of these is a plea, not a sign.
_PLEAS = tuple(
    "염려하지 걱정하지 심려하지 근심하지 슬퍼하지 서러워하지 노여워하지 두려워하지 부러워하지 미안해하지 오해하지 "
    "의심하지 "
    "원망하지 탓하지 지체하지 상심하지 낙심하지 자책하지 괴로워하지 미워하지 말하지 섭섭해하지 어려워하지 부끄러워하지 "
    "잊지 울지 웃지 놀라지 묻지 그러지 나서지 서두르지 망설이지 떠나지 말리지 속이지 듣지 믿지 놀리지 나무라지 늦지 "
    "싸우지 다투지 미루지 숨기지 감추지 굽히지 꺾이지 흔들리지 저버리지 여기지 굴지 막지 죽이지 해치지 "
    "무서워하지 당황하지 재촉하지 독촉하지 박대하지 희롱하지 능멸하지 조롱하지 과히하지 그리하지 이리하지".split()
)
# What people, not signs, tell each other to do.
_PERSONAL_VERBS = tuple(
    "드 주무 잡수 자시 떠나 살리 비키 쉬 앉으 들으 따르 피하 다녀오 내려놓으 믿으 참으 잊으 이루 받으 물러가 물러서 "
    "돌아가 그만두 거두 아끼 헤아리 살피 돌보 보살피 가져가 일어나 걸으 익히 몸조심하 받아두 애쓰 힘쓰 차리 이르 여쭈 "
    "다스리 베푸".split()
)
_SAYINGS = tuple("말 말을 말은 소리 소리는 걱정 생각 생각은 그리 이리 농 짓 짓을 일".split())
_ANSWERS = ("계", "있으", "없으", "않으", "안녕하", "었으", "았으", "였으", "했으", "이", "아니")


def sign(place: Place) -> str | None:
    """-시오: printed orders are modern (미시오, 답하시오, 들어가지 마시오), spoken ones 하오체; cues tip either."""
    stem = place.stem
    if not stem or stem.endswith("십"):
        return None
    if stem == "마":
        return _forbid(place)
    if stem.endswith(_ANSWERS):  # 계시오, 있으시오: statements, not orders
        return JOSEON
    if stem in _SIGN_VERBS or len(stem) > 1 and stem.endswith(_SIGN_VERBS):
        return MOSTLY_MODERN
    helping = stem == "주" and is_converb(place.last) or stem.endswith("주") and is_converb(stem[:-1])
    farewell = stem == "가" and place.last in ("잘", "안녕히", "살펴", "조심히", "어서", "편히")
    personal = stem in _PERSONAL_VERBS or stem.endswith(_PERSONAL_VERBS) and len(stem) > 1
    return MOSTLY_JOSEON if helping or farewell or personal else EITHER


def _forbid(place: Place) -> str:
    last = place.last
    if last == "가지":
        near = place.before[-2:-1] and place.before[-2] in ("가까이", "이쪽으로", "안으로", "밖으로")
        return MOSTLY_MODERN if near else JOSEON
    if last == "하지":
        return JOSEON if place.before[-2:-1] and place.before[-2].endswith(_SAYINGS) else EITHER
    if is_converb(last) or last.endswith(("을", "를")):  # 흔들어 마시오, 물을 마시오: to drink
        return EITHER
    if not last.endswith("지") or last == "말지" or last.endswith(_PLEAS):  # 염려 마시오, 심려치 마시오
        return JOSEON
    return MOSTLY_MODERN if last.endswith(_FORBIDDEN) else EITHER


_NOUNS_GE = frozenset("가 무 집 지 휴 꽃 대 베 번 회 공 성 안 붉은대 여 저 거 이 그 내 네 제 뭐 누".split())


def order(place: Place) -> str | None:
    """-게: an order of 하게체 (이리 오게, 들어 보게) or the modern adverb (예쁘게, 알 수 있게)."""
    stem, last = place.stem, place.last
    if place.form == "-말게":
        return JOSEON if place.before and not stem else None
    going = stem == "가" and last.endswith(("어서", "이만", "로", "그만", "보고"))
    if not stem or stem.endswith("에") or stem in _NOUNS_GE and not going:
        return None
    if stem.endswith("시") and not stem.endswith(("눈부시", "쑤시", "다시", "적시")) and is_stem(stem):
        return JOSEON
    helping = is_converb(last) if stem in tuple("보주두") else stem[-1] in "보주" and is_converb(stem[:-1])
    return MOSTLY_JOSEON if helping else EITHER


# Stems in ㄹ without it, as they stand before a fused -ㄹ: 말-라, 들-라, 만들-게.
_RIEUL_STEMS = frozenset("아 사 노 드 거 여 푸 미 부 무 가 도 우 마 이끄 만드 베푸 받드 붙드 흔드 힘드 거드".split())
_GEORA_STEMS = frozenset("말 살 놀 알 열 들 풀 만들 걸 불 밀".split())


def geora(place: Place) -> str | None:
    """-거라 after a stem: 물렀거라, 살거라; not 것이라 run together (위한거라, 갈거라)."""
    stem = place.stem
    if not stem or final_consonant(stem[-1]) in (4, 8):
        return JOSEON if stem in _GEORA_STEMS or stem[-1:] in ("신", "안") else None
    return JOSEON


def offer(place: Place) -> str | None:
    """-ㄹ게 offers (갈게); after a stem in ㄹ it may be the order -게 (들-게, 만들-게)."""
    return MOSTLY_MODERN if place.stem in _RIEUL_STEMS else MODERN


def fear(place: Place) -> str | None:
    """-ㄹ라, a modern warning (다칠라), or a written order of a stem in ㄹ: 말라, 들라, 알라."""
    return EITHER if place.stem in _RIEUL_STEMS else MODERN


_WORDS_RA = frozenset("-나라 -사라 -내라 -서라 -여라 -어라 -아라 -켜라 -져라 -라라 -러라 -까라 -대라 -매라 -베라".split())
_FUSED_RA = frozenset("-나라 -사라 -가라 -내라 -서라 -와라".split())


def shout(place: Place) -> str | None:
    """-아라, -어라: the plain order of every age, archaic only in archaic company; 나라, 사라 and 어라 are words."""
    stem, form = place.stem, place.form
    if not stem:
        return MOSTLY_MODERN if place.before and form not in _WORDS_RA else None
    if form in _FUSED_RA and not (is_stem(stem + form[1]) or is_converb(stem)):
        return None
    return MOSTLY_MODERN


_SLOGANS = tuple(
    "처벌하 보장하 사퇴하 각성하 철회하 중단하 폐지하 규명하 공개하 인정하 석방하 퇴진하 해체하 개선하 마련하 인상하 "
    "해결하 "
    "책임지 물러나 촉구하 규탄하 사과하 지급하 확대하 폐기하 반대하".split()
)
_COURT_ORDERS = tuple(
    "고하 대령하 아뢰 거행하 하옥하 압송하 포박하 참하 명심하 엄수하 봉행하 받들 들으 물러가 물러서 이르 베푸 베풀 "
    "엎드리 "
    "준행하 하사하 구휼하 문초하 국문하 방면하 추포하 칭송하 경계하 어여삐여기 살피 헤아리 전하 감하 면하 탕감하 "
    "윤허하 "
    "진휼하 상고하 힘쓰".split()
)
_CONVERBS = tuple("아 어 여 해 와 워 려 져 둬 줘 봐 쳐 켜 꺼 써 서 가".split())
_GOING = frozenset("가 나가 물러가 돌아가 들어가 떠나가 올라가 나아가 내려가".split())
_REU_CONVERBS = tuple("몰 달 올 골 잘 빨 불 눌 흘 갈 말 굴 길 둘 찔 서둘 저질 게을".split())  # 몰라, 빨라: 르-verbs
_NOUNS_RA = frozenset("나 바닷 전 우리나 콜 드 오로 한 신 카메 오페 프레 구".split())


def written_order(place: Place) -> str | None:
    """-(으)라, -하여라: royal orders and print share them: exam verbs are modern, court verbs archaic, cues decide."""
    stem = place.stem
    if place.form != "-라":
        full = (stem + place.form[1:-1]).rstrip("여아어")
        return MOSTLY_MODERN if full.endswith(_EXAM_VERBS) and place.form != "-으라" else MOSTLY_JOSEON
    if not stem or stem in _NOUNS_RA:
        return None
    if stem.endswith(_REU_CONVERBS):
        return MODERN
    if stem.endswith(_COURT_ORDERS):
        return MOSTLY_JOSEON
    if stem.endswith(_EXAM_VERBS + _SLOGANS):
        return MOSTLY_MODERN
    if stem == "하" and place.last.endswith(("게", "도록")):
        return MOSTLY_JOSEON
    if stem.endswith(_CONVERBS) and stem not in _GOING:
        return MODERN
    return EITHER if is_stem(stem) or stem[-1] in "으이말" or final_consonant(stem[-1]) == 8 else None


_PLEDGES = frozenset("하 가 오 주 보 그리하 약속하 기다리".split())


def pledge(place: Place) -> str | None:
    """-마, a promise down: 그리하마, 주마; 하지 마 is the modern "do not", 엄마 and 고구마 are nouns."""
    stem = place.stem
    if not stem:
        return MODERN if place.before else None
    if stem.endswith(("지", "걱정", "염려")):
        return MODERN
    return EITHER if stem in _PLEDGES or stem.endswith(("으", "하", "해주", "어주")) else None
