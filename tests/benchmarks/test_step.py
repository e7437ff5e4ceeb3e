"""benchmarks/step.py: both sides read and score the same tokens, rows hold what they say, the floor counts real operations."""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import step
from stepping import floor, ours, real, results, stock, tables, turns
from stepping.shapes import PAIRS, Shape, build_model, load_tokenizer, texts

from gold_style.chat import Chat

pytestmark = pytest.mark.slow

SHAPE = Shape(vocab=600, system_tokens=40, window=2, new_tokens=6)
PAIR = PAIRS["smallest"]


@pytest.fixture(autouse=True)
def _unwrapped(monkeypatch):
    """The stock side wraps a function of TRL's module: other tests want it as it is."""
    monkeypatch.setattr(stock.gold, "build_teacher_inputs_from_texts", stock.gold.build_teacher_inputs_from_texts)


@pytest.mark.parametrize("system_tokens", [0, 12, 40])
def test_prompts_have_the_lengths_they_are_said_to_have(system_tokens):
    shape = replace(SHAPE, system_tokens=system_tokens, window=4)
    tokenizer, data = load_tokenizer(shape), texts(shape)
    chat = Chat(tokenizer, tokenizer, data.pack, teacher_system_prompt=None if system_tokens else "")
    assert [len(chat.student_ids(prompt)) for prompt in data.prompts] == [30, 40, 50, 60]
    assert {len(chat.teacher_ids(prompt).prefix) for prompt in data.prompts} == {system_tokens}
    assert len(tokenizer) == shape.vocab_size < shape.vocab
    for prompt in data.prompts:
        assert len(tokenizer(prompt.reference)["input_ids"]) == shape.new_tokens - 1


def test_both_teachers_read_the_same_tokens(tmp_path):
    """Stock's wrapped text round trip and our two-part prompts end in the same ids; both score every completion token."""
    models = [build_model(PAIR.student, SHAPE, 1), build_model(PAIR.teacher, SHAPE, 2).eval()]
    trainer = stock.build_trainer(SHAPE, *models, tmp_path / "stock", steps=1, given=True)
    read = []
    models[1].register_forward_pre_hook(lambda module, args, kwargs: read.append(kwargs["input_ids"][0].tolist()), with_kwargs=True)
    trainer.train()
    mine = ours.build_trainer(SHAPE, *models, tmp_path / "ours", steps=1, given=True)
    rows = mine.row_maker.make(0, mine.accelerator, mine.student_copy)
    expected = [[*row.teacher_prompt.prefix, *row.teacher_prompt.rest, *row.teacher_completion] for row in rows]
    assert sorted(read) == sorted(expected)
    assert [row.num_scored for row in rows] == [SHAPE.new_tokens] * SHAPE.window


def test_a_row_is_measured_and_written(tmp_path):
    """The whole of it on the smallest pair: alternating loops, memory in children, both files."""
    asked = argparse.Namespace(
        rounds=2, new_tokens=6, threads=1, device="cpu", pair="smallest", sides=["stock", "stable", "ours"], no_memory=False
    )
    row = step.Row("600/40/2", asked, tmp_path)
    assert row.sides == ["stock", "ours"]  # the stable trainer is measured at one vocabulary
    row.measure_memory(lambda text: None)
    row.prepare()
    path = tmp_path / "step_cpu.json"
    for _ in range(2):
        row.round(lambda text: None)
        row.write(path)
    (found,) = json.loads(path.read_text())
    assert tuple(found) == results.KEYS
    assert found["rounds"] == 2 and found["stable_s"] is None and found["ratio_stable"] is None
    assert found["stock_s"] > 0 and found["ours_s"] > 0 and found["ratio_stock"] > 0 and found["floor_fraction"] > 0
    (details,) = json.loads((tmp_path / "step_cpu_rounds.json").read_text())
    assert len(details["rounds"]) == 2 and set(details["rounds"][0]["parts"]) == {"rollout", "teacher", "student"}
    assert details["prefix_cache_mb"] == pytest.approx(2 * 40 * PAIR.teacher.num_hidden_layers * 2 * 2 * 16 * 4 / 1e6)  # two styles


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """A random stand-in where the real weights would be."""
    directory = tmp_path / "cache" / "smollm2-135m-instruct"
    build_model(PAIR.student, SHAPE, 1).save_pretrained(directory)
    load_tokenizer(SHAPE).save_pretrained(directory)
    monkeypatch.setenv("GOLD_STYLE_CACHE", str(tmp_path / "cache"))


def test_the_row_with_real_weights_is_measured(tmp_path, unpacked, monkeypatch):
    """All three sides and both children; the teachers read the same examples."""
    monkeypatch.setitem(PAIRS, "smollm2", replace(PAIR, teacher=PAIR.student))
    asked = argparse.Namespace(
        rounds=1, new_tokens=6, threads=1, device="cpu", pair=None, sides=["stock", "stable", "ours"], no_memory=False
    )
    row = step.Row("smollm2/2", asked, tmp_path)
    assert row.sides == ["stock", "stable", "ours"]
    row.measure_memory(lambda text: None)
    row.prepare()
    row.round(lambda text: None)
    found = row.write(tmp_path / "step_cpu.json")
    assert found["stable_s"] > 0 and found["ratio_stock"] > 0 and set(row.peaks) == {"stock", "ours"}
    (details,) = json.loads((tmp_path / "step_cpu_rounds.json").read_text())
    assert details["pair"] == "smollm2" and 0 < details["rounds"][0]["new_tokens"] <= 12
    assert "600 (SmolLM2)" in tables.table([found], [details])


def test_examples_of_the_real_row_reach_both_teachers_alike(tmp_path, unpacked):
    shape = real.RealShape.of(2, 6)
    assert all("Why do people like dogs?" in shape.chat().teacher_text(prompt) for prompt in shape.texts().prompts)
    models = [build_model(PAIR.student, shape, 1), build_model(PAIR.student, shape, 1).eval()]
    trainer = stock.build_trainer(shape, *models, tmp_path / "stock", steps=1, given=True)
    read = []
    models[1].register_forward_pre_hook(lambda module, args, kwargs: read.append(kwargs["input_ids"][0].tolist()), with_kwargs=True)
    trainer.train()
    mine = ours.build_trainer(shape, *models, tmp_path / "ours", steps=1, given=True)
    rows = mine.row_maker.make(0, mine.accelerator, mine.student_copy)
    assert sorted(read) == sorted([*row.teacher_prompt.prefix, *row.teacher_prompt.rest, *row.teacher_completion] for row in rows)


def test_without_real_weights_the_row_is_left_out(tmp_path):
    command = [sys.executable, step.__file__, "--rows", "smollm2", "--out", str(tmp_path / "step_cpu.json")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GOLD_STYLE_CACHE": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("smollm2: left out") and "python -m gold_style.pairs.smollm2" in done.stdout
    assert not list(tmp_path.iterdir())


def test_figures_of_two_machines_say_which_is_whose():
    machine = {"threads": 1, "versions": {"torch": "2", "trl": "1"}, "date": "today"}
    details = [{**machine, "vocab": 8192, "machine": "A"}, {**machine, "vocab": 49152, "machine": "B", "pair": "smollm2"}]
    row = {**dict.fromkeys(results.KEYS), "system_tokens": 600, "rounds": 1}
    found = tables.table([{**row, "vocab": 8192}, {**row, "vocab": 49152}], details)
    assert "\n8,192: Measured today on A" in found and "\n49,152 (SmolLM2): Measured today on B" in found


def test_medians_of_rounds_and_of_their_own_ratios():
    seconds = ((8.0, 3.0, 2.0), (9.0, 4.0, 1.0), (30.0, 6.0, 3.0))
    rounds = [dict(zip(results.SIDES, each, strict=True)) for each in seconds]
    row = results.summarise(SHAPE, 1, rounds, {"stock": 5.0, "ours": 4.0}, floor_s=1.5)
    assert (row["stock_s"], row["stable_s"], row["ours_s"]) == (9.0, 4.0, 2.0)
    assert (row["ratio_stock"], row["ratio_stable"], row["floor_fraction"]) == (9.0, 2.0, 0.75)


def test_measuring_a_row_again_replaces_it(tmp_path):
    path = tmp_path / "step_cpu.json"
    for window, seconds in ((8, 2.0), (32, 5.0), (8, 1.0)):
        row = results.summarise(replace(SHAPE, window=window), 1, [{"stock": 4.0, "ours": seconds}], {}, 0.5)
        results.write(path, row, {"note": seconds})
    assert [(row["window"], row["ours_s"]) for row in json.loads(path.read_text())] == [(8, 1.0), (32, 5.0)]


def test_the_floor_counts_the_products_that_a_forward_makes():
    for pair in (PAIR, PAIRS["toy"]):
        model = build_model(pair.student, SHAPE, 1)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(input_ids=torch.zeros(1, 32, dtype=torch.long))
        by_operation = counter.get_flop_counts()["Global"]
        counted = sum(flops for operation, flops in by_operation.items() if "mm" in str(operation) and "bmm" not in str(operation))
        expected = floor.body_flops(pair.student, 32) + floor.head_flops(pair.student, SHAPE, 32) * SHAPE.vocab / SHAPE.vocab_size
        assert counted == pytest.approx(expected, rel=1e-6)


def test_real_shapes_are_those_of_qwen():
    """Parameters of Qwen2.5 3B and 1.5B, tied embeddings counted once, to a percent (biases and norms left out)."""
    shape = Shape(vocab=151936, system_tokens=600, window=8)
    sizes = [floor.parameters(body, shape) for body in (PAIRS["qwen"].teacher, PAIRS["qwen"].student)]
    assert sizes == [pytest.approx(3.086e9, rel=0.01), pytest.approx(1.544e9, rel=0.01)]
    assert floor.step_flops(PAIR, SHAPE, [45, 50]) == floor.step_flops(PAIR, SHAPE, [45, 50], [6, 6])
    assert floor.step_flops(PAIR, SHAPE, [45, 50]) > floor.step_flops(PAIR, SHAPE, [45, 50], [6, 5])
    assert floor.step_bytes(PAIRS["qwen"], shape, [45] * 8) > 128 * 2 * sizes[1]


def test_loops_take_turns_and_hand_their_errors_over(tmp_path):
    """A loop moves only while `step` is called, and what it raises is raised there."""
    trainer = ours.build_trainer(SHAPE, build_model(PAIR.student, SHAPE, 1), build_model(PAIR.teacher, SHAPE, 2), tmp_path, steps=2)
    loop = turns.Loop(trainer, turns.clock("cpu", 1))
    assert trainer.state.global_step == 0
    assert loop.step() > 0 and trainer.state.global_step == 1
    ours.set_new_tokens(trainer, None)
    with pytest.raises(TypeError):
        loop.step()
