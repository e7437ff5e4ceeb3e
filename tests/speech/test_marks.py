"""Marks of a style anywhere in a sentence: the labelled English sentences, names, quotations, other languages."""

import json
from collections import Counter
from pathlib import Path

import pytest

from gold_style.speech.marks import Marks
from gold_style.verdicts import build_classifier, classifier_of
from tests.helpers.prompt_settings import pack

ROOT = Path(__file__).resolve().parents[2]
ROWS = [json.loads(line) for line in (ROOT / "data/bard_sentences.jsonl").read_text(encoding="utf-8").splitlines()]
BARD = classifier_of(pack("bard"))
PLAIN = {
    "words": ["thou", "thee", "thine", "'tis", "o'er", "doth"],
    "endings": ["eth"],
    "except": ["teeth", "holier than thou"],
    "unless": ["lol"],
}


def read_by(marks: dict, text: str, language: str = "en") -> str:
    return build_classifier({"name": "markers", "markers": {"old": marks}, "otherwise": "new"}, language)(text)


def test_labelled_sentences_are_well_formed():
    assert len(ROWS) >= 300 and len({row["text"] for row in ROWS}) == len(ROWS)
    assert all(sum(row["split"] == split for row in ROWS) >= 150 for split in ("test", "unseen"))
    for row in ROWS:
        assert set(row) == {"text", "verdict", "trap", "split"} and row["verdict"] in BARD.labels
        assert row["split"] in ("development", "test", "unseen")


@pytest.mark.parametrize("split", ["test", "development"])
def test_accuracy_on_the_labelled_sentences(split):
    rows = [row for row in ROWS if row["split"] == split]
    found = Counter((row["verdict"], BARD(row["text"])) for row in rows)
    assert sum(count for (label, verdict), count in found.items() if label == verdict) / len(rows) >= 0.97
    plain = sum(count for (label, _), count in found.items() if label == "modern")
    assert found["modern", "bard"] <= (0.01 if split == "test" else 0.02) * plain
    assert found["other", "bard"] == 0


def test_accuracy_on_sentences_that_no_list_was_made_for():
    """What data/README.md and docs/speech_accuracy.md say of other text; the goal of 0.97 is not reached there."""
    rows = [row for row in ROWS if row["split"] == "unseen"]
    found = Counter((row["verdict"], BARD(row["text"])) for row in rows)
    assert sum(count for (label, verdict), count in found.items() if label == verdict) == 161
    assert found["modern", "bard"] == 2 and found["other", "bard"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "I love thee.",
        "’Tis cold.",
        "‘Tis cold, and ‘tis the dogs' way.",
        "It goes o’er the hill.",
        "She singeth.",
        "THOU ART LATE!",
        "Mark this: Thou art late.",
        "“Thou art late.”",
        '"Doth it rain?" "It doth."',
        "O fair one — Thou art late.",
        "I would, if I could, tell thee.",
        "- Mr. Smith, thou art late.",
    ],
)
def test_marked(text):
    assert read_by(PLAIN, text) == "old"


@pytest.mark.parametrize(
    "text",
    [
        "My teeth hurt.",
        "My friend Thou Li is here.",
        "Thine Electronics makes chips.",
        "The band Doth played.",
        'He said "thou art late" and left.',
        "He said ‘thou’ and left.",
        "The word 'tis' is old.",
        "He is holier than thou, they say.",
        "Thou art late, lol.",
        "A one-thou gap is small.",
        "It is eth.",
    ],
)
def test_not_marked(text):
    assert read_by(PLAIN, text) == "new"


def test_half_of_the_sentences_is_enough_and_fewer_are_ambiguous():
    assert read_by(PLAIN, "Thou art late. It is dark.") == "old"
    assert read_by(PLAIN, "Thou art late. It is dark. Go home.") == "ambiguous"
    assert read_by(PLAIN, "It is dark. Go home.") == "new"


def test_minimum_and_groups():
    two = {"words": ["alas", "knave"], "minimum": 2}
    assert read_by(two, "Alas, it rains.") == "new" and read_by(two, "Alas, the knave is here.") == "old"
    groups = [two, {"words": ["thou"]}]
    classifier = build_classifier({"name": "markers", "markers": {"old": groups}, "otherwise": "new"}, "en")
    assert [classifier(text) for text in ("Alas, it rains.", "Alas, a knave!", "Thou art late.")] == ["new", "old", "old"]


@pytest.mark.parametrize(
    ("marks", "language", "old", "new"),
    [
        ({"words": ["짐"], "endings": ["옵니다", "나이다"]}, "ko", "짐이 아뢰옵니다 그리고 간다고 했다.", "비가 와서 집에 있었다."),
        ({"words": ["maid"], "endings": []}, "de", "Die schöne Maid ist da.", "Das Mädchen ist da."),
        ({"words": ["拙者"], "endings": ["ござる"]}, "ja", "拙者は侍でござるよ。", "私は学生です。"),
        ({"endings": ["ござる"]}, "ja", "侍でござる。", "侍です。"),
        ({"words": ["сударь"]}, "ru", "Сударь, вы правы.", "Вы правы, друг."),
    ],
)
def test_any_language(marks, language, old, new):
    assert read_by(marks, old, language) == "old" and read_by(marks, new, language) == "new"


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"word": ["thou"]}, "classifier.markers.old.word: unknown; allowed: words, endings, except, unless, minimum; did you mean words?"),
        ({"words": "thou"}, "classifier.markers.old.words: 'thou' is not a list of words"),
        ({"words": ["thou", True]}, "classifier.markers.old.words: ['thou', True] is not a list of words"),
        ({"words": ["!"]}, "classifier.markers.old.words: ['!'] is not a list of words"),
        ({"except": ["thou"]}, "classifier.markers.old: neither words nor endings"),
        ({"words": ["thou"], "minimum": 0}, "classifier.markers.old.minimum: 0 is not a whole number of at least 1"),
        ({"words": ["thou"], "minimum": True}, "classifier.markers.old.minimum: True"),
        ([{"words": ["thou"]}, {"endings": 3}], "classifier.markers.old[1].endings: 3 is not a list"),
        ({}, "classifier.markers.old: {} is not a list"),
    ],
)
def test_mistakes_are_named(marks, message):
    with pytest.raises(ValueError) as error:
        read_by(marks, "")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_nothing_of_the_yaml_is_a_regular_expression():
    marks = Marks.read({"words": ["th.u", "o'e+r"], "endings": ["(a+)+x"]}, "en")
    assert not any(marks.in_sentence(text) for text in ("It is thou.", "It is o'er.", "aaaaaaaax"))
