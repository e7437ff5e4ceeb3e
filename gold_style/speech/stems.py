"""Predicate stems, and the tests that tell a stem from the tail of a noun.

Lists are closed on purpose: short endings such as -오, -세, -도다 accept only a stem found here, so a noun that nobody
listed ("라디오", "물가상승세", "제주도다") falls through to its modern reading.

    >>> is_stem("돌아가"), is_stem("기다리"), is_stem("라디")
    (True, True, False)
"""

from __future__ import annotations

# Stems that stand alone or follow a converb (돌아-가, 적어-주), never the tail of a longer noun.
SHORT_STEMS = frozenset(
    """
가 오 보 주 사 자 차 타 나 서 두 지 치 키 기 비 쓰 크 뜨 트 끄 쉬 뛰 내 매 베 메 깨 빼 캐 펴 켜 꾸 추 쏘 쪼 싸 짜 까
뵈 아 우 노 부 여 미 드 마 거 도 머 다 쥐 휘 쬐 괴 놀 피 푸 고프 되 하 이 시 여쭈 패
""".split()
)
# Auxiliary and motion verbs that follow a converb inside one eojeol.
AFTER_CONVERB = frozenset("가 오 보 주 두 내 나 서 지 쓰 드리 버리 다니 계시 뵈 치 치우 먹이".split())
# Derived stems: anything may stand before these.
PRODUCTIVE = tuple("하 되 드리 시키 거리 스러우 로우 다우 쁘 달프 글프 슬프 아프 고프 어지 아지 여지 워지 해지 려지 겨지 져지".split())
LONG_STEMS = frozenset(
    """
기다리 드리 올리 내리 버리 그리 달리 말리 들리 걸리 빌리 알리 살리 울리 흘리 놀리 돌리 물리 밀리 열리 팔리 풀리 날리
벌리 빨리 질리 틀리 부리 누리 두드리 어울리 헤아리 섬기 남기 옮기 숨기 즐기 이기 맡기 생기 여기 챙기 당기 웃기 넘기
벗기 안기 쫓기 빼앗기 다스리 거느리 엎드리 가르치 마치 고치 지키 일으키 가리키 삼키 비키 들키 바치 미치 그치 다치
닥치 놓치 끼치 펼치 뉘우치 외치 지나치 부딪치 모시 마시 계시 주시 지니 다니 거니 아니 가지 던지 빠지 꺼지 터지
사라지 떨어지 무너지 나누 배우 싸우 세우 채우 피우 키우 깨우 태우 비우 치우 지우 외우 도우 고우 두려우 반가우 고마우
아쉬우 그리우 무서우 가벼우 무거우 어려우 괴로우 새로우 해로우 이로우 외로우 아름다우 서러우 부러우 부끄러우 가까우
더우 추우 기쁘 슬프 아프 바쁘 나쁘 예쁘 어여쁘 고프 다르 모르 부르 흐르 오르 이르 따르 서두르 게으르 누르 마르 바르
빠르 푸르 자르 기르 고르 무르 찌르 두르 다다르 머무르 저지르 문지르 거스르 나르 바꾸 가꾸 꾸미 견디 더디 디디 건너
나서 일어나 일어서 떠나 만나 지나 태어나 나타나 빛나 끝나 자라 바라 놀라 모자라 보내 지내 끝내 펴내 아끼 느끼 바라보
돌아보 살펴보 굽어보 우러러보 사무치 넘치 비치 붙이 기울이 높이 보이 먹이 죽이 줄이 들이 받아들이 움직이 속이 숙이
녹이 쌓이 놓이 모이 섞이 헤매 견주 아뢰 사뢰 굶주리 내려가 올라가 들어가 나가 물러가 돌아가 다녀가 건너가 지나가
나오 들어오 돌아오 물러오 내려오 올라오 다가오 데려오 가져오 찾아오 떠오르 타오르 베푸 거두 감추 낮추 갖추 맞추 멈추
늦추 비추 들추 춤추 가두 서투 어떠 그러 이러 저러 만드 머무 드무 잠그 담그 치르 우러르 살피 굽어살피 그러하 이러하
저러하 어떠하 아무러하 가여우 이루 미루 다루 겨루 벼르 추스르 어루만지 매만지 만지 헤어지 뻗치 솟구치 물리치 내치
제치 망치 해치 거치 걸치 합치 뭉치 훔치 스치 설치 도망치 몰아치 받치 떨치 번지 저버리 잊어버리 가리 흐리 여리 시리
차리 사리 누비 덤비 굽히 밝히 잡히 막히 먹히 읽히 앉히 맞히 붙잡히 닫히 묻히 넓히 괴롭히 더럽히 적시 눈부시 부수
맞서 앞서 애쓰 가로 어리 멋지 이쁘 건지 데리 돌이키 모으 생각나 어쩌 어설프 설레 잊히 지르 재미나 입히 때리 담기
지치 바뀌 바래 갈리 갇히 거슬리 느리 낚이 졸리 떨리 엿보 불리 뿌리 때우 신나 꿈꾸 믿기 끌리 들르 박히 새기 설레이
에워싸 뽑히 부딪히 쓰이 늘리 놀래 나뉘 덮이 매이 헷갈리 떨어뜨리 얽히 치우치 쪼개 잡수 기억나 힘내 띄우 다투 불사르
버티 끊기 씌우 꺾이 알차 잘리 눌리 움키 맛보 기름지 끼우 찍히 빚지 없애 깔리 혼나 사르 메우 풍기 짤리 벅차 활기차
헤엄치 잠기 넘어뜨리 살찌 주무시 찔리 벌이 실리 불타 짜이 서글프 꼬이 도망가 드리우 누이 이끌리 찢기 몰리 쑤시 사귀
밟히 굴리 돌보 꽂히 매기 졸이 메이 조르 저미 가로지르 깨뜨리 무너뜨리 씻기 구르 밀치 싸매 끊이 싸이 엉기 헤치 맺히
오가 겁나 딸리 조이 뚫리 책임지 찌푸리 거듭나 끓이 되새기 익히 노리 붐비 안타까우 귀여우 뜨거우 차가우 어두우 더러우
시끄러우 부드러우 미끄러우 어지러우 흥겨우 힘겨우 버거우 즐거우 힘드 이끄 더부 받드 줄어드 저무 맴도 물드 다무 병드
흔드 뛰노 잠드 붙드 내미 스며드 모여드 깃드 접어드 여무 아무 거느 헤매이 타이르 우러나 북받치 휘날리 나부끼 펄럭이
반짝이 출렁이 서성이 망설이 뒤척이 끄덕이 속삭이 머뭇거리 흩날리 밝아오 깊어가 저물어가 쓰러지 넘어지 엎어지 자빠지
흩어지 깨어지 부서지 이지러지 어우러지 우거지 벗겨지 미어지 해어지 다독이 토닥이 보살피 북돋우 일구 여미 추리
앙갚음하 비기 여의 힘쓰 무릅쓰 뒤집어쓰 눈뜨 못쓰 그르치 깨우치 일깨우 에우 둘러싸 감싸 값비싸 비싸 값싸 부치 소스라치
어기 우기 뽐내 나무라 홀리 들이켜 덮치 들이치 후비 뒤적이 두들기 달래 기리
""".split()
)
# Stems in ㄹ keep it before -더이다, -리라, -거라: 살더이다, 알리라.
LIQUID_STEMS = frozenset("살 알 놀 길 들 열 걸 불 풀 물 울 돌 팔 갈 밀 멀 달 일 떨 빌 쓸 얼 말 벌 절".split())
LONG_LIQUID_STEMS = tuple(
    """
만들 저물 힘들 흔들 이끌 베풀 받들 붙들 머물 서툴 드물 거닐 시들 깃들 잠들 물들 줄어들 뛰어들 모여들 스며들 병들
거들 다물 내밀 맴돌 뛰놀 떠돌 매달
""".split()
)
# Syllables with a final consonant that end a stem before -소, -소이다, -도다; those in ㅆ (있, 했, 겠) always do.
CLOSED_STEM_SYLLABLES = frozenset(
    "싶좋같많않옳높깊넓늦낮맞찾싫밝맑붉늙젊얇짧굵읽먹죽믿듣받묻얻닫웃씻벗빗솟앉얹잃앓끓닮굶맙갑럽렵립겁볍덥춥곱답"
    "롭쉽돕굽눕줍깝밉익썩식막낫잇짓긋앗맺꽂갖좇쫓맡붙얕짙놓낳넣쌓렇떻뚫끊찮깎볶묶닦섞넉잊걷싣굳뜯뻗엎깁입집씹접뽑"
    "좁잡없잖작랍엽껍섭둡맵쭙넘품갚덮꺾겪찢흩엮꿇뱉낡짚돋밟섧떫딱묽슷닿찧훑핥참"
)
# Converbs without a final consonant (-아/-어 forms) end in one of these vowels: ㅏ ㅐ ㅓ ㅕ ㅘ ㅙ ㅝ.
_CONVERB_VOWELS = frozenset((0, 1, 4, 6, 9, 10, 14))

# Nouns that look like stem + ending.
CLOSED_NOUNS = frozenset("젖소 입소 접소 업소 적소 썩소 막소 집소 참소 식소 검소 박소 숙소 목소 독소 급소 협소 읍소".split())
NOUNS_O = tuple(
    """
오하이오 라디오 비디오 오디오 스튜디오 시나리오 포트폴리오 마리오 트리오 카카오 로미오 피노키오 오레오 스테레오 라오
마카오
""".split()
)
NOUNS_RI = frozenset(
    """
소리 머리 다리 거리 자리 꼬리 마리 오리 보리 고리 도리 무리 유리 우리 요리 파리 뿌리 허리 사리 서리 나리 미리 빨리
멀리 널리 달리 관리 원리 진리 심리 논리 권리 물리 수리 처리 정리 승리 편리 분리 윤리 총리 대리 비리 지리 조리 교리
의리 합리 불리 실리 금리 영리 격리 섭리 순리 궁리 추리 병아리 항아리 개구리 너구리 코끼리 잠자리 메아리 봉우리
울타리 보따리 개나리 미나리 대가리 아가리 테두리 목소리 웃음거리 덩어리 언저리 갤러리 스토리 배터리 메모리 카테고리
라이브러리 컨트리 엔트리 트리 프리 체리 베리 페리 캐리 해리 테리 제리 메리 센추리 다이어리 팩토리 히스토리 칼로리
디렉터리 리포지터리
""".split()
)
NOUNS_RO = frozenset(  # they take the copula -다: 별로다, 서로다
    """
도로 위로 서로 별로 회로 통로 제로 진로 피로 경로 활로 항로 선로 수로 주로 기로 미로 바로 홀로 새로 따로 궤로 폭로
과로 가로 세로 퇴로 난로 화로 원로 말로 애로 대로 절로 날로 판로 육로 프로 포로 에로 타로 고로 조로 종로 행로 차로
철로 유로
""".split()
)
ROADS = tuple(
    """
도로 통로 회로 경로 항로 선로 진로 으로 그대로 함부로 진짜로 실제로 스스로 마음대로 멋대로 뜻대로 제대로 이대로
저대로 억지로 참으로 고속도로 히어로 마이크로 베드로 아마추어로 을지로 세종로 대학로 가로수로 산책로 등산로 탐방로
진입로
""".split()
)
NOUNS_NAI = frozenset("나이 사나이 바나나이 누나이 만나이 한국나이 세는나이".split())
NOUNS_SAI = frozenset(
    """
사이 회사이 의사이 기사이 역사이 행사이 가사이 시사이 검사이 교사이 판사이 조사이 천사이 이사이 인사이 장사이 식사이
공사이 간호사이 변호사이
""".split()
)


def final_consonant(syllable: str) -> int:
    """Index of a syllable's batchim (0 = none, 4 = ㄴ, 8 = ㄹ, 20 = ㅆ); 0 for anything that is no Hangul syllable."""
    code = ord(syllable) - 0xAC00
    return code % 28 if 0 <= code < 11172 else 0


def is_converb(text: str) -> bool:
    """Whether a word could be an -아/-어 form that a second verb follows: 돌아, 적어, 가져, 해."""
    if not text or text[-1] in "고러다":
        return bool(text)
    code = ord(text[-1]) - 0xAC00
    return 0 <= code < 11172 and code % 28 == 0 and code // 28 % 21 in _CONVERB_VOWELS


def is_stem(text: str, honorific: bool = True) -> bool:
    """Whether an open-syllable string ends in a predicate stem we know; with `honorific`, anything + -시- counts."""
    if not text:
        return False
    if text in SHORT_STEMS or text in LONG_STEMS or text.endswith(PRODUCTIVE):
        return True
    if honorific and len(text) >= 2 and text[-1] == "시":
        return text[:-1] in SHORT_STEMS or is_stem(text[:-1], honorific=False) or text[-2] in "으하"
    if any(text[-size:] in LONG_STEMS for size in (4, 3, 2) if size < len(text)):
        return True
    return any(text.endswith(verb) and is_converb(text[: -len(verb)]) for verb in (text[-1:], text[-2:]) if verb in AFTER_CONVERB)


def with_nieun(stem: str) -> str:
    """The stem with ㄴ under its last syllable where there is room: 하 -> 한, as in -ㄴ가, -ㄴ고."""
    return stem[:-1] + chr(ord(stem[-1]) + 4) if not final_consonant(stem[-1]) else stem


def is_liquid_stem(text: str) -> bool:
    """Whether a string ends in a predicate stem whose last consonant is ㄹ."""
    return text in LIQUID_STEMS or text.endswith(LONG_LIQUID_STEMS)


def is_closed_stem(text: str) -> bool:
    """Whether a string ends in a consonant-final stem or a tense marker, as before -소, -소이다, -도다."""
    return bool(text) and (final_consonant(text[-1]) == 20 or text[-1] in CLOSED_STEM_SYLLABLES)


def is_predicate(text: str) -> bool:
    """Whether a string can be a predicate before -나이다, -더이다, -다네: an open stem we know, or a closed one."""
    if not text:
        return False
    last = final_consonant(text[-1])
    if not last:
        return is_stem(text)
    sonorants = (4, 8, 16, 21)  # ㄴ ㄹ ㅁ ㅇ end many more names and nouns than stems
    return last not in sonorants or text[-1] in "안신품참넘남숨감심검담" or is_liquid_stem(text)


def is_reported(text: str) -> bool:
    """Whether a string is a reported clause or noun + 이- before -더이다, -더냐: 온다, 것이라, 중천이; not 라이(더)."""
    if len(text) < 2:
        return False
    return text[-1] in "다라" or text[-1] == "이" and bool(final_consonant(text[-2]))
