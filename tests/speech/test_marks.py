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
    assert len(ROWS) >= 1000 and len({row["text"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert set(row) == {"text", "verdict", "trap", "split"} and row["verdict"] in BARD.labels
        assert row["split"] in ("development", "test", "unseen")


@pytest.mark.parametrize(("split", "accuracy", "false_bard"), [("unseen", 0.92, 0.017), ("test", 0.99, 0), ("development", 0.94, 0.025)])
def test_accuracy_on_the_labelled_sentences(split, accuracy, false_bard):
    """On the texts that the lists were changed for; the harder development texts were made to find their limits."""
    rows = [row for row in ROWS if row["split"] == split]
    found = Counter((row["verdict"], BARD(row["text"])) for row in rows)
    assert sum(count for (label, verdict), count in found.items() if label == verdict) >= accuracy * len(rows)
    plain = sum(count for (label, _), count in found.items() if label == "modern")
    assert found["modern", "bard"] <= false_bard * plain
    assert found["other", "bard"] == 0


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


def test_half_of_enough_is_half_a_sentence():
    two = {"words": ["alas", "knave", "forsooth"], "minimum": 2}
    assert read_by(two, "Alas, it rains. The knave is wet.") == "old"
    assert read_by(two, "Alas, it rains. Go home.") == "new"
    assert read_by(two, "Alas, a knave! It rains. The knave is wet.") == "old"
    assert read_by(two, "Alas, a knave! It rains. It is dark. It is late.") == "ambiguous"


def test_what_keeps_a_mark_out_keeps_it_out_of_the_text():
    assert read_by(PLAIN, "Thou art late. Lol.") == "new"


def test_a_star_is_any_one_word_and_no_pause():
    marks = {"words": ["i * not", ", sire ,", "good sir"], "except": ["* do not"]}
    for text in ("I know not why.", "A hill, sire, is high.", "Good, sir, it rains."):
        assert read_by(marks, text) == "old"
    for text in ("I do not know.", "I paint, not you.", "I like it not.", "The sire of the horse.", "I Know not."):
        assert read_by(marks, text) == "new"


def test_lists_may_hold_lists():
    marks = {"words": [["thou", "'tis"], "doth", [["hath"]]], "endings": [["eth"]]}
    for text in ("Thou art late.", "‘Tis cold, and ‘tis late.", "It hath rained.", "It raineth."):
        assert read_by(marks, text) == "old"
    assert read_by({"endings": ["'st"]}, "Think'st he so?") == "old" and read_by({"endings": ["'st"]}, "The best of all.") == "new"


@pytest.mark.parametrize(
    "text",
    [
        "By my troth, the cat is a proud creature.",
        "Alas, poor dinosaur! A stone from heaven did strike the earth.",
        "What say you to a dish of tea?",
        "I know not the way.",
        "If music be loud, then close the door.",
        "Think'st he that it will rain?",
        "The moon, sweet coz, draws the sea.",
        "O happy day!",
        "Were I a king, I'd sleep till noon.",
        "I'll to the market.",
    ],
)
def test_kinds_of_marks_of_bard(text):
    assert BARD(text) == "bard"


@pytest.mark.parametrize(
    "text",
    [
        "Verily, your pull request is approved. I'll merge it once the tests pass.",
        "Am I the only one who likes rain?",
        "Will there be a test? Let there be no doubt.",
        "I hope not, and I think that he's not there.",
        "Call me if you'll be late.",
        "It is the journey that matters, not the destination.",
        "Bubble sort takes O(n^2) time.",
        "A good nurse listens.",
        "What would you have done?",
        "Please bring it, so please come early.",
        "The pronouns thou and thee are old.",
        "Thy kingdom come, they said.",
    ],
)
def test_modern_english_that_looks_like_bard(text):
    assert BARD(text) == "modern"


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
    assert not any(marks.shares([text])[0] for text in ("It is thou.", "It is o'er.", "aaaaaaaax"))
