"""Guards of orders and promises: a king's 하라, an exam sheet's 하라, a signpost's 마시오, a mother's 하지 마.

Print and court give orders in the same form, so most guards here only lean, and the cues of the sentence decide.

    >>> printed_or_spoken_order(Candidate("미시오", "미", "-시오", ("출입문을",)))
    'mostly_modern'
"""

from __future__ import annotations

from gold_style.speech.candidate import NOUNS, Candidate
from gold_style.speech.endings import EITHER, JOSEON, MODERN, MOSTLY_JOSEON, MOSTLY_MODERN
from gold_style.speech.stems import NIEUN, RIEUL, final_consonant, is_converb, is_stem
from gold_style.speech.tables import read_words

LISTS = read_words("orders")


def printed_or_spoken_order(candidate: Candidate) -> bool | str:
    """-시오: printed orders are modern (미시오, 답하시오, 들어가지 마시오), spoken ones 하오체; cues tip either."""
    stem, previous = candidate.stem, candidate.previous
    if not stem or stem.endswith("십"):
        return False
    if stem == "마":
        return _prohibition(candidate)
    if stem in LISTS.answers:
        return JOSEON
    if stem in LISTS.printed or stem in LISTS.signs:
        return MOSTLY_MODERN
    helping = stem == "주" and is_converb(previous) or stem.endswith("주") and is_converb(stem[:-1])
    farewell = stem == "가" and previous in LISTS.farewells
    return MOSTLY_JOSEON if helping or farewell or stem in LISTS.personal else EITHER


def _prohibition(candidate: Candidate) -> str:
    """The lean of 마시오."""
    previous, earlier = candidate.previous, "".join(candidate.before[-2:-1])
    if previous == "가지":
        return MOSTLY_MODERN if earlier in LISTS.near else JOSEON
    if previous == "하지":
        return JOSEON if earlier in LISTS.sayings else EITHER
    if is_converb(previous) or previous.endswith(("을", "를")):  # 흔들어 마시오, 물을 마시오: to drink
        return EITHER
    if not previous.endswith("지") or previous == "말지" or previous in LISTS.pleas:  # 염려 마시오, 심려치 마시오
        return JOSEON
    return MOSTLY_MODERN if previous in LISTS.forbidden else EITHER


def familiar_order_or_adverb(candidate: Candidate) -> bool | str:
    """-게: an order of 하게체 (이리 오게, 들어 보게) or the modern adverb (예쁘게, 알 수 있게)."""
    stem, previous = candidate.stem, candidate.previous
    if candidate.form == "-말게":
        return JOSEON if candidate.before and not stem else False
    going = stem == "가" and previous in LISTS.going
    if not stem or stem.endswith("에") or stem in NOUNS.ge and not going:
        return False
    if stem.endswith("시") and stem not in LISTS.closed_honorific and is_stem(stem):
        return JOSEON
    helping = is_converb(previous) if stem in ("보", "주", "두") else stem[-1] in "보주" and is_converb(stem[:-1])
    return MOSTLY_JOSEON if helping else EITHER


def order_not_noun_phrase(candidate: Candidate) -> bool:
    """-거라 after a stem: 물렀거라, 살거라; not 것이라 run together (위한거라, 갈거라)."""
    stem = candidate.stem
    return stem in LISTS.liquid_before_geora or bool(stem) and final_consonant(stem) not in (NIEUN, RIEUL)


def offer_or_order(candidate: Candidate) -> bool | str:
    """-ㄹ게 offers (갈게); after a stem in ㄹ it may be the order -게 (들-게, 만들-게)."""
    return MOSTLY_MODERN if candidate.stem in LISTS.fused_liquid else True


def warning_or_order(candidate: Candidate) -> bool | str:
    """-ㄹ라, a modern warning (다칠라), or a written order of a stem in ㄹ: 말라, 들라, 알라."""
    return True if candidate.stem in LISTS.fused_liquid else MODERN


def shouted_order(candidate: Candidate) -> bool:
    """-아라, -어라: the plain order of every age, archaic only in archaic company; 나라, 사라 and 어라 are words."""
    stem, form = candidate.stem, candidate.form
    if not stem:
        return bool(candidate.before) and candidate.word not in NOUNS.fused_ra
    return form[1] not in "나사가내서와" or is_stem(stem + form[1]) or is_converb(stem)


def written_order(candidate: Candidate) -> bool | str:
    """-(으)라, -하여라: royal orders and print share them: exam verbs are modern, court verbs archaic, cues decide."""
    stem = candidate.stem
    if candidate.form != "-라":
        full = candidate.word[:-1].rstrip("여아어")
        return MOSTLY_MODERN if _is_printed(full) and candidate.form != "-으라" else MOSTLY_JOSEON
    if not stem or candidate.word in NOUNS.ra:
        return False
    if stem in LISTS.reu:
        return MODERN
    if stem in LISTS.court:
        return MOSTLY_JOSEON
    if _is_printed(stem) or stem in LISTS.slogans:
        return MOSTLY_MODERN
    if stem == "하" and candidate.previous.endswith(("게", "도록")):
        return MOSTLY_JOSEON
    if stem in LISTS.converbs and stem not in LISTS.going_stems:
        return MODERN
    return is_stem(stem) or stem[-1] in "으이말" or final_consonant(stem) == RIEUL


def _is_printed(stem: str) -> bool:
    """Whether an exam sheet gives this order with -라: 증명하라."""
    return stem in LISTS.printed or stem in LISTS.exam


def pledge_or_prohibition(candidate: Candidate) -> bool | str:
    """-마, a promise down: 그리하마, 주마; 하지 마 is the modern "do not", 엄마 and 고구마 are nouns."""
    stem = candidate.stem
    if not stem:
        return MODERN if candidate.before else False
    return MODERN if stem in LISTS.prohibitions else stem in LISTS.pledges
