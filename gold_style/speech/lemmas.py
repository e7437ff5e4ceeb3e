"""What a text is about, apart from its style: the dictionary forms of its content words.

`전하나이다` and `전해요` share the lemma 전하, `깊소이다` and `깊습니다` the lemma 깊: two answers of one request may differ
in every ending and still say the same. Backend `kiwi` takes nouns and predicate stems from the analyser; `rules` strips
particles and endings by table, which finds nouns well and predicates where their stem is regular.

    >>> sorted(lemmas("봄 축제를 전하나이다.") & lemmas("봄 축제 소식을 전해요."))
    ['봄', '전하', '축제']
"""

from __future__ import annotations

import re
from functools import lru_cache

from gold_style.speech.stems import final_consonant, is_stem, letters
from gold_style.speech.tables import read_table
from gold_style.speech.text import normalise

PARTICLE = "(?:" + "|".join(sorted(read_table("lemmas")["particles"].split(), key=len, reverse=True)) + ")"
ENDS_IN_PARTICLE = re.compile(f"{PARTICLE}$")
# What follows a stem that ends in a consonant, modern or Joseon.
AFTER_CONSONANT = re.compile(
    "^(.*?[가-힣])(?:습니[다까]|사옵니[다까]|사오[나니며]|소이다|나이[다까]|더이다|으[니며면시]|[었았]|[어아]요|는|고|지|게|소)"
)
# Joseon endings that a stem would otherwise swallow: 전하나이다 is 전하-, not 전하나-.
ARCHAIC_END = re.compile("(?:옵나이[다까]|나이[다까]|옵니[다까]|더이[다까]|옵소서|소서|오리[다까]|리[다까])$")
# Last vowel of a contracted form -> that of the stem: 해 -> 하, 려 -> 리, 줘 -> 주, 봐 -> 보, 돼 -> 되.
CONTRACTED = {1: (0, 1), 6: (20, 6), 14: (13, 14), 9: (8, 9), 10: (11, 10)}
CONTENT_TAGS = ("NN", "NP", "NR", "VV", "VA", "XR", "MA", "SL", "SN")  # Kiwi's: nouns, predicates, roots, adverbs


def lemmas(text: str, backend: str = "rules") -> frozenset[str]:
    """The content words of `text`, each once. Raises ValueError for backend "kiwi" without its extra."""
    if backend == "kiwi":
        from gold_style.speech.morphemes import analyse

        return frozenset(token.form for token in analyse(normalise(text)) if token.tag.startswith(CONTENT_TAGS))
    return frozenset(lemma(word) for word in re.findall(r"[0-9a-z가-힣一-鿿]+", normalise(text).casefold()))


@lru_cache(maxsize=65536)
def lemma(word: str) -> str:
    """The dictionary form of one word as far as tables tell: without its ending, else without its particle."""
    ended = ARCHAIC_END.search(word)
    if ended and ended.start() and known_stem(word[: ended.start()]):
        word = word[: ended.start()] + "고"
    for end in range(len(word) - 1, 1, -1):  # the longest known stem; nothing of one syllable, which any noun may begin with
        if stem := known_stem(word[:end]):
            return plain(stem)
    closed = AFTER_CONSONANT.match(word)
    if closed and final_consonant(closed[1]):
        return closed[1]
    return len(word) > 1 and known_stem(word) or without_particle(word)


def plain(stem: str) -> str:
    """`stem` without the honorific -시-, where a stem is left: 강녕하시 -> 강녕하."""
    return stem[:-1] if stem[-1] == "시" and len(stem) > 2 and is_stem(stem[:-1]) else stem


def known_stem(form: str) -> str | None:
    """The stem we know of a conjugated form: its last syllable without final consonant and contraction (합, 했: 하; 려: 리)."""
    last = letters(form)
    if last is None:
        return None
    initial, vowel, _ = last
    stems = (form[:-1] + chr(0xAC00 + initial * 588 + plain_vowel * 28) for plain_vowel in CONTRACTED.get(vowel, (vowel,)))
    return next(filter(is_stem, stems), None)


def without_particle(word: str) -> str:
    """`word` without its particle, where that leaves two syllables, or one that the particle fits."""
    match = ENDS_IN_PARTICLE.search(word)
    rest, particle = (word[: match.start()], match.group()) if match else (word, "")
    if len(rest) == 1:
        closed = final_consonant(rest) > 0  # 물을, but not 가을: 을 follows a consonant
        fits = {"을": closed, "은": closed, "를": not closed, "는": not closed, "에서": True, "에게": True, "으로": closed}
        return rest if fits.get(particle) else word
    return rest or word
