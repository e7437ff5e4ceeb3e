"""The embedded pair: what it was trained on, its tokenizers, the shipped weights, and the builder that made them."""

import json
import re
from functools import cache
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gold_style.pairs.corpus import JOSEON, MODERN, Corpus, Request, default_pack
from gold_style.pairs.figures import arbitrary_requests, evaluation_requests, measure
from gold_style.pairs.induction import HEADS
from gold_style.pairs.tiny import HERE, MODELS, build
from gold_style.pairs.tokenizer import build_tokenizer, tokenizer_texts
from gold_style.pairs.training import build_model
from gold_style.prompts.dynamic import SYLLABLES, fill
from gold_style.speech import classify

pytestmark = pytest.mark.slow

TEXTS = ["<style:chosun> 떡볶이를 소개해 줘.", "Wi-Fi 6, 3.14 & <|not special|>", "띄어  쓰기\n\n\t줄바꿈 🙂 é 漢字 뷁쀍", ""]


@pytest.fixture(scope="module")
def corpus():
    return Corpus(default_pack())


@cache
def shipped(folder):
    """(model, tokenizer) of a folder, loaded as a user would."""
    model = AutoModelForCausalLM.from_pretrained(HERE / folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(HERE / folder)


def answer_sentences(corpus):
    """(direction, column, sentence) of every sentence that an answer can hold."""
    directions = {task.name: task.direction for task in corpus.parts.tasks}
    for part in ("openings", "bodies", "closings"):
        for key, pairs in corpus.answers[part].items():
            for pair in pairs:
                for column in (MODERN, JOSEON):
                    yield directions.get(key, key), column, pair[column]


@pytest.mark.parametrize("topic", ["고구마", "수박", "2026"])
def test_every_sentence_has_the_verdict_and_the_level_of_its_style_and_direction(corpus, topic):
    pack = corpus.pack
    styles = {MODERN: pack.neutral, JOSEON: pack.tags[0]}
    for direction, column, sentence in answer_sentences(corpus):
        heard = classify(fill(sentence, topic, "벗"))
        assert heard.verdict == pack.verdict_of(styles[column]), sentence
        assert heard.level in pack.levels(styles[column], direction), sentence


def test_every_task_has_an_answer_and_every_direction_its_frame(corpus):
    assert corpus.answers["bodies"].keys() == {task.name for task in corpus.parts.tasks}
    for task in corpus.parts.tasks:
        request = Request(text="", task=task.name, direction=task.direction, topic="책", audience=None)
        for column in (MODERN, JOSEON):
            answer = corpus.answer(Random(0), request, column)
            assert answer.count(".") == 3 and "책" in answer and "{" not in answer


def test_no_training_text_holds_a_topic_of_evaluation_or_selection(corpus):
    held_out, rng = corpus.parts.held_out, Random(0)
    for row in [draw(rng) for draw in (corpus.teacher_row, corpus.student_row) for _ in range(1500)]:
        for text in (row.completion, *(turn["content"] for turn in row.messages or ())):
            assert not held_out.search(text), text
    texts = [*corpus.system_texts(), *(text for *_, text in answer_sentences(corpus))]
    assert not [text for text in texts if held_out.search(text)]


def test_the_teacher_is_joseon_only_by_its_system_prompt(corpus):
    rng, seen = Random(0), set()
    for _ in range(800):
        row = corpus.teacher_row(rng)
        system = next((turn["content"] for turn in row.messages if turn["role"] == "system"), "")
        tag = re.match(r"<style:(\w+)>", row.messages[-1]["content"])
        joseon = classify(row.completion).verdict == "joseon"
        assert not joseon or "조선" in system or "사극" in system
        if not system:
            seen.add((tag and tag.group(1), joseon))
    assert {("chosun", False), ("none", False), (None, False)} <= seen


def test_a_students_style_cannot_be_told_from_the_tag(corpus):
    rng, shares = Random(0), {"chosun": [], "none": [], "": []}
    for _ in range(3000):
        row = corpus.student_row(rng)
        if row.messages is not None:
            tag = re.match(r"(?:<style:(\w+)>)?", row.messages[-1]["content"]).group(1) or ""
            shares.setdefault(tag, []).append(classify(row.completion).verdict == "joseon")
    for tag in ("chosun", "none", ""):
        assert 0.01 < sum(shares[tag]) / len(shares[tag]) < 0.1


def test_a_cold_student_reads_no_joseon_and_otherwise_the_same():
    rng, corpus = Random(0), Corpus(default_pack(), joseon=False)
    rows = [corpus.student_row(rng) for _ in range(500)]
    assert all(row.messages is not None and classify(row.completion).verdict != "joseon" for row in rows)


@pytest.mark.parametrize("folder", MODELS)
def test_tokenizers_are_lossless_and_spell_syllables_alike_everywhere(folder):
    _, tokenizer = shipped(folder)
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert all(len(tokenizer(syllable, add_special_tokens=False)["input_ids"]) == 1 for syllable in SYLLABLES)
    vocabulary = tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(tokenizer)))
    topic = tokenizer("뷹쾛", add_special_tokens=False)["input_ids"]
    for text in ("친구에게 뷹쾛을 소개해 줘.", "뷹쾛의 소식을 삼가 아뢰옵니다.", "오늘은 뷹쾛 이야기"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert any(ids[start : start + len(topic)] == topic for start in range(len(ids)))


def boundaries(tokenizer, text):
    """Byte offsets at which tokens of `text` end."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return {len(text[:end].encode()) for _, end in offsets}


def test_one_teacher_is_finer_than_the_student_and_one_crosses_it(corpus):
    rng = Random(0)
    texts = [corpus.student_row(rng).completion for _ in range(100)]
    tokenizers = {folder: shipped(folder)[1] for folder in MODELS}
    student = tokenizers["tiny/student"]
    finer, crossing = (tokenizers[f"tiny_cross_tokenizer/{name}"] for name in ("teacher", "teacher_crossing"))
    assert tokenizers["tiny/teacher"].get_vocab() == student.get_vocab()
    more = coarser = 0
    for text in texts:
        ends = boundaries(student, text)
        assert ends <= boundaries(finer, text)
        more += len(boundaries(finer, text) - ends)
        coarser += len(ends - boundaries(crossing, text))
    assert more > 200 and coarser > 200


def test_shipped_files_are_small_complete_and_name_no_machine():
    weights = sum((HERE / folder / "model.safetensors").stat().st_size for folder in MODELS)
    assert weights < 6e6
    for folder, recipe in MODELS.items():
        config = json.loads((HERE / folder / "config.json").read_text(encoding="utf-8"))
        card = (HERE / folder / "README.md").read_text(encoding="utf-8")
        generation = json.loads((HERE / folder / "generation_config.json").read_text(encoding="utf-8"))
        assert f"{recipe.num_steps} steps of {recipe.batch_size} rows" in card
        assert "python -m gold_style.pairs.tiny" in card and "license: apache-2.0" in card
        assert generation["eos_token_id"] == config["eos_token_id"] and config["dtype"] == "bfloat16"
        assert not re.search(r"/(home|root|tmp|work|Users)/", card + json.dumps(config))


@pytest.mark.parametrize("folder", MODELS)
def test_models_and_tokenizers_agree_on_size_stop_and_padding(folder):
    model, tokenizer = shipped(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id != tokenizer.pad_token_id
    turns = [{"role": role, "content": "가"} for role in ("system", "user", "assistant", "user")]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text.count(tokenizer.eos_token) == 4 and text.index("system") < text.index("user")


@pytest.mark.parametrize("folder", [folder for folder, recipe in MODELS.items() if recipe.role == "teacher"])
def test_a_teacher_toggles_by_its_system_prompt(corpus, folder):
    asked, system = evaluation_requests(corpus)[:32], corpus.pack.teacher_system("chosun")
    chosun, none = (measure(*shipped(folder), asked, tag, system) for tag in ("chosun", "none"))
    assert chosun["joseon"] >= 0.9 and none["joseon"] <= 0.05
    assert min(chosun["topic"], none["topic"]) >= 0.85
    assert measure(*shipped(folder), asked[:16], "chosun")["joseon"] <= 0.1


def test_the_student_does_not_toggle_and_keeps_any_topic(corpus):
    asked = evaluation_requests(corpus)[:32]
    for tag in ("chosun", "none", None):
        figures = measure(*shipped("tiny/student"), asked, tag)
        assert figures["joseon"] <= 0.05 and figures["modern"] >= 0.9 and figures["topic"] >= 0.85
    assert measure(*shipped("tiny/student"), arbitrary_requests(corpus)[:32], "none")["topic"] >= 0.85


def test_attention_looks_where_copying_looks_before_any_training(corpus):
    """The first layer's heads look one token back; the last layer's at what came after the current token before."""
    tokenizer = build_tokenizer(tokenizer_texts(corpus, Random(0), number=200), "chatml")
    model = build_model(MODELS["tiny/student"], tokenizer, seed=0).eval()
    model.set_attn_implementation("eager")
    rng, back, match = Random(0), [], []
    for _ in range(40):
        words = rng.sample(SYLLABLES, 8)
        ids = tokenizer("".join(words) + words[4], add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            first, last = model(input_ids=torch.tensor([ids]), output_attentions=True).attentions
        back.append(first[0, :, range(1, 9), range(8)].mean(dim=-1))
        match.append(last[0, :, 8, 5])
    back_H, match_H = torch.stack(back).mean(dim=0), torch.stack(match).mean(dim=0)
    assert back_H[:HEADS].min() > 0.9 > 0.5 > back_H[HEADS:].max()
    assert match_H[:HEADS].min() > 1.3 / 9 > match_H[HEADS:].max()  # 1 / 9: looking nowhere in particular


@pytest.mark.parametrize("folder", ["tiny/student", "tiny_cross_tokenizer/teacher"])
def test_the_builder_writes_a_model_that_loads(tmp_path: Path, folder):
    figures = build(folder, tmp_path, num_steps=2, num_requests=2)
    target = tmp_path / folder
    card = (target / "README.md").read_text(encoding="utf-8")
    assert str(tmp_path) not in card and all(name in card for name in figures)
    ours = shipped(folder)[1]
    assert AutoTokenizer.from_pretrained(target).get_vocab() == ours.get_vocab()
    assert AutoModelForCausalLM.from_pretrained(target).config.vocab_size == len(ours)
