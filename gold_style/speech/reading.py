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
from gold_style.speech.candidate import Candidate
from gold_style.speech.endings import EITHER, ENDINGS, JOSEON, MODERN, Ending, matches
from gold_style.speech.guards import GUARDS
from gold_style.speech.stems import is_converb, is_stem
from gold_style.speech.tables import read_words
from gold_style.speech.text import QUOTED_RE, hangul

LISTS = read_words("reading")
# Guards of orders that print and people share: old topics count for these.
ORDERS = ("written_order", "printed_or_spoken_order", "warning_or_order", "shouted_order")

# Guards of casual endings and clauses: after a comma they may only add to a finished archaic sentence.
AFTERTHOUGHTS = ("unfinished_clause", "casual_not_noun", "urging_not_noun")

_PAREN_RE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|（[^（）]*）|【[^【】]*】")
_TOKEN_RE = re.compile(r"[^\s,，;:：]+|[,，;:：]")
_TAIL_RE = re.compile(r"[^가-힣]+$")
_RUN_RE = re.compile(r"[가-힣]+$")
_PLACEHOLDER = "〃"  # in place of a quotation, so that "…"라고 keeps its particle but loses its ending

Found = tuple[Ending, str]  # an ending and its lean where it was found


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
    if found is None or quote and core.rstrip(" .!?…").endswith(_PLACEHOLDER):  # the sentence ends in a quotation
        frame = core.rstrip(" .!?…").rstrip(_PLACEHOLDER).rstrip(" ,:：")
        framing, breaks = _words(frame)
        framed, talk = _close(framing, breaks), frame in LISTS.talk
        if framed and (not quote or talk or framed[1] in (JOSEON, MODERN)):
            return _reading(sentence, framed, frame)
        if hangul(quote) and not talk and (framed or not (found and framing)):
            return read(quote)._replace(text=sentence)
    return _reading(sentence, found, core)


def _reading(sentence: str, found: Found | None, core: str) -> Reading:
    """The reading of a sentence whose ending was found, with its cues unless the ending decides by itself."""
    if found is None:
        return Reading(sentence, None, EITHER, 0, core)
    ending, lean = found
    if ending.form == "-시오" and sentence.rstrip(" \"'”’」)").endswith("?"):
        lean = JOSEON  # nobody asks a question with the imperative of a signpost
    if lean in (JOSEON, MODERN):
        return Reading(sentence, ending, lean, 0, core)
    upward = ending.old in ("하소서체", "하오체")
    plea = ending.guard == "printed_or_spoken_order" and lean == EITHER
    return Reading(sentence, ending, lean, cues.score(core, ending.guard in ORDERS, upward, plea), core)


def _outside_quotes(sentence: str) -> tuple[str, str]:
    """The sentence with quotations replaced, and its last quotation; a wholly quoted sentence is taken as spoken."""
    quotes = [match.group()[1:-1] for match in QUOTED_RE.finditer(sentence)]
    outside = QUOTED_RE.sub(_PLACEHOLDER, sentence)
    if quotes and len(hangul(outside)) < 2 and not re.search(_PLACEHOLDER + "[가-힣]", outside):
        outside, quotes = " ".join(quotes), []
    trimmed = _PAREN_RE.sub(" ", outside)
    return (trimmed if len(hangul(trimmed)) >= 2 else outside), (quotes[-1] if quotes else "")


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


def _close(words: list[str], breaks: list[int]) -> Found | None:
    """The closing ending: of the last eojeol, else of the clause before a vocative or an afterthought."""
    last_break = breaks[-1] if breaks else 0
    tail = words[last_break:]
    earlier = _match(words[:last_break]) if len(tail) <= 4 else None
    if earlier and (not _is_final(*earlier) or tail[0] in LISTS.quotatives):
        earlier = None
    if earlier and _is_call(tail):
        return earlier
    end = len(words)
    while end > 1 and (words[end - 1] in LISTS.vocatives or words[end - 1] in LISTS.asides):
        end -= 1
    found = _match(words[:end])
    if earlier and (found is None or found[0].guard in AFTERTHOUGHTS and earlier[1] == JOSEON):
        return earlier  # an afterthought: 괘씸한지고, 은혜를 원수로 갚다니
    if found:
        return found
    before = (_match(words[:cut]) for cut in range(end - 1, max(end - 4, 0), -1))
    return next((found for found in before if found and _is_unmistakable(*found)), None)


def _is_call(tail: list[str]) -> bool:
    """Whether the words after the last comma call somebody: 전하, 이 사람아, 나의 아들아."""
    last = tail[-1]
    return len(tail) <= 3 and (last in LISTS.vocatives or last in LISTS.calls or len(tail) <= 2 and last in LISTS.short_calls)


def _is_final(ending: Ending, lean: str) -> bool:
    """Whether an ending closes a sentence rather than a clause: -하소서, not -하오니 or -고."""
    if ending.form[1:] in LISTS.clause_forms or ending.guard == "unfinished_clause" or _is_link(ending):
        return False
    return lean != EITHER or ending.guard in ("shared_remark", "shared_question")


def _is_unmistakable(ending: Ending, lean: str) -> bool:
    """Whether an ending closes a sentence wherever it is, even with words after it: 잘 먹었습니다 사장님."""
    return ending.form[1:] in LISTS.spoken_finals or lean == JOSEON and ending.old == "하소서체" and not _is_link(ending)


def _is_link(ending: Ending) -> bool:
    """Whether an archaic form only joins clauses: -하오니, -사온데, -옵고."""
    return ending.old == "하소서체" and ending.form in LISTS.links


def _match(words: list[str]) -> Found | None:
    """The longest ending of the last eojeol that its guard accepts."""
    run = _RUN_RE.search(words[-1]) if words else None
    if run is None:
        return None
    word, attached = run.group(), words[-1][: run.start()]  # attached: digits, Latin letters or a quotation
    before = (*words[:-1], attached) if attached else tuple(words[:-1])
    if len(word) > 2 and _is_stretched(word):
        found = _match([*words[:-1], word[:-1]])
        if found and (found[1] == JOSEON or found[0].form[1:] in LISTS.spoken_finals):
            return found
    for ending, stem in matches(word):
        guard = GUARDS.get(ending.guard)
        verdict = guard(Candidate(word, stem, ending.form, before)) if guard else bool(stem or before)
        if verdict:
            return ending, ending.lean if verdict is True else verdict
    if before and (word in LISTS.fused or len(word) > 1 and is_converb(word) and is_stem(word, honorific=False)):
        return ENDINGS[unicodedata.normalize("NFD", "아")], MODERN  # 자주 가? 같이 떠나. the stem has swallowed the -아
    return None


def _is_stretched(word: str) -> bool:
    """Whether the last vowel is drawn out: 하소서어, 옵니다아."""
    vowel, consonant, last = list(unicodedata.normalize("NFD", word))[-3:]
    return consonant == "\u110b" and vowel == last  # the silent initial ㅇ
