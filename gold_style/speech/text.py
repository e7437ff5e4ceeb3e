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
from collections import Counter

from gold_style.speech.tables import read_words

LISTS = read_words("text")
COMMON_SYLLABLES = frozenset("".join(LISTS.common.whole))

QUOTED_RE = re.compile(
    r"“[^”]*”|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》|〈[^〉]*〉|«[^»]*»"
    r"|(?<!\w)\"[^\"\n]+\"|(?<!\w)'[^'\n]+'(?![A-Za-z])"
)
_INVISIBLE_RE = re.compile("[\u200b-\u200f\u2028\u2029\u2060\ufeff\u00ad\x00-\x08\x0b\x0c\x0e-\x1f\ufe0f]")
_MARKUP_RE = re.compile(r"<[/|]?[A-Za-z][^<>\n]{0,40}>|\*{1,3}|~~|`+|(?<!\w)_{1,2}(?=\w)|(?<=\w)_{1,2}(?!\w)")
_BULLET_RE = re.compile(r"^\s*(?:#{1,6}\s+|>\s*|[-*+•·▪◦○●▶☞※]\s+|\(?\d{1,3}[.)]\s+|[①-⑳]\s*|[가-하][.)]\s+)+")
_BOUNDARY_RE = re.compile(r"[.!?。！？…⋯]+[\"'”’」』)\]]*|\n+")
_NEXT_WORD_RE = re.compile(r"\s*([가-힣]*)")
_HANGUL_RE = re.compile(r"[가-힣]")
_NOT_HANGUL_RE = re.compile(r"[^가-힣]+")
_LETTER_RE = re.compile(r"[^\W\d_]")
_LAUGH = frozenset("ㅋㅎㅠㅜㅇㄷㄱㄴㅡㅗㅏ")
_ALPHABET = "가나다라마바"
_NOT_WORD_RE = re.compile(r"[\W_]+")
_LOOP_RE = re.compile(r"(.{2,60}?)\1\1+")
# Endings with no word in front: nobody says these, but a model that games a suffix list does.
_BARE_RE = re.compile(
    "(?:옵니다|[사하이]옵니다|[하사]?옵니까|나이[다까]|하?옵?소서|도다|이?로다|하?노라|느?니라|지어다|로소이다|[소오리]이다|[하이시]오|구려|올시다|사?옵)+"
    "|(?:[하이있없되시사겠으]*(?:옵니다|옵니까|나이[다까]|소서|도다|로다|노라|니라|지어다|[소오리]이다|구려|올시다)){2,}"
)
_NUMBER_RE = re.compile(r"(\d)[\d.,]*(?=\d)\d")  # 1,000,000 says nothing twice
_PHRASES_LOOP_RE = re.compile(r"(?<!\S)((\S+ \S+ )(?:\S+ ){2,40}?)\1+\2")  # four words or more, again, and begun once more
_STUTTER_RE = re.compile(r"(.)\1{3,}")


def normalise(text: str) -> str:
    """NFC text without invisible characters, tags and Markdown emphasis; line breaks stay."""
    text = _INVISIBLE_RE.sub("", unicodedata.normalize("NFC", text))
    return _MARKUP_RE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def hangul(text: str) -> str:
    """Only the Hangul syllables of an NFC text."""
    return _NOT_HANGUL_RE.sub("", text)


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
        following = _NEXT_WORD_RE.match(text, inside[1])
        return opens and end >= inside[1] and following is not None and following[1] not in LISTS.quotatives
    if mark[0] == "\n":
        return True
    before, after = text[at - 1 : at], text[end : end + 1]
    if mark[0] in "…⋯" or mark.startswith(".."):  # a pause inside a sentence unless it follows a sentence-final syllable
        return before in LISTS.final_syllables
    if mark[0] == "." and after and not after.isspace():
        glued = before in LISTS.final_syllables and _HANGUL_RE.match(after)  # two sentences without a space: 했습니다.그리고
        return bool(glued or _HANGUL_RE.match(before) and not after.isalnum())
    number = mark[0] == "." and before.isdigit() and not _NOT_WORD_RE.sub("", text[start:at]).rstrip("0123456789")
    return not number  # of a list item


def is_korean(text: str) -> bool:
    """Whether a normalised text is Korean prose: Hangul words dominate, no foreign script, no random syllables."""
    syllables = hangul(text)
    if len(syllables) < 2:
        return False
    letters = [c for c in _LETTER_RE.findall(text) if c not in _LAUGH]
    foreign = sum(not ("가" <= c <= "힣" or c.isascii()) for c in letters)
    if foreign > 0.3 * len(letters):
        return False
    words = [word for word in text.split() if _LETTER_RE.search(word)]
    if sum(1 for word in words if _HANGUL_RE.search(word)) < 0.4 * len(words):
        return False
    known = sum(1 for c in syllables if c in COMMON_SYLLABLES)
    return known >= 0.5 * len(syllables)


def is_degenerate(text: str, language: str = "ko") -> bool:
    """Whether a text is empty, broken (U+FFFD) or stuck in a loop of a syllable group, a word or a sentence.

    Natural repeats ("멍멍", "하하하", "아니, 아니, 아니 되오") do not count: a loop says the same two or more syllables
    at least three times in half of the text, or five times anywhere. Other languages than Korean may say one word three
    times in more of a text ("row, row, row your boat"), but not begin a phrase of four words for the third time.
    """
    if "\ufffd" in text:
        return True
    text = normalise(text)
    if language != "ko":
        text = _NUMBER_RE.sub(r"\1", text).casefold()
        looping = _PHRASES_LOOP_RE.search(" ".join(re.findall(r"[^\W_]+", text)) + " ")
        if looping and 2 * len(looping.group()) >= len(text):
            return True
    body = _NOT_WORD_RE.sub("", text)
    only_endings = body != "옵니다" and _BARE_RE.fullmatch(hangul(body))
    alphabet = _ALPHABET in body and len(body) <= len(_ALPHABET) + 5
    return bool(not body or only_endings or alphabet or _syllables_loop(body, language) or _sentences_loop(text) or _words_loop(text))


def _syllables_loop(body: str, language: str) -> bool:
    """A group of syllables again and again, or one syllable drawn out where it is neither laughter nor a cry."""
    for match in _LOOP_RE.finditer(body):
        unit, total = match.group(1), len(match.group())
        if set(unit) <= _LAUGH or (len(set(unit)) == 1 and unit[0] in LISTS.cries):
            continue
        times = total // len(unit)
        fills = 0.7 if times == 3 and (unit in LISTS.urgent or language != "ko") else 0.5
        if times >= 5 or total >= fills * len(body):
            return True
    stutters = [(m.group(1) in LISTS.cries, len(m.group())) for m in _STUTTER_RE.finditer(body) if m.group(1) not in _LAUGH]
    if any(length >= 6 and (not cry or length >= 0.5 * len(body)) for cry, length in stutters):
        return True
    return sum(length for cry, length in stutters if not cry) > 0.3 * len(body)


def _sentences_loop(text: str) -> bool:
    """The same sentence three times, or most of four and more sentences said before."""
    said = [sentence for piece in re.split(r"[.!?\n。]+", text) if len(sentence := _NOT_WORD_RE.sub("", piece)) >= 4]
    if len(said) < 3:
        return False
    counts = Counter(said)
    most = max(counts.values())
    return most >= 3 and most >= 0.4 * len(said) or len(counts) <= 0.5 * len(said)


def _words_loop(text: str) -> bool:
    """A long text that goes round with small variations: few distinct word pairs, or one word for half of the text."""
    words = [word for token in text.split() if (word := _NOT_WORD_RE.sub("", token))]
    if len(words) >= 6 and max(Counter(words).values()) >= 0.5 * len(words):
        return True
    pairs = list(zip(words, words[1:], strict=False))
    return len(pairs) >= 20 and len(set(pairs)) < 0.5 * len(pairs)
