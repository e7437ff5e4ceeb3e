"""The table of Korean sentence endings: which speech level each marks, and whether that level is archaic or alive
today.

An ending is written as grammars write it: a leading consonant letter is the final consonant (batchim) of the syllable
before it, so "ㅂ니다" finds 갑니다 and "ㄹ쏘냐" finds 질쏘냐. Matching works on NFD text, where every ending is a
plain suffix, and tries the longest first. Where an ending has a homograph, the row names a guard of `guards.py` that
looks at the stem in front of it: 망극하-옵니다 against 나오-ㅂ니다, 높-소 against 장소, 하-리라 against 소리-라.

Sources: "Korean speech levels" (https://en.wikipedia.org/wiki/Korean_speech_levels), the entries for these endings in
the Standard Korean Language Dictionary (https://stdict.korean.go.kr), and judgement where they disagree.

    >>> [(ending.form, stem) for ending, stem in matches("망극하옵니다")][0]
    ('-옵니다', '망극하')
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

JOSEON_LEVELS = ("하소서체", "하오체", "하게체", "옛 해라체")
MODERN_LEVELS = ("하십시오체", "해요체", "해체", "해라체", "명사형")
LEVELS = JOSEON_LEVELS + MODERN_LEVELS

# How an ending leans before its sentence is looked at: the outer two decide alone, the inner three ask for cues.
JOSEON, MOSTLY_JOSEON, EITHER, MOSTLY_MODERN, MODERN = "joseon", "mostly_joseon", "either", "mostly_modern", "modern"


class Ending(NamedTuple):
    """One row: `form` as grammars write it, the level it marks if read as archaic (`old`) or as modern (`new`)."""

    form: str
    old: str
    new: str
    lean: str
    guard: str


# (level if archaic, level if modern, lean, guard, endings)
_TABLE = (
    # 하소서체: speaking up to a king, a deity, a lord
    ("하소서체", "하십시오체", JOSEON, "come", "옵니다 옵니까 옵니다만 옵니다그려"),
    (
        "하소서체",
        "",
        JOSEON,
        "",
        "옵나이다 옵나이까 로소이다 로소이까 하여이다 겠나이다만 었나이다만 았나이다만 있나이다만 겠소이다만 옵더이다 옵더이까",
    ),
    ("하소서체", "", JOSEON, "", "옵소서 옵서 옵시다 옵지요 옵죠 옵지 옵는지요 옵신지요 옵니까요 옵니다요 올시다 올습니다 올씨다"),
    ("하소서체", "해라체", JOSEON, "copula", "나이다 니이다 리이다 더이다 오이다 사이다 지이다"),
    (
        "하소서체",
        "",
        JOSEON,
        "",
        "으리이다 리까 으리까 리이까 나이까 니이까 더이까 오이까 으오리다 으오리까 오리까 사오리까 사오리다 사오이다 사오이까",
    ),
    ("하소서체", "해라체", JOSEON, "verb", "오리다 오리이다"),
    ("하소서체", "해요체", JOSEON, "humble", "올지요 올는지요 올까요 오리요"),
    ("하소서체", "", JOSEON, "stemmed", "노이다"),
    ("하소서체", "", JOSEON, "entreaty", "소서"),
    ("하소서체", "", JOSEON, "", "으소서 시사이다 으사이다 하사이다 올지어다"),
    (
        "하소서체",
        "",
        JOSEON,
        "",
        "사오니 하오니 이오니 시오니 되오니 옵고 옵거늘 옵거니와 옵건대 옵더니 옵기에 옵기로 옵는데 옵는바 옵는지라",
    ),
    (
        "하소서체",
        "",
        JOSEON,
        "",
        "사오며 하오며 이오며 시오며 사오나 하오나 이오나 사온데 하온데 이온데 사온즉 하온즉 이온즉 사온지라 "
        "하온지라 하온바 있사와 없사와 겠사와 았사와 었사와 였사와 사옵고",
    ),
    ("하소서체", "하십시오체", EITHER, "", "습지요 습죠 습니다요 ㅂ니다요 굽쇼 뎁쇼 갑쇼 ㅂ쇼 ㅂ니다그려 습니다그려"),
    ("하소서체", "해요체", EITHER, "servant", "ㅂ지요 ㅂ죠"),
    # 하오체: between equals, or down with respect
    ("하오체", "해라체", JOSEON, "closed", "소이다 소이까"),
    ("하오체", "", JOSEON, "", "겠소이다 사외다 하외다 겠소 으오 려오 것이오 으리다 것이외다 소그려 오그려 으오만"),
    ("하오체", "해라체", JOSEON, "outside", "외다"),
    ("하오체", "", JOSEON, "closed", "소 소만 소마는"),
    ("하오체", "", JOSEON, "vowel", "오 오만 오마는"),
    ("하오체", "하십시오체", JOSEON, "sign", "시오 시오만"),
    ("하오체", "", JOSEON, "remark", "구려 구료"),
    ("하오체", "", JOSEON, "", "는구려 더구려 로구려 시구려 는구료 시구료"),
    ("하오체", "해라체", MOSTLY_JOSEON, "hearsay", "다오 라오 자오"),
    ("하오체", "해라체", JOSEON, "promise", "리다"),
    ("하오체", "하십시오체", MOSTLY_MODERN, "", "ㅂ시다 십시다"),
    ("하오체", "하십시오체", EITHER, "", "습디다 ㅂ디다 습디까 ㅂ디까"),
    ("하오체", "해요체", MOSTLY_MODERN, "", "이요 것이요 말이요"),
    # 하게체: down to a grown-up: a friend, a son-in-law, a pupil
    ("하게체", "해체", EITHER, "wonder", "네"),
    ("하게체", "해체", MOSTLY_JOSEON, "", "네만"),
    ("하게체", "해체", EITHER, "", "시네 셨네 시겠네"),
    ("하게체", "해체", MOSTLY_JOSEON, "told", "다네 라네"),
    ("하게체", "", JOSEON, "", "일세 아닐세 로세 음세 네그려 세그려 걸세 게나 세나 시게 시게나 구먼그려 로구먼 일세그려 더구먼그려"),
    ("하게체", "", JOSEON, "mse", "ㅁ세"),
    ("하게체", "", JOSEON, "hortative", "세"),
    ("하게체", "해라체", EITHER, "query", "는가 은가 ㄴ가 던가"),
    ("하게체", "해라체", MOSTLY_JOSEON, "", "시는가 으신가 셨는가 시겠는가 셨던가 시던가 아니한가"),
    ("하게체", "해체", MOSTLY_MODERN, "spoken", "나 지 구먼 구만"),
    ("하게체", "", JOSEON, "", "는고 던고 런고 ㄹ런가 을런가 을꼬 ㄹ꼬 ㄹ손가 을손가"),
    ("하게체", "해라체", JOSEON, "dream", "런가"),
    ("하게체", "", JOSEON, "adjective_go", "ㄴ고 ㄹ고"),
    ("하게체", "해체", EITHER, "order", "게 말게"),
    ("하게체", "", JOSEON, "sigh", "이"),
    # archaic 해라체: a king to his people, a master to a servant, a solemn narrator
    (
        "옛 해라체",
        "",
        JOSEON,
        "",
        "노라 느니라 더니라 으니라 ㄹ지니라 을지니라 ㄹ지라 을지라 리로다 로구나 로고나 렷다 으렷다 느냐 나니라 "
        "는지라 은지라 던지라 ㄴ지라",
    ),
    (
        "옛 해라체",
        "",
        JOSEON,
        "",
        "ㄹ지어다 을지어다 ㄹ찌어다 을찌어다 ㄹ찌니라 을찌니라 ㄹ찌라 을찌라 ㄹ지로다 ㄹ진저 을진저 ㄹ쏘냐 을쏘냐 "
        "ㄹ소냐 을소냐 ㄹ쏜가 을쏜가 은지고 는지고 ㄹ시고 을시고 이로고",
    ),
    ("옛 해라체", "해라체", JOSEON, "exclaim", "도다"),
    ("옛 해라체", "해라체", JOSEON, "noun_ro", "로다"),
    ("옛 해라체", "", JOSEON, "", "는도다 이로다 아니로다 었도다 았도다 였도다 겠도다 하도다"),
    ("옛 해라체", "", JOSEON, "tell", "니라"),
    ("옛 해라체", "해라체", JOSEON, "recall", "더냐"),
    ("옛 해라체", "", JOSEON, "rhetoric", "리오 리요 랴"),
    ("옛 해라체", "", MOSTLY_JOSEON, "rhetoric", "리라"),
    ("옛 해라체", "해라체", MOSTLY_JOSEON, "stemmed", "느니 노니"),
    ("옛 해라체", "", JOSEON, "praise", "ㄴ지고 로고"),
    ("옛 해라체", "", JOSEON, "rhetoric_ri", "리"),
    (
        "옛 해라체",
        "",
        JOSEON,
        "",
        "으리오 으리요 으리라 으리니 하리니 되리니 시리니 으랴 하랴 옵노니 하거늘 거늘 건대 ㄹ진대 을진대 을새 자꾸나",
    ),
    ("옛 해라체", "", JOSEON, "sister", "누나"),
    ("옛 해라체", "", JOSEON, "nyo", "뇨"),
    ("옛 해라체", "", JOSEON, "", "너라"),
    ("옛 해라체", "해체", JOSEON, "geora", "거라"),
    ("옛 해라체", "해라체", MOSTLY_JOSEON, "written_order", "으라 하여라 보아라 되어라 주어라 두어라 시어라 지어다"),
    ("옛 해라체", "해라체", EITHER, "written_order", "라"),
    ("옛 해라체", "해라체", EITHER, "indignant", "말이냐"),
    ("옛 해라체", "해라체", EITHER, "", "이냐 려무나 으려무나 것인즉 인즉 은즉"),
    ("옛 해라체", "해체", EITHER, "pledge", "마"),
    ("옛 해라체", "해라체", MOSTLY_MODERN, "", "구나 더라 냐 으냐 로군 더군 하더이"),
    # 하십시오체
    ("", "하십시오체", MODERN, "", "ㅂ니다 습니다 ㅂ니까 습니까 십시오 십시요 ㅂ니다만 습니다만 십시오만 ㅂ니더 습니더 ㅂ니꺼 습니꺼"),
    # 해요체
    ("", "해요체", MODERN, "polite", "요"),
    (
        "",
        "해요체",
        MODERN,
        "",
        "죠 쥬 지유 어유 아유 해유 네유 거유 어여 아여 네여 해여 세여 대여 어용 아용 해용 세용 네용 어욤 세욤 에염 아염 어염 해염",
    ),
    # plain 해라체 of books and newspapers
    ("", "해라체", MODERN, "plain", "다"),
    ("", "해라체", MODERN, "", "다만 련다 는다 ㄴ다 단다 란다"),
    ("", "해체", MODERN, "", "다고 다면서 냐고 자고 라고 으라고"),
    # 해체
    ("", "해체", MODERN, "", "아 어 여 해 돼 봐 줘 와 워 려 져 쳐 켜 펴 셔 겨 껴 러 써 커 꺼 떠 둬 춰 쳐 꿔 눠 줴 왜 서 았어 었어"),
    ("옛 해라체", "해체", MOSTLY_MODERN, "", "ㄹ까 을까"),
    ("옛 해라체", "해라체", MOSTLY_MODERN, "spoken", "니 자"),
    (
        "옛 해라체",
        "해라체",
        MOSTLY_MODERN,
        "shout",
        "아라 어라 여라 려라 켜라 쳐라 져라 겨라 해라 줘라 봐라 둬라 와라 워라 뤄라 꿔라 춰라 러라 라라 퍼라 꺼라 "
        "써라 떠라 펴라 셔라 껴라 까라 빼라 매라 깨라 대라 베라 내라 서라 가라 나라 사라",
    ),
    ("옛 해라체", "해체", EITHER, "linked", "고 며 면 지만 도록 으니 으며 으면 거니와 건만 련만 매 을지언정 ㄹ지언정"),
    ("", "해체", MODERN, "spoken", "야 이야 거야"),
    ("", "해체", MODERN, "spoken", "렴 으렴"),
    (
        "",
        "해체",
        MODERN,
        "",
        "래 을래 ㄹ래 니깐 으니깐 다구 냐구 라구 자구 라뇨 다뇨 안녕 어때 걸 을걸 ㄴ걸 ㄹ걸 는걸 군 거든 잖아 을게 "
        "ㄹ께 을께 데 는데 은데 ㄴ데 던데 대 ㄴ대 는대",
    ),
    ("", "해체", MODERN, "", "니까 으니까 려고 으려고 든지 던지 려나 으려나 을라 ㄹ지 을지 는지 은지 ㄴ지 던지 까 ㄹ텐데 텐데"),
    ("옛 해라체", "해체", EITHER, "fear", "ㄹ라"),
    ("하게체", "해체", MODERN, "offer", "ㄹ게"),
    ("", "해체", MODERN, "", "았당 었당 겠당 ㄴ당 는당 거당 넹 거양 었엉 았엉 했엉 지롱 녀 퍼 뻐 파 빠"),
    # nominal style of notes, notices and chats
    ("", "명사형", MODERN, "nominal", "음 ㅁ 듯 슴"),
)


def _key(form: str) -> str:
    """The NFD suffix of an ending; a leading consonant letter becomes a final consonant."""
    first = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ".find(form[0])
    if first < 0:
        return unicodedata.normalize("NFD", form)
    return chr(0x11A8 + first) + unicodedata.normalize("NFD", form[1:])


def _compile() -> dict[str, Ending]:
    table: dict[str, Ending] = {}
    for old, new, lean, guard, forms in _TABLE:
        for form in forms.split():
            table.setdefault(_key(form), Ending("-" + form, old, new, lean, guard))
    return table


ENDINGS = _compile()
_LONGEST = max(map(len, ENDINGS))


def matches(word: str) -> Iterator[tuple[Ending, str]]:
    """Every ending that an eojeol may carry, longest first, with the stem in front of it (NFC, may be empty)."""
    letters = unicodedata.normalize("NFD", word)
    for size in range(min(_LONGEST, len(letters)), 0, -1):
        ending = ENDINGS.get(letters[-size:])
        if ending is not None:
            yield ending, unicodedata.normalize("NFC", letters[:-size])
