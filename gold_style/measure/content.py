"""What an answer says, apart from how: topic kept, request copied, words repeated, overlap of two answers.

Everything is on NFC text and on letters, digits and spaces; no tokenizer and no dictionary is needed. Korean is read with
its particles and other spacing, another language by `gold_style.speech.languages`: whole words in any of their forms.
chrF: Popović 2015 (https://aclanthology.org/W15-3049/), character n-grams up to 6, beta 2, spaces ignored, as
sacreBLEU computes it.

Example: `keeps_topic("봄 축제", "이번 봄축제에 와 주세요.")` is True; `keeps_topic("물", "선물을 샀어요.")` is False.
"""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from gold_style.speech.languages import KOREAN, WORD, mention, words_of
from gold_style.speech.lemmas import PARTICLE, without_particle
from gold_style.speech.lemmas import lemmas as lemmas_of

LETTER = r"[0-9A-Za-z가-힣ㄱ-ㅎㅏ-ㅣ一-鿿]"
COPIED = 0.8  # bigram overlap of request and answer from which the answer is a copy
STYLE_TAG = re.compile(r"<style:[^<>]*>")
# Words of a request that say what to do, not what about.
ASKING = frozenset(
    "써 쓰고 줘 주세요 주십시오 주게 주시오 알려 알려줘 알려주세요 말해 말해줘 설명해 설명해줘 설명해주세요 "
    "소개해 소개해줘 추천해 추천해줘 해 해줘 해주세요 하라 하는 하는지 위한 위해 대한 대해 대하여 관한 관해 "
    "관하여 글 글을 짧은 짧게 간단히 간단한 좀 한 한번 그 이 저 것 것을 수 있는 있게 무엇 무엇인가 무엇인지 "
    "무엇인가요 어떤 어떻게 왜 써줘 써주세요 작성해 작성해줘 작성해주세요 부탁 부탁해 부탁해요 부탁드립니다 "
    "the a an of about please write tell me".split()
)


def normalised(text: str) -> str:
    """NFC, lower case, without style tags, every run of spaces one space."""
    return " ".join(STYLE_TAG.sub(" ", unicodedata.normalize("NFC", text)).casefold().split())


def squashed(text: str) -> str:
    """Only the letters and digits of a text."""
    return re.sub(rf"[^{LETTER[1:-1]}]", "", normalised(text))


@lru_cache(maxsize=4096)
def topic_pattern(topic: str, language: str = KOREAN) -> re.Pattern[str] | None:
    """What counts as the topic in a text; None for a topic without a letter.

    Spaces may be left out or put in between syllables, and words may carry particles. The shorter the topic, the more
    context is asked for: one syllable is a word of its own or comes before a particle, two syllables begin a word, three
    or more may be anywhere. In other languages up to two words may come between those of the topic: "save thy money".
    """
    if language != KOREAN:
        return mention(normalised(topic), language, between=2)
    words = re.findall(f"{LETTER}+", normalised(topic))
    length = sum(map(len, words))
    if not words:
        return None
    body = rf"{PARTICLE}?\W*".join(r"\s*".join(map(re.escape, word)) for word in words)
    if length <= 2:
        body = f"(?<!{LETTER}){body}"
    if length == 1:
        body += f"(?={PARTICLE}?(?!{LETTER}))"
    return re.compile(body)


def keeps_topic(topic: str, text: str, language: str = KOREAN) -> bool:
    """Whether `text` names `topic`, with particles and other spacing; upper and lower case are one."""
    pattern = topic_pattern(topic, language)
    return pattern is not None and pattern.search(normalised(text)) is not None


@lru_cache(maxsize=4096)
def content_words(request: str, language: str = KOREAN) -> tuple[str, ...]:
    """What a request is about, as far as particles and a list of asking words tell: stems, each once."""
    if language != KOREAN:
        return tuple(dict.fromkeys(word for word in WORD.findall(normalised(request)) if word not in words_of(language, "asking")))
    words = re.findall(f"{LETTER}+", normalised(request))
    stems = [without_particle(word) for word in words if word not in ASKING]
    return tuple(dict.fromkeys(found for found in stems if found not in ASKING))


def keeps_request_words(request: str, text: str, language: str = KOREAN) -> bool | None:
    """Whether `text` names at least half of the content words of `request`; None where it has none.

    The measure of content where no topic is known.
    """
    words = content_words(request, language)
    return 2 * sum(keeps_topic(word, text, language) for word in words) >= len(words) if words else None


def copies_request(request: str, text: str) -> bool:
    """Whether an answer is the request itself, once or repeated, tagged or not, give or take some letters.

    A copy keeps every topic and is by chance in some style; it answers nothing.
    """
    asked, said = squashed(request), squashed(text)
    if not asked or not said:
        return False
    rest = said.replace(asked, "")
    repeated = len(rest) < len(said) and len(rest) <= max(2, len(said) // 10)
    return repeated or bigram_overlap(asked, said) >= COPIED


def ngrams(text: str, order: int) -> Counter:
    """Character n-grams of `text` and how often each occurs."""
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))


def chrf(hypothesis: str, reference: str, max_order: int = 6, beta: float = 2.0) -> float:
    """Character F-score of two texts, in [0, 1] (sacreBLEU's is 100 times that).

    N-gram orders for which either text is too short are left out.
    """
    said, wanted = ("".join(unicodedata.normalize("NFC", text).split()) for text in (hypothesis, reference))
    precisions, recalls = [], []
    for order in range(1, max_order + 1):
        own, other = ngrams(said, order), ngrams(wanted, order)
        if own and other:
            shared = (own & other).total()
            precisions.append(shared / own.total())
            recalls.append(shared / other.total())
    if not precisions:
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    weight = beta * beta
    return (1 + weight) * precision * recall / (weight * precision + recall) if precision + recall else 0.0


def bigram_overlap(first: str, second: str) -> float:
    """Dice coefficient, in [0, 1], of the character bigrams of two texts without spaces and punctuation."""
    own, other = ngrams(squashed(first), 2), ngrams(squashed(second), 2)
    total = own.total() + other.total()
    return 2 * (own & other).total() / total if total else float(squashed(first) == squashed(second))


def lemma_overlap(first: str, second: str, backend: str = "rules") -> float:
    """Dice coefficient, in [0, 1], of the content words of two texts in their dictionary forms."""
    own, other = lemmas_of(first, backend), lemmas_of(second, backend)
    return 2 * len(own & other) / (len(own) + len(other)) if own or other else 1.0


def distinct(texts: list[str], order: int) -> float | None:
    """Share of different word n-grams among all word n-grams of `texts`; None where there is none."""
    words = [normalised(text).split() for text in texts]
    grams = [tuple(text[start : start + order]) for text in words for start in range(len(text) - order + 1)]
    return len(set(grams)) / len(grams) if grams else None
