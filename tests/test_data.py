"""What ships in data/ and in the example style: good Korean by our own measure, no topic leaked, every row usable."""

import json
import unicodedata
from collections import Counter
from itertools import product

import pytest
import yaml

from gold_style.config.settings import Settings, compose_config, register
from gold_style.measure.content import keeps_topic
from gold_style.prompts import build_source, dynamic
from gold_style.prompts.held_out import request_key
from gold_style.prompts.jsonl import build, read_requests
from gold_style.speech import classify, sentences
from gold_style.speech.languages import held_out, is_prose
from gold_style.styles import StylePack
from gold_style.verdicts import build_classifier, classifier_of
from tests.helpers.prompt_settings import DEFAULTS, ROOT, pack, rows, settings, write

PACK = pack()
TOGGLES = build(settings(path="data/style_toggles.jsonl", eval_samples=0, selection_samples=0), PACK)
ROWS = sorted((TOGGLES[number] for number in range(TOGGLES.num_rows)), key=lambda prompt: prompt.row)
REQUESTS = read_requests(ROOT / "data/evaluation_prompts.jsonl")


def label(prompt) -> str:
    return f"{prompt.tag} {prompt.direction} {prompt.topic}"


def test_the_shipped_rows_are_many_and_balanced():
    assert (
        len(ROWS) >= 80
        and TOGGLES.has_references
        and TOGGLES.notes == ["prompts.path=data/style_toggles.jsonl: 110 rows, ChatML (messages), tag in the text"]
    )
    tags = {}
    for prompt in ROWS:
        tags.setdefault(request_key(prompt), set()).add(prompt.tag)
    assert sum(len(found) == 2 for found in tags.values()) >= len(tags) / 2, "asked under both tags"
    cells = Counter((prompt.tag, prompt.era, prompt.direction) for prompt in ROWS)
    for cell in product(PACK.tags, ("modern", "joseon"), ("up", "equal", "down")):
        assert cells[cell] >= 6, cell


@pytest.mark.parametrize("prompt", ROWS, ids=label)
def test_every_answer_is_in_its_style_and_keeps_its_topic(prompt):
    assert keeps_topic(prompt.topic, prompt.request) and keeps_topic(prompt.topic, prompt.reference)
    whole = classify(prompt.reference)
    assert whole.verdict == PACK.verdict_of(prompt.tag)
    assert whole.level in PACK.levels(prompt.tag, prompt.direction)
    assert {speech.verdict for speech in sentences(prompt.reference)} == {whole.verdict}, "every sentence, not only the last"
    assert 40 <= len(prompt.reference) <= 100, "characters: fits 128 tokens of a large vocabulary"


def test_evaluation_requests_are_many_and_balanced():
    assert len(REQUESTS) >= 200
    assert all(prompt.topic and keeps_topic(prompt.topic, prompt.request) for prompt in REQUESTS)
    assert len({prompt.topic for prompt in REQUESTS}) == len(REQUESTS)
    cells = Counter((prompt.era, prompt.direction) for prompt in REQUESTS)
    assert len(cells) == 6 and min(cells.values()) >= 25
    assert abs(sum(prompt.era == "modern" for prompt in REQUESTS[:100]) - 50) <= 2, "a share of them is balanced too"


def test_evaluation_requests_stand_in_no_training_text():
    topics = {prompt.topic for prompt in REQUESTS}
    shown = [text for prompt in ROWS for text in (prompt.request, prompt.reference)]
    shown += [topic for found in PACK.requests["topics"].values() for topic in found]
    for style in yaml.safe_load((ROOT / "conf/styles/joseon.yaml").read_text())["styles"].values():
        shown += [text for shot in style["few_shots"] for text in shot.values()]
    leaked = {(topic, text) for topic in topics for text in shown if topic in text}
    assert not leaked
    assert not topics & {topic for found in PACK.requests["selection_topics"].values() for topic in found}
    assert not {request_key(prompt) for prompt in REQUESTS} & {request_key(prompt) for prompt in ROWS}


def test_topics_of_the_summary_stand_in_no_shipped_row():
    held_out = {topic for name in ("evaluation_topics", "selection_topics") for t in PACK.requests[name].values() for topic in t}
    texts = [text for prompt in ROWS for text in (prompt.request, prompt.reference)]
    assert not {(topic, text) for topic in held_out for text in texts if keeps_topic(topic, text)}


def test_a_composed_config_reads_them():
    overrides = ["model=qwen3b_to_1p5b", "prompts=jsonl", "styles.untagged=none", "seed=3"]
    register()
    composed = Settings.from_config(compose_config("config", overrides))
    found = build_source(composed, StylePack.from_settings(composed.styles))
    assert len(found.evaluation()) == len(ROWS) // 10 and len(found.selection()) == 5
    held_out = {request_key(prompt) for prompt in (*found.evaluation(), *found.selection())}
    assert not held_out & {request_key(found[number]) for number in range(found.num_rows)}
    assert found.notes == TOGGLES.notes and found.has_references


def test_every_data_file_has_its_card():
    card = (ROOT / "data/README.md").read_text()
    files = [path.relative_to(ROOT / "data") for path in (ROOT / "data").rglob("*.*") if path.name != "README.md"]
    assert len(files) >= 8 and all(f"`{path}`" in card for path in files) and "CC0" in card


@pytest.mark.parametrize("language", ["en", "ko"])
def test_held_out_texts_are_prose_and_balanced_items(language):
    text, items = held_out(language)
    paragraphs = text.split("\n\n")
    assert 18_000 < len(text.encode()) < 22_000 and len(paragraphs) >= 20
    assert all(is_prose(paragraph, language) for paragraph in paragraphs)
    assert unicodedata.is_normalized("NFC", text) and len(items) == 60
    assert all(item.keys() == {"text", "options", "answer"} and len(set(item["options"])) == 4 for item in items)
    assert Counter(item["answer"] for item in items) == dict.fromkeys(range(4), 15)
    assert len({item["text"] for item in items}) == 60 and not any(item["text"].strip() != item["text"] for item in items)
    lengths = [[len(item["options"][item["answer"]]), sum(map(len, item["options"])) / 4] for item in items]
    assert 0.85 < sum(right for right, _ in lengths) / sum(mean for _, mean in lengths) < 1.2, "the right option is not known by its length"


def test_held_out_texts_are_in_no_style_that_is_taught():
    assert {classifier_of(pack("bard"))(paragraph) for paragraph in held_out("en")[0].split("\n\n")} == {"modern"}
    verdicts = Counter(classifier_of(pack("joseon"))(paragraph) for paragraph in held_out("ko")[0].split("\n\n"))
    assert verdicts["joseon"] == 0 and verdicts["modern"] >= 18


# The example of a third style


@pytest.fixture(scope="module")
def village() -> StylePack:
    return pack("village")


def test_a_third_style_is_one_yaml(village):
    assert village.tags == ("village", "none") and village.untagged == village.neutral == "none"
    assert "<style:village>" in village.teacher_system("none") and "도토" in village.teacher_system("village")


def test_its_examples_are_in_their_style(village):
    classifier = build_classifier(village.classifier)
    asked = [[shot.request for shot in style.few_shots] for style in village.styles]
    assert asked[0] == asked[1] and len(asked[0]) >= 3, "the same requests under both tags"
    for style in village.styles:
        assert {classifier(shot.answer) for shot in style.few_shots} == {style.verdict}
    assert classifier("도토리를 주웠어요. 내일 또 주우러 가요.") == "modern"


def test_it_composes_requests(village):
    found = dynamic.build(
        settings(source="dynamic", chosun_probability=0.5, pairing="independent", random_topics=0.0, untagged_share=0.0), village
    )
    assert len(found.evaluation()) == 128 and len(found.selection()) == DEFAULTS["selection_samples"]
    assert {found[number].tag for number in range(50)} == {"village", "none"}
    assert all("{" not in found[number].request for number in range(200))


def test_its_rows_are_read_by_its_tags(village, tmp_path):
    path = write(tmp_path / "a.jsonl", rows(10, tags=village.tags))
    found = build(settings(path=str(path)), village)
    assert {found[number].style for number in range(found.num_rows)} == set(village.tags)
    with pytest.raises(ValueError, match="unknown style tag '<style:chosun>'; allowed: <style:village>, <style:none>"):
        build(settings(path=str(write(path, rows(10)))), village)


# A pack in English


@pytest.fixture(scope="module")
def bard() -> StylePack:
    return pack("bard")


def test_the_english_pack_is_large_enough(bard):
    assert bard.tags == ("bard", "plain") and bard.language == "en" and bard.untagged == bard.neutral == "plain"
    asked = [[shot.request for shot in style.few_shots] for style in bard.styles]
    assert asked[0] == asked[1] and len(asked[0]) >= 8, "the same requests under both tags"
    parts = dynamic.RequestParts.from_pack(bard)  # refuses a held-out topic that any training text has, in any of its forms
    assert len({template for task in parts.tasks for template in task.requests}) >= 12
    topics, evaluated, selected = (dynamic.flat(named) for named in (parts.topics, parts.evaluation_topics, parts.selection_topics))
    assert len(set(topics)) >= 150 and len(set(evaluated)) == len(evaluated) >= 128 and len(set(selected)) == len(selected) >= 32
    mentioned = {topic for topic in (*evaluated, *selected) for text in (*topics, *asked[0]) if keeps_topic(topic, text, "en")}
    assert not mentioned


def test_no_request_of_the_english_pack_is_in_its_style(bard):
    found = dynamic.build(
        settings(source="dynamic", chosun_probability=0.5, pairing="independent", random_topics=0.0, untagged_share=0.0), bard
    )
    asked = [*(found[number] for number in range(500)), *found.evaluation(), *found.selection()]
    assert {classifier_of(bard)(prompt.request) for prompt in asked} == {"modern"}
    assert all(keeps_topic(prompt.topic, prompt.request, "en") for prompt in asked)


def test_files_are_written_one_way():
    for path in (ROOT / "data").glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert line == json.dumps(json.loads(line), ensure_ascii=False)
