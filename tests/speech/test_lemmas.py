"""Content words of two texts that differ in every ending."""

import pytest

from gold_style.measure.content import lemma_overlap
from gold_style.speech.lemmas import lemma, lemmas


@pytest.mark.parametrize(
    "words",
    [
        "전하나이다 전해요 전합니다 전하오 전했어요",
        "깊소이다 깊습니다 깊어요",
        "기다리겠소 기다릴게요 기다려요",
        "축제를 축제가 축제에서는 축제",
        "올리나이다 올립니다 올려요",
    ],
)
def test_one_lemma_whatever_the_ending(words):
    assert len({lemma(word) for word in words.split()}) == 1


@pytest.mark.parametrize("backend", ["rules", "kiwi"])
def test_overlap_of_two_styles(backend):
    joseon, modern = "무지개의 소식을 전하오.", "무지개 소식을 전해요."
    assert lemmas(joseon, backend) == {"무지개", "소식", "전하"} == lemmas(modern, backend)
    assert lemma_overlap(joseon, modern, backend) == 1.0
    assert lemma_overlap(joseon, "냉장고를 샀습니다.", backend) == 0.0
    assert lemma_overlap(joseon, "무지개를 보았습니다.", backend) == pytest.approx(2 / 5)  # 무지개 of 3 and 2 words


def test_nothing_has_nothing_in_common():
    assert lemma_overlap("", "") == 1.0 and lemma_overlap("봄", "") == 0.0
