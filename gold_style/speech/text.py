"""Text hygiene before any grammar: normalise, cut into sentences, find quotations, recognise text that is no answer at
all.

Everything here is language-aware but style-blind: it decides whether a text can be judged, never which style it has.

    >>> split_sentences("비가 옵니다. “물러가라!” 하고 외쳤어요.")
    ['비가 옵니다.', '“물러가라!” 하고 외쳤어요.']
    >>> is_degenerate("옵니다옵니다옵니다")
    True
"""

from __future__ import annotations

import re
import unicodedata

QUOTED_RE = re.compile(
    r"“[^”]*”|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》|〈[^〉]*〉|«[^»]*»"
    r"|(?<!\w)\"[^\"\n]+\"|(?<!\w)'[^'\n]+'(?![A-Za-z])"
)
_INVISIBLE_RE = re.compile("[\u200b-\u200f\u2028\u2029\u2060\ufeff\u00ad\x00-\x08\x0b\x0c\x0e-\x1f\ufe0f]")
_MARKUP_RE = re.compile(r"<[/|]?[A-Za-z][^<>\n]{0,40}>|\*{1,3}|~~|`+|(?<!\w)_{1,2}(?=\w)|(?<=\w)_{1,2}(?!\w)")
_BULLET_RE = re.compile(r"^\s*(?:#{1,6}\s+|>\s*|[-*+•·▪◦○●▶☞※]\s+|\(?\d{1,3}[.)]\s+|[①-⑳]\s*|[가-하][.)]\s+)+")
_BOUNDARY_RE = re.compile(r"[.!?。！？…⋯]+[\"'”’」』)\]]*|\n+")
_QUOTATIVE_RE = re.compile(r"\s*(?:라고|이라고|라며|이라며|라는|이라는|하고|하며|하면서|라면서|하는|한|란|이란|고|며)(?![가-힣])")
_FINAL_SYLLABLES = frozenset("다요오소서라까네죠지냐가세자군나구려이니")
_HANGUL_RE = re.compile(r"[가-힣]")
_LETTER_RE = re.compile(r"[^\W\d_]")
_LAUGH = frozenset("ㅋㅎㅠㅜㅇㄷㄱㄴㅡㅗㅏ")
_ALPHABET = "가나다라마바"
_URGENT = frozenset("아니 어서 제발 부디 그래 여보 만세 빨리 얼쑤".split())
_CRIES = frozenset("하호히후헤흐쿠크아오어으음와우야")
_NOT_WORD_RE = re.compile(r"[\W_]+")
_LOOP_RE = re.compile(r"(.{2,60}?)\1\1+")
# Endings with no word in front: nobody says these, but a model that games a suffix list does.
_BARE_RE = re.compile(
    "(?:옵니다|[사하이]옵니다|[하사]?옵니까|나이[다까]|하?옵?소서|도다|이?로다|하?노라|느?니라|지어다|로소이다|[소오리]이다|[하이시]오|구려|올시다|사?옵)+"
)
_BARE_LIST_RE = re.compile(
    "(?:[하이있없되시사겠으]*(?:옵니다|옵니까|나이[다까]|소서|도다|로다|노라|니라|지어다|[소오리]이다|구려|올시다)){2,}"
)
_STUTTER_RE = re.compile(r"(.)\1{3,}")

# Syllables that make up about 98 % of ordinary Korean text. Random syllables share a third of them, prose nearly all.
COMMON_SYLLABLES = frozenset(
    "가각간갈감갑값갓갔강갖같갚개객갠걍걔거걱건걷걸검겁것겄게겐겟겠겨격겪견결겹겼경곁계고곡곤곧골곰곱곳공과관광괜괴"
    "굉교구국군굳굴굶굽굿궁권궐궤귀귄귈규균귤그극근글긁금급긋긍기긴길김깃깊까깍깎깐깔깜깝깨꺼꺾껄껏께껴꼈꼬꼭꼼꼽꽂"
    "꽃꽤꾜꾸꾹꾼꿀꿈꿔꿨뀌뀔끄끈끊끌끔끗끝끼낀낄낌나낙낚난날낡남납낫났낭낮낳내낸낼냄냈냉냐냥너넋넌널넓넘넣네넷녀녁"
    "년념녕녘노녹논놀놈놋농높놓놔놨뇌뇨누눈눕눠뉴느는늘늙능늦늪니닉닌닐님닝다닥닦단닫달닭닮담답당닿대댁댄댓더덕던덜"
    "덤덧덩덮데덴뎌도독돈돋돌돗동돛돼됐되된될됨됩됬두둔둘둥둬뒤뒷드득든듣들듬듭듯등디딘딛딩딪따딱딴딸땀땅때땐땜땡떠"
    "떡떤떨떻떼또똑똥뚝뛰뜨뜬뜰뜻띄라락란랄람랍랐랑래랙랜램랫랬랴량러럭런럴럼럽렀렇레렉렌렐렘렛려력련렬렵렷렸령례로"
    "록론롤롭롯롱뢰료룡루룩룰뤄류륙률륭르른를름릇릉리릭린릴림립릿링마막만많맏말맑맘맙맛망맞맡매맥맨맴맷맹머먹먼멀멈"
    "멋멍멎메멘멜며면멸명몇모목몫몬몰몸못몽묘무묵묶문묻물뭄뭇뭉뭐뭔뭘뮤므미믹민믿밀밋밌밍및밑바박밖반받발밝밟밤밥방"
    "밭배백뱃버번벌범법벗베벤벨벼벽변별볍병볕보복볶본볼봄봅봇봉봐봣봤뵈뵘뵙부북분불붉붕붙브블비빅빈빌빗빙빛빠빡빨빵"
    "빼뺏뻐뻔뻤뼈뽑뿌뿐뿔쁘쁜쁨사삭삯산살삶삼삿샀상샅새색샘생샤서석섞선섣설섬섭섯성세섹센셀셉셋셔션셨소속손솔솜솟송"
    "솥쇠쇼수숙순술숨숭숯쉬쉴쉼쉽슈스슨슬슴습슷승시식신싣실싫심십싱싶싸싼쌀쌍쌓써썸썼쎄쏘쏟쐬쓰쓴쓸씀씁씨씩씬씹씻아"
    "악안앉않알앓암압앗았앙앞애액앤앱야약얀얇양얗얘어억언얻얼엄업없엇었엉엎에엔엘엠여역연열염엽엿였영옅옆예옛오옥온"
    "올옮옳옴옵옷옹와완왔왕왜왠외요욕용우욱운울움웃웅워원월웠웨웬웹위윌윗유육윤율윷으은을음응의이익인일읽잃임입잇있"
    "잉잊잎자작잔잖잘잠잡잣잤장재잭잼쟁저적전절젊점접정젖제젠젤져졌조족존졸좀좁종좇좋좌죄죠주죽준줄줌줍중줘줬쥐즈즉"
    "즌즐즘증지직진질짐집짓징짖짙짚짜짝짠짧짱째쩌쩐쩔쪼쪽쫌쫓쭉쭙쯤찌찍찐찔찡찢찧차착찬찮찰참창찾채책챘챙처척천철첨"
    "첩첫청체쳐쳤초촉촌촛총촬최추축춘출춤춥충춰취츠측층치친칠침칭카칼캐커컨컬컴컷케켜켰코콕콘콜콤콧콩쾌쿠쿨퀄퀴큐크"
    "큰클큼키킨킬킹타탁탄탈탐탑탔탕태택탤터턴털테텐텔템텨토톡톰톱통퇴투툰튜트특튼틀틈틋티틱틴팀팅파판팔팠패팩팬팽퍼"
    "펑페펜펴편펼평폐포폭폰표푸푹푼풀품풋풍퓨프픈플픔피픽핀필핍핑하학한할함합항해핵핸햇했행향허헌헐험헛헤헬헷혀혁현"
    "혈혐협혔형혜호혹혼홀홍화확환활황회획효후훈훌훗훤훨휘휴휼흉흐흑흔흘흙흠흡흥희흰히힌힐힘"
)


def normalise(text: str) -> str:
    """NFC text without invisible characters, tags and Markdown emphasis; line breaks stay."""
    text = _INVISIBLE_RE.sub("", unicodedata.normalize("NFC", text))
    return _MARKUP_RE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def hangul(text: str) -> str:
    """Only the Hangul syllables of an NFC text."""
    return "".join(_HANGUL_RE.findall(text))


def split_sentences(text: str) -> list[str]:
    """Sentences of a text, in order, bullets stripped; a quotation inside a sentence never ends it."""
    text = normalise(text)
    quotes = [match.span() for match in QUOTED_RE.finditer(text)]
    pieces, start = [], 0
    for match in _BOUNDARY_RE.finditer(text):
        if match.start() >= start and _ends_sentence(text, start, match, quotes):
            pieces.append(text[start : match.end()])
            start = match.end()
    pieces.append(text[start:])
    sentences = [_BULLET_RE.sub("", piece).strip() for piece in pieces]
    return [sentence for sentence in sentences if _NOT_WORD_RE.sub("", sentence)]


def _ends_sentence(text: str, start: int, match: re.Match[str], quotes: list[tuple[int, int]]) -> bool:
    mark, at, end = match.group(), match.start(), match.end()
    inside = next((span for span in quotes if span[0] < at < span[1]), None)
    if inside is not None:
        # A whole quoted utterance is a sentence; a quotation within a sentence is not, nor one that "라고" picks up.
        opens = not _NOT_WORD_RE.sub("", text[start : inside[0]])
        return opens and end >= inside[1] and not _QUOTATIVE_RE.match(text, inside[1])
    if mark[0] == "\n":
        return True
    before, after = text[at - 1 : at], text[end : end + 1]
    if mark[0] in "…⋯" or mark.startswith(".."):  # a pause inside a sentence unless it follows a sentence-final syllable
        return before in _FINAL_SYLLABLES
    if mark[0] == "." and not after.isspace() and after:
        return bool(_HANGUL_RE.match(before)) and not after.isalnum() or _glued(before, after)
    if mark[0] == "." and before.isdigit() and not _NOT_WORD_RE.sub("", text[start:at]).rstrip("0123456789"):
        return False  # the number of a list item
    return True


def _glued(before: str, after: str) -> bool:
    """Two sentences written without a space: "했습니다.그리고"."""
    return before in _FINAL_SYLLABLES and bool(_HANGUL_RE.match(after))


def is_korean(text: str) -> bool:
    """Whether a normalised text is Korean prose: Hangul words dominate, no foreign script, no random syllables."""
    syllables = hangul(text)
    if len(syllables) < 2:
        return False
    letters = [c for c in _LETTER_RE.findall(text) if c not in _LAUGH]
    foreign = sum(1 for c in letters if not ("가" <= c <= "힣") and not c.isascii())
    if foreign > 0.3 * len(letters):
        return False
    words = [word for word in text.split() if _LETTER_RE.search(word)]
    if sum(1 for word in words if _HANGUL_RE.search(word)) < 0.4 * len(words):
        return False
    known = sum(1 for c in syllables if c in COMMON_SYLLABLES)
    return known >= 0.5 * len(syllables)


def is_degenerate(text: str) -> bool:
    """Whether a text is empty, broken (U+FFFD) or stuck in a loop of a syllable group, a word or a sentence.

    Natural repeats ("멍멍", "하하하", "아니, 아니, 아니 되오") do not count: a loop says the same two or more syllables
    at least three times in half of the text, or five times anywhere.
    """
    if "\ufffd" in text:
        return True
    text = normalise(text)
    body = _NOT_WORD_RE.sub("", text)
    if not body:
        return True
    korean = hangul(body)
    if body != "옵니다" and (_BARE_RE.fullmatch(korean) or _BARE_LIST_RE.fullmatch(korean)):
        return True
    if _ALPHABET in body and len(body) <= len(_ALPHABET) + 5:
        return True
    for match in _LOOP_RE.finditer(body):
        unit, total = match.group(1), len(match.group())
        if set(unit) <= _LAUGH or (len(set(unit)) == 1 and unit[0] in _CRIES):
            continue
        times = total // len(unit)
        fills = 0.7 if times == 3 and unit in _URGENT else 0.5
        if times >= 5 or total >= fills * len(body):
            return True
    stutters = [(m.group(1), len(m.group())) for m in _STUTTER_RE.finditer(body) if m.group(1) not in _LAUGH]
    if any(length >= (0.5 * len(body) if letter in _CRIES else 6) for letter, length in stutters if length >= 6):
        return True
    if sum(length for letter, length in stutters if letter not in _CRIES) > 0.3 * len(body):
        return True
    return _sentences_loop(text) or _words_loop(text)


def _sentences_loop(text: str) -> bool:
    """The same sentence three times, or most of four and more sentences said before."""
    said = [_NOT_WORD_RE.sub("", s) for s in re.split(r"[.!?\n。]+", text)]
    said = [s for s in said if len(s) >= 4]
    if len(said) < 3:
        return False
    counts = {s: said.count(s) for s in said}
    return max(counts.values()) >= 3 and max(counts.values()) >= 0.4 * len(said) or len(counts) <= 0.5 * len(said)


def _words_loop(text: str) -> bool:
    """A long text that goes round with small variations: few distinct word pairs, or one word for half of the text."""
    words = [_NOT_WORD_RE.sub("", word) for word in text.split()]
    words = [word for word in words if word]
    if len(words) >= 6 and max(words.count(word) for word in set(words)) >= 0.5 * len(words):
        return True
    pairs = list(zip(words, words[1:], strict=False))
    return len(pairs) >= 20 and len(set(pairs)) < 0.5 * len(pairs)
