"""What the rest of a sentence says where its ending is shared by both eras.

Cues never make a style alone: they are only asked when an ending leans (see `endings.py`). Speaker cues are pronouns,
forms of address and sentence adverbs (자네, 소인, 어찌; 진짜, 근데); they count for every shared ending. Topic words
(백성, 관아; 버스, 함수) count for written orders, and modern ones for questions: modern Korean writes about the Joseon
era all the time, so an old topic never makes an old sentence.

    >>> score("자네 어디 가는가"), score("진짜 맛있네 ㅋㅋ"), score("백성을 구휼하라", order=True)
    (2, -4, 1)
"""

from __future__ import annotations

import re

ORDERS = frozenset("written_order sign fear shout".split())  # guards of written and shouted orders: topics count here

_EDGE = r"(?![가-힣])"
_CASE = (
    r"(?:은|는|이|가|을|를|의|에게|께|께서|께서는|도|만|들|들은|들이|들의|와|과|야|여|이여|이시여|로서|더러|처럼|마저|조차|이야|이라|이나|일랑|랑|하고|게|이란|이라면"
    r"|에|에서|로|으로|마다|한테|라도|이라도|적|적인|들을|들에게|하여|히)?"
)
_HUMBLE = (  # who speaks up to whom: no company for plain or familiar endings (소신은 이만 자러 가지)
    "소신 소인 소첩 소생 소승 소관 소장 소저 노신 신첩 쇤네 불초 전하 저하 마마 대감마님 영감마님 나리 나으리 사또 "
    "원님 아씨 마님 도련님 서방님 상감 주상 폐하 주군"
).split()
_SPEAKERS = (
    "자네 자네들 이보게 여보게 이보시오 여보시오 이보시게 그대들 과인 본관 본좌 노부 대감 도령 낭자 노형 형장 대인 "
    "주인장 주모 여봐라 네놈 네년 이놈 저놈 요놈 고얀 경들 경은 경이 너희 장군 임자 벗이여 누이 낭군 뉘 뉘라서 "
    "무어 무에"
).split()
_ADVERBS = (
    "어찌 어찌하여 어찌하면 어찌하다 어이하여 어인 허나 하여 헌데 허면 하온데 하물며 무릇 대저 필시 응당 마땅히 속히 "
    "냉큼 감히 가히 실로 진실로 삼가 부디 기어이 정녕 심히 자못 그리하면 그리하여 이리도 저리도 그리도 "
    "예서 게서 일찍이 어허 에헴 예끼 무엇하러 어디메 어느메 오호라 아뿔싸 대관절 행여 모름지기 한시바삐 섰거라 "
    "그러하니 그러하면 아니하고 아니하면 아니하니 아니하여 아니한 아니하겠는가 하였으니 간밤 작금 금일 명일 그러하네 "
    "그러한가"
).split()
_OLD_PHRASES = "|".join(
    (
        r"(?<![가-힣])그대(?:는|가|를|의|에게|도|여|와|만|께)?(?![가-힣])",
        r"네 이[놈년]|이 사람아|, ?이 사람(?![가-힣])|이 몸[은이의을]|여봐라|지 못할까|바른대로|로구나",
        r"아니 (?:되|하[였겠느옵])|[하되이시으][옵사]오?[니며나](?![가-힣])|하였(?:느|으|거|더|네|는가)|단 말(?:이|인)",
        r"(?<![가-힣])내 (?:그대|이미|일찍|친히|너를|이를|어찌|직접|기필|반드시|자네)|(?<![가-힣])[짐경]은(?![가-힣])",
        r"(?<![가-힣])네(?:가|놈|년)? (?:감히|어찌|죄)|아뢰|고하[여니게]|통촉|망극|황공|무엄|무탈|강녕|연유",
        # an archaic ending of an earlier clause
        r"(?:노니|일세|아닐세|로세|게나|세나|느냐|노라|도다|이로다|소서|나이다|[있없겠었았였]소)(?![가-힣])",
    )
)
# What turns an order into a plea between people: 어서 드시오, 내 말을 들으시오, 밤길이 어두우니 조심하시오.
_PLEAS = (
    "어서 이리 이리로 저리 부디 그만 이만 제발 이제 잠시 잠깐 당장 속히 썩 너무 허허 자 나 나를 나와 나도 나의 내 "
    "내게 우리 우리와 염려 걱정 심려 근심 마음 마음껏 편히 푹 말씀 입 눈물 울음 웃음 목숨 은혜 용서 노여움 술 밥 상 "
    "떡 잔 사발 밤길 등불 안으로 몸조심 몸조리 고개 손님 모두들 누구 아무 비단 약재 곡식 농 한번 조심히 그리 "
    "언제 언제든 부인 형님 아우 벗 냥 약조 약속 소식 기별 세월"
).split()
_PLEA_PHRASES = (
    r"(?:것이|[하우르프쁘크었았였])니(?![가-힣])|거든(?![가-힣])"
    r"|(?:(?<![가-힣])조심|안심|각오|명심|진정|단념|생각|안녕)하시오"
)
_OLD_TOPICS = (
    "백성 만백성 고을 수령 관아 조정 종묘 사직 어명 왕명 교지 상소 윤허 하교 분부 조운 급제 양반 노비 포졸 군졸 군사 "
    "장졸 변방 오랑캐 왜적 왜구 봉화 성벽 성문 궁궐 대궐 궐 궐문 도성 한양 국법 국본 곳간 환곡 구휼 진휼 "
    "기우제 제단 역병 흉년 풍년 가뭄 세곡 부역 군역 방백 관찰사 목사 현감 군수 판관 영의정 좌의정 우의정 판서 승지 "
    "도승지 대신 신하 신료 죄인 역적 곤장 하옥 포박 압송 참형 사약 유배 귀양 오라 죄상 이실직고 명심 거행 봉행 엄히 "
    "상을 천명 종사 태평 성덕 충신 간신 선왕 용상 옥좌 파발 서찰 장계 밀지 어의 내의원 상궁 나인 내시 중전 세자 대비 "
    "빈궁 원자 옹주 대군 성균관 유생 훈장 서당 향교 서원 주막 장터 나루터 모내기 둑 제방 절기 농사 논밭 팔도 삼남 "
    "풍악 형틀 주리 대령 동헌 포도청 의금부 어전 옥사 하인 머슴 행랑 사랑채 말머리 군령"
).split()
_NEW_SPEECH = (
    "진짜 너무 완전 엄청 되게 그냥 근데 이거 그거 저거 뭐 뭔가 걔 쟤 얘들 저는 제가 저도 우리집 오빠 언니 "
    "엄마 아빠 대박 헐 우와 응 글쎄 저기요 이따 "
    "아저씨 팀장 부장 사장 고객 아무튼 어쨌든 일단 솔직히"
).split()
_NEW_TOPICS = (
    "회사 버스 지하철 컴퓨터 인터넷 핸드폰 휴대폰 스마트폰 앱 영화 드라마 카페 커피 콘서트 아이돌 게임 유튜브 택배 "
    "주말 월요일 화요일 수요일 목요일 금요일 토요일 일요일 오전 오후 텔레비전 뉴스 경제 정부 사회 과학 기술 데이터 "
    "시스템 프로젝트 아파트 마트 편의점 치킨 피자 에어컨 냉장고 세탁기 카드 은행 대출 주식 투자 연구 분석 결과 문제 "
    "질문 다음 물음 보기 괄호 빈칸 그래프 함수 방정식 코드 프로그램 알고리즘 문서 양식 서류 신청서 출입 금연 주차 "
    "버튼 비상구 번호 페이지 지문 밑줄 조건 차이점 특징 정권 노동 노동자 대통령 국회 인권 민주주의 시민 국민 정책 "
    "임금인상 최저임금 선거 오늘날 현대 현대인 인류 지구 환경 기후 에너지 소비자 브랜드 디자인 콘텐츠 서비스 플랫폼 "
    "온라인 "
    "인공지능 로봇 교육 학교 학생 비정규직 재벌 민영화 복지 예산 법안 개혁 언론 기업 시장경제 자본주의 역사학자 "
    "조선시대 당시 세기 년대 계약서 항목 정답 답안 답안지 수험 성명 전원 우측 좌측 노약자 낙서 음식물 계단 쓰레기 "
    "안전벨트 경적 벨 번호표 출구 관람 비밀번호 동그라미 설명서 어린이 직사광선 복용 의사 개봉 냉장 화기 단어 문장 "
    "글쓴이 낱말 국어사전 느낀 주장 배열 정수 명제 등록금 위험 먹이 오른쪽 왼쪽 문항 도형 표 선 신발 줄 손"
).split()
_NEW_PHRASES = "|".join(
    (
        r"[ㅋㅎㅠㅜ]{2,}|\^\^|(?:했|었|았|였|있|없)(?:는데|거든|잖아|니까)|[가-힣](?:한테|랑)(?![가-힣])|어떡|것 같",
        r"(?:^|[.!?] ?)(?:와|야|아니|음|오)[,!~ ]",
    )
)


def _words(words: list[str], phrases: str = r"(?!)") -> re.Pattern[str]:
    body = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    return re.compile(rf"(?<![가-힣])(?:{body}){_CASE}{_EDGE}|{phrases}")


_OLD_SPEECH_RE = _words(_SPEAKERS + _ADVERBS, _OLD_PHRASES)
_PLEAS_RE = _words(_PLEAS, _PLEA_PHRASES)
_HUMBLE_RE = _words(_HUMBLE)
_OLD_TOPICS_RE = _words(_OLD_TOPICS)
_NEW_SPEECH_RE = _words(_NEW_SPEECH, _NEW_PHRASES)
_NEW_TOPICS_RE = _words(_NEW_TOPICS)


def score(text: str, order: bool = False, upward: bool = False, plea: bool = False) -> int:
    """Archaic minus modern cues: each speaker cue counts 2, topics together 1.

    Old topics count only for an `order`, humble speakers (소신, 전하) only for an `upward` or equal ending,
    words of a personal plea (어서, 내 말) only for a `plea`, which may also be a sign.
    """
    speech = _count(_OLD_SPEECH_RE, text) - _count(_NEW_SPEECH_RE, text)
    if upward:
        speech += _count(_HUMBLE_RE, text)
    if plea:
        speech += min(_count(_PLEAS_RE, text), 1)
    topic = -min(_count(_NEW_TOPICS_RE, text), 2 if plea else 1)
    if order:
        topic += min(_count(_OLD_TOPICS_RE, text), 1)
    return 2 * speech + topic


def _count(pattern: re.Pattern[str], text: str) -> int:
    return len({match.group() for match in pattern.finditer(text)})
