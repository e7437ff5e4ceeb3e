"""docs/scale.md: the page and its drawings are those of the arithmetic, and the arithmetic has the sizes that others have published."""

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "benchmarks"))

import scale  # noqa: E402

from gold_style.job.shapes import shape_of  # noqa: E402


def test_the_page_is_what_the_command_writes():
    again = "python benchmarks/scale.py writes them anew"
    assert f"<!-- study -->\n{scale.text_of()}\n<!-- /study -->" in scale.PAGE.read_text(encoding="utf-8"), again
    for name, chart in scale.curves().items():
        assert chart.file() == (scale.DRAWINGS / f"{name}.svg").read_text(encoding="utf-8"), again


def test_bytes_are_those_that_others_publish():
    """KDFlow: 160 GB for the logits of 128 x 4,096 tokens; Nitrobrew: up to 60 times as much as hidden states; NeMo RL: about 74 times."""
    teacher = shape_of("model.teacher", "Qwen/Qwen3-14B")
    assert 128 * 4096 * scale.logit_bytes(teacher) == pytest.approx(160e9, rel=0.01)
    assert scale.state_bytes(teacher) == 5120 * 2
    assert scale.ratio("Qwen/Qwen3-4B") == pytest.approx(60, rel=0.02) and round(scale.ratio("Qwen/Qwen3-1.7B")) == 74


def test_models_of_the_published_setting_have_their_sizes():
    for size, number in {"4B": 4_022_468_096, "14B": 14_768_307_200, "32B": 32_762_123_264}.items():
        assert shape_of("model.teacher", f"Qwen/Qwen3-{size}").parameters == number


def test_published_steps_are_met_within_a_fifth():
    length = scale.mean_length()
    for pair, (*_, seconds) in scale.KDFLOW.items():
        assert scale.published_step(*pair, length) == pytest.approx(seconds, rel=0.2), pair


def test_a_teacher_elsewhere_serves_every_gpu_in_turn():
    """Its part of a step does not shrink with the students' GPUs, and what it sends does not grow."""
    few, many = (scale.step("1.5B", "7B", 512, gpus, away=True) for gpus in (1, 8))
    assert many["teacher"] >= few["teacher"] and many["states"] == few["states"] and many["student"] < few["student"]
    assert scale.step("1.5B", "7B", 512, 8)["teacher"] < few["teacher"] / 4
    assert many["gradients"] == pytest.approx(2 * 4 * 1_543_714_304 * 7 / 8 / scale.NVLINK)


def test_logits_are_what_makes_the_network_the_bottleneck():
    assert scale.bottleneck(scale.step("1.5B", "7B", 512, away=True, logits=True))[0] == "network"
    assert scale.bottleneck(scale.step("1.5B", "7B", 512, away=True))[0] != "network"
