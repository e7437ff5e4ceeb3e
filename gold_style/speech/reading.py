"""One sentence -> the ending that closes it, and how that ending leans in this sentence.

The eojeol that carries the ending is not always the last: vocatives (…하소서, 전하!), afterthoughts (좋았어요,
정말로), laughter, emoji and parentheses follow it, and a quotation inside the sentence must not be mistaken for its
end.

    >>> read("통촉하여 주시옵소서, 전하!").ending.form
    '-옵소서'
    >>> read("그는 “통촉하시옵소서!”라고 외쳤어요.").ending.form
    '-요'
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from gold_style.speech import cues
from gold_style.speech.endings import EITHER, ENDINGS, JOSEON, MODERN, Ending, matches
from gold_style.speech.guards import GUARDS
from gold_style.speech.place import Place
from gold_style.speech.stems import is_converb, is_stem
from gold_style.speech.text import QUOTED_RE, hangul

_PAREN_RE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|（[^（）]*）|【[^【】]*】")
_TOKEN_RE = re.compile(r"[^\s,，;:：]+|[,，;:：]")
_TAIL_RE = re.compile(r"[^가-힣]+$")
_RUN_RE = re.compile(r"[가-힣]+$")
_PLACEHOLDER = "〃"  # stands for a quotation, so that "…"라고 keeps its particle but loses its ending
_TALK_RE = re.compile(r"(?:말|대사|유행어|명언|표현|문구|제목|구절|노래|가사|단어|어투|말투|예문|속담)$")

_VOCATIVES = frozenset(
    "전하 마마 대감 대감마님 나리 나으리 폐하 저하 상감 상감마마 중전마마 대비마마 대왕대비마마 세자저하 동궁마마 "
    "영감 사또 마님 아씨 도련님 서방님 스승님 어르신 아버님 어머님 아버지 어머니 할아버지 "
    "할머니 형님 누님 아우님 자네 그대 그대여 여러분 선생님 친구 친구여 벗이여 이놈아 이놈 사람아 주군 장군 장군님 "
    "낭자 도령 공자 부인 여보 엄마 아빠 언니 누나 오빠 형 얘들아 자기야 고객님 사장님 부장님 "
    "교수님 팀장님 영의정 좌의정 우의정 대사헌 도승지 주인장 주모 스님 신령님 하늘이여 주여 하느님 하나님 부처님 "
    "아바마마 어마마마 할바마마 할마마마 형장 노형 소저 나그네 젊은이 총각 처자 임자 공주님 왕자님 "
    "세자 중전 상감마마시여 전하시여 폐하시여 마마님 원님 현감 나리님 선비님 훈장님 의원님 대인 경들 백성들아 "
    "신하들아 얘야 아가 아들아 딸아 당신".split()
)
# Said behind a finished sentence: 미쳤다 진짜, 싫다 흑흑.
_ASIDES = frozenset("진짜 진짜로 정말 정말로 참말 완전 대박 흑흑 엉엉 하하 하하하 헤헤 히히 흐흐 허허 껄껄".split())
_CALL_RE = re.compile(r"(?:님|씨|이여|시여|놈아|들아|놈들아|야|아|여)$")
# Sentence-final beyond doubt wherever they stand: looked for when something without an ending follows.
_SPOKEN_FINALS = ("-습니다", "-ㅂ니다", "-습니까", "-ㅂ니까", "-십시오", "-요", "-죠")


_LINKS = tuple("니 나 며 데 고 바 즉 대 늘 와 에 로".split())
_CLAUSE_FORMS = frozenset("-니 -아 -어 -여 -서 -해 -게 -와 -는데 -ㄴ데 -은데 -라 -자".split())
_QUOTATIVES = ("라고", "이라고", "하고", "라며", "라는", "하며", "라면서")


_FUSED = frozenset("가 타 사".split())
_PLAIN_SPEECH = unicodedata.normalize("NFD", "아")


class Reading(NamedTuple):
    """The closing ending of one sentence (None: no ending found), its lean there, archaic minus modern cues, and the
    part of the sentence that was read (without quotations and parentheses)."""

    text: str
    ending: Ending | None
    lean: str
    score: int
    core: str = ""


def read(sentence: str) -> Reading:
    """Reading of one normalised sentence (as cut by `text.split_sentences`)."""
    core, quote = _outside_quotes(sentence)
    words, breaks = _words(core)
    if not words:
        return Reading(sentence, None, EITHER, 0)
    found = _close(words, breaks)
    if found is None or quote and core.rstrip(" .!?…").endswith(_PLACEHOLDER):
        inner = _inner_reading(sentence, quote, found, core)
        if inner is not None:
            return inner
    if found is None:
        return Reading(sentence, None, EITHER, 0, core)
    ending, lean = found
    if ending.form == "-시오" and sentence.rstrip(" \"'”’」)").endswith("?"):
        lean = JOSEON  # nobody asks a question with the imperative of a signpost
    return Reading(sentence, ending, lean, _score(core, ending, lean), core)


def _score(text: str, ending: Ending, lean: str) -> int:
    return (
        0
        if lean in (JOSEON, MODERN)
        else cues.score(
            text,
            order=ending.guard in cues.ORDERS,
            upward=ending.old in ("하소서체", "하오체"),
            plea=ending.guard == "sign" and lean == EITHER,
        )
    )


def _outside_quotes(sentence: str) -> tuple[str, str]:
    """The sentence with quotations replaced, and its last quotation; a wholly quoted sentence is taken as spoken."""
    quotes = [match.group() for match in QUOTED_RE.finditer(sentence)]
    outside = QUOTED_RE.sub(_PLACEHOLDER, sentence)
    if quotes and len(hangul(outside)) < 2 and not re.search(_PLACEHOLDER + "[가-힣]", outside):
        outside, quotes = " ".join(quote[1:-1] for quote in quotes), []
    trimmed = _PAREN_RE.sub(" ", outside)
    return (trimmed if len(hangul(trimmed)) >= 2 else outside), (quotes[-1][1:-1] if quotes else "")


def _inner_reading(sentence: str, quote: str, found: tuple[Ending, str] | None, core: str) -> Reading | None:
    """A sentence that ends in a quotation: its frame decides where it has an ending, else the quoted words do."""
    frame = core.rstrip(" .!?…").rstrip(_PLACEHOLDER).rstrip(" ,:：")
    words, breaks = _words(frame)
    framed = _close(words, breaks) if words else None
    if (
        not quote
        or (framed is not None and framed[1] in (MODERN, JOSEON))
        or _TALK_RE.search(frame)
        or found is not None
        and words
        and framed is None
    ):
        if framed is None:
            return None
        return Reading(sentence, framed[0], framed[1], _score(frame, framed[0], framed[1]), frame)
    return read(quote)._replace(text=sentence) if hangul(quote) else None


def _words(core: str) -> tuple[list[str], list[int]]:
    """Eojeols up to the last one with Hangul, and the positions at which a comma or colon precedes an eojeol."""
    words: list[str] = []
    breaks: list[int] = []
    for token in _TOKEN_RE.findall(core):
        if len(token) == 1 and token in ",，;:：":
            breaks.append(len(words))
        elif (word := _TAIL_RE.sub("", token)) or _PLACEHOLDER in token:
            words.append(word or _PLACEHOLDER)
    return words, [b for b in breaks if 0 < b < len(words)]


def _close(words: list[str], breaks: list[int]) -> tuple[Ending, str] | None:
    """The closing ending: of the last eojeol, else of the clause before a vocative or an afterthought."""
    last_break = breaks[-1] if breaks else 0
    tail = words[last_break:]
    earlier = _match(words[:last_break]) if last_break and len(tail) <= 4 else None
    if earlier is not None and (not _is_final(*earlier) or tail[0].startswith(_QUOTATIVES)):
        earlier = None
    if earlier is not None and _is_call(tail):
        return earlier
    end = len(words)
    while end > 1 and (words[end - 1] in _VOCATIVES or words[end - 1] in _ASIDES):
        end -= 1
    found = _match(words[:end])
    if found is None or found[0].guard in ("linked", "spoken") and earlier is not None and earlier[1] == JOSEON:
        found = earlier or found  # an afterthought: 괘씸한지고, 은혜를 원수로 갚다니
    if found is not None:
        return found
    for cut in range(end - 1, max(end - 4, 0), -1):
        before = _match(words[:cut])
        if before is not None and _is_unmistakable(*before):
            return before
    return None


def _is_call(tail: list[str]) -> bool:
    """Whether the words after the last comma call somebody: 전하, 이 사람아, 나의 아들아."""
    last = tail[-1]
    short = len(tail) <= 2 and _CALL_RE.search(last)
    return len(tail) <= 3 and bool(short or last in _VOCATIVES or last.endswith(("놈아", "들아", "이여")))


def _is_final(ending: Ending, lean: str) -> bool:
    """Whether an ending closes a sentence rather than a clause: -하소서, not -하오니 or -고."""
    if ending.form in _CLAUSE_FORMS or ending.guard == "linked" or _is_link(ending):
        return False
    return lean != EITHER or ending.guard in ("wonder", "query")


def _is_unmistakable(ending: Ending, lean: str) -> bool:
    """Whether an ending closes a sentence wherever it stands, even with words behind it: 잘 먹었습니다 사장님."""
    return ending.form in _SPOKEN_FINALS or lean == JOSEON and ending.old == "하소서체" and not _is_link(ending)


def _is_link(ending: Ending) -> bool:
    """Whether an archaic form only joins clauses: -하오니, -사온데, -옵고."""
    return ending.old == "하소서체" and ending.form.endswith(_LINKS)


def _match(words: list[str]) -> tuple[Ending, str] | None:
    """The longest ending of the last eojeol that its guard accepts: (ending, lean)."""
    run = _RUN_RE.search(words[-1])
    if run is None:
        return None
    word, attached = run.group(), run.start() > 0  # attached: digits, Latin letters or a quotation stand before it
    before = tuple(words[:-1] + [words[-1][: run.start()]] if attached else words[:-1])
    if len(word) > 2 and (short := _unstretched(word)):
        found = _match([*words[:-1], short])
        if found is not None and (found[1] == JOSEON or found[0].form in _SPOKEN_FINALS):
            return found
    for ending, stem in matches(word):
        if ending.guard:
            lean = GUARDS[ending.guard](Place(stem, before, ending.form))
        else:
            lean = ending.lean if stem or before else None
        if lean is not None:
            return ending, lean
    if before and (word in _FUSED or len(word) > 1 and is_converb(word) and is_stem(word, honorific=False)):
        return ENDINGS[_PLAIN_SPEECH], MODERN  # 자주 가? 같이 떠나. the stem has swallowed the -아
    return None


def _unstretched(word: str) -> str:
    """하소서어 -> 하소서, 옵니다아 -> 옵니다: a drawn-out last vowel, else an empty string."""
    last, previous = ord(word[-1]) - 0xAC00, ord(word[-2]) - 0xAC00
    silent_initial = 11
    if not 0 <= last < 11172 or last % 28 or last // 588 != silent_initial or not 0 <= previous < 11172 or previous % 28:
        return ""
    return word[:-1] if last // 28 % 21 == previous // 28 % 21 else ""
