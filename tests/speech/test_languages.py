"""Languages: what counts as text of one, which forms of a word count as it, and loops that are none of Korean."""

import json
from pathlib import Path

import pytest
import yaml

from gold_style.speech import is_degenerate
from gold_style.speech.languages import LANGUAGES, TABLE, forms, is_prose, mention
from gold_style.speech.text import split_sentences

ROOT = Path(__file__).resolve().parents[2]
ROWS = [json.loads(line) for line in (ROOT / "data/bard_sentences.jsonl").read_text(encoding="utf-8").splitlines()]
PACK = yaml.safe_load((ROOT / "conf/styles/bard.yaml").read_text(encoding="utf-8"))
ENGLISH = [row["text"] for row in ROWS if row["verdict"] in ("bard", "modern")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_names_its_script(language):
    assert TABLE[language]["script"] and len(language) == 2


def test_english_sentences_are_english_and_no_loops():
    answers = [shot["answer"] for style in PACK["styles"].values() for shot in style["few_shots"]]
    wrong = [text for text in [*ENGLISH, *answers] if not is_prose(text, "en") or is_degenerate(text, "en")]
    assert wrong == []
    assert not any(is_prose(text, "ko") for text in ENGLISH)


@pytest.mark.parametrize(
    "text",
    ["Yes.", "Coffee.", "Cats purr.", "Flour, sugar, eggs, butter, milk.", "He is 42.", "I like 김치 very much.", "A café in Zürich."],
)
def test_short_english_is_english(text):
    assert is_prose(text, "en")


@pytest.mark.parametrize(
    "text",
    [
        "조선의 하늘이 맑사옵니다.",
        "asdkj qwoei zmxnc",
        "dfgh jkl",
        "42",
        "",
        "Le chat dort sur le canapé.",
        "Der Hund war in dem Garten und schläft.",
        "El perro come la comida en la casa.",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
        "Привет, как дела?",
        "海は広いです。",
    ],
)
def test_other_text_is_not_english(text):
    assert not is_prose(text, "en")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("바다는 매우 넓습니다.", "ko"),
        ("Der Hund schläft.", "de"),
        ("Привет, как дела?", "ru"),
        ("海は広いです。", "ja"),
        ("大海很宽。", "zh"),
        ("ทะเลกว้าง", "th"),
    ],
)
def test_a_text_is_of_its_own_script(text, language):
    assert is_prose(text, language)
    assert not is_prose("The sea is wide.", language) or TABLE[language]["script"] == ["LATIN"]


@pytest.mark.parametrize(
    "text",
    [
        "and it doth make a man laugh, and it doth make a man laugh, and it doth",
        "The moon is bright and it is bright and it is bright and it is bright and it is bright and it is bright.",
        "the the the the the the the the",
        "Thou thou thou thou thou.",
        "The sea is a wide and lonely place of wonder, the sea is a wide and lonely place of wonder, the sea is",
        "I am a fool. I am a fool. I am a fool. I am a fool.",
        "!!!???",
        "broken \ufffd text",
    ],
)
def test_loops_are_degenerate(text):
    assert is_degenerate(text, "en")


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no, I will not go!",
        "Row, row, row your boat, gently down the stream.",
        "About 1,000,000 people live in the city, and 100,000 work there.",
        "Again and again and again he tried.",
        "It was the best of times, it was the worst of times.",
        "The dragon is big. The dragon is red. The dragon is old.",
        "Mississippi is a river.",
        "And so it goes, and so it goes.",
    ],
)
def test_natural_repeats_are_none(text):
    assert not is_degenerate(text, "en")


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("spider", "Two Spiders, my lord!"),
        ("spiders", "A spider's web"),
        ("berries", "a berry"),
        ("wolves", "The wolf howleth."),
        ("fishermen", "a Fisherman"),
        ("mice", "a mouse"),
        ("peaches", "a peach"),
        ("knives", "the knife"),
        ("running", "He that runneth shall run."),
        ("baking", "I bake bread"),
        ("comic books", "a comic book"),
        ("the internet", "All men speak on thy Internet."),
        ("solar power", "SOLAR-POWER"),
    ],
)
def test_forms_of_a_topic_count(topic, text):
    assert mention(topic, "en").search(text)


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("art", "My heart is a party."),
        ("ale", "a pale tale"),
        ("hope", "the hops of the brewer"),
        ("news", "a new day"),
        ("herring", "her crown"),
        ("evening", "even now"),
        ("tea", "a team"),
        ("king", "a kind man"),
        ("car", "a caring mother"),
        ("comic books", "a comic and a cook"),
        ("...", "anything"),
    ],
)
def test_a_topic_inside_another_word_does_not(topic, text):
    assert not mention(topic, "en").search(text)


def test_words_without_spaces_are_found_anywhere():
    assert (
        mention("茶", "ja").search("お茶が好きです")
        and mention("Hund", "de").search("die Hunde")
        and not mention("Hund", "de").search("Hundert")
    )
    assert forms("Haus", "sv") == {"haus"}


def test_sentences_of_english():
    assert split_sentences("Hark! Who goes there? It is 3.5 miles.") == ["Hark!", "Who goes there?", "It is 3.5 miles."]
