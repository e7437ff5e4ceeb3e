"""What counts as kept, copied and in common; chrF by hand."""

import pytest

from gold_style.measure.content import bigram_overlap, chrf, content_words, copies_request, distinct, keeps_request_words, keeps_topic


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("봄 축제", "이번 봄축제에 와 주세요."),
        ("봄축제", "봄 축제를 여노라."),
        ("봄 축제", "봄의 축제가 열렸소."),
        ("봄 축제", "**봄** 축제"),
        ("물", "물을 아끼시오."),
        ("물", "맑은 물이로다."),
        ("나비", "나비옵니다."),
        ("거북선", "큰거북선이 뜨니"),
        ("AI", "ai를 쓰자."),
        ("축제", "축제입니다."),  # NFD
    ],
)
def test_topic_is_found_with_particles_and_other_spacing(topic, text):
    assert keeps_topic(topic, text)


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("물", "선물을 샀소."),
        ("물", "물건을 샀소."),
        ("비", "나비가 나오."),
        ("가자", "뭔가 자꾸 생각나오."),
        ("봄 축제", "봄이 왔소."),
        ("?", "?"),
        ("나비", ""),
    ],
)
def test_topic_inside_another_word_does_not_count(topic, text):
    assert not keeps_topic(topic, text)


def test_content_words_stand_in_where_no_topic_is_known():
    assert content_words("봄 축제를 소개하는 글을 써 줘.") == ("봄", "축제", "소개하")
    assert content_words("마을의 물을 아끼는 법") == ("마을", "물", "아끼", "법")
    assert keeps_request_words("봄 축제를 알려 줘.", "봄에 축제가 열리옵니다.")
    assert not keeps_request_words("봄 축제를 알려 줘.", "신이 삼가 아뢰옵나이다.")
    assert keeps_request_words("알려 줘.", "무엇을 말이옵니까.") is None


def test_copies_are_recognised():
    request = "친구에게 나비를 소개해 줘."
    for text in (request, f"<style:none> {request}", request * 2, request + " 네!", "친구에게 나비를 소개해 주게."):
        assert copies_request(request, text), text
    for text in ("", "나비는 날개가 고운 벌레라오.", f"{request} 나비는 봄에 나는 벌레로, 날개가 곱고 가볍소."):
        assert not copies_request(request, text), text


def test_chrf_by_hand():
    # n-grams of "abcd" against "abce", both 4 characters: 3/4, 2/3, 1/2, 0/1; longer ones neither has
    mean = (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4
    assert chrf("ab cd", "abce") == pytest.approx(mean)  # precision and recall are equal, and so is F
    # "abc" against "abcd": precisions 1, 1, 1; recalls 3/4, 2/3, 1/2
    precision, recall = 1.0, (3 / 4 + 2 / 3 + 1 / 2) / 3
    assert chrf("abc", "abcd") == pytest.approx(5 * precision * recall / (4 * precision + recall))
    assert chrf("가나다", "가나다") == 1.0 and chrf("가나다", "라마바") == 0.0 and chrf("", "가") == 0.0


def test_overlap_and_distinct():
    assert bigram_overlap("나비가 난다.", "나비가 난다!") == 1.0
    assert bigram_overlap("나비", "나비가") == pytest.approx(2 / 3)
    assert distinct(["가 나 가", "나 가"], 1) == pytest.approx(2 / 5)
    assert distinct(["가 나 가", "나 가"], 2) == pytest.approx(2 / 3)
    assert distinct(["가"], 2) is None


@pytest.mark.parametrize(
    ("topic", "text", "kept"),
    [
        ("spiders", "A Spider spinneth her web.", True),
        ("saving money", "Save thy money, good friend.", True),
        ("the theatre", "Theatres are merry places.", True),
        ("running", "Thou shalt run ere dawn.", True),
        ("art", "My heart doth party.", False),
        ("ale", "A pale whale telleth a tale.", False),
        ("saving money", "Save thy breath, for no man giveth thee money.", False),
    ],
)
def test_topics_of_english(topic, text, kept):
    assert keeps_topic(topic, text, "en") is kept


def test_request_words_of_english():
    assert content_words("Write a short note about the harvest for a neighbour.", "en") == ("harvest", "neighbour")
    assert keeps_request_words("Tell me about the harvest.", "Thy harvests are rich.", "en")
    assert not keeps_request_words("Tell me about the harvest.", "Thou art a knave.", "en")
    assert keeps_request_words("What do you think?", "Nothing, my lord.", "en") is None
