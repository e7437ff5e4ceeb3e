"""A repetition against its original: what differs first, and what cannot be compared."""

import shutil
from pathlib import Path

import pytest

from gold_style.runs.files import read_json, write_json
from gold_style.runs.provenance import differences, provenance
from gold_style.runs.repetition import first_difference
from tests.helpers.run_files import write_run


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    """A completed run and its copy."""
    original = write_run(tmp_path / "original", requests=4)
    (original / "student").mkdir()
    (original / "student" / "model.safetensors").write_bytes(b"weights")
    return original, Path(shutil.copytree(original, tmp_path / "again"))


def test_a_copy_is_the_same(two):
    assert first_difference(*two) is None


@pytest.mark.parametrize("gone", ["student/model.safetensors", "samples.jsonl"])
def test_what_the_original_no_longer_has_is_not_called_the_same(two, gone):
    (two[0] / gone).unlink()
    assert first_difference(*two) == f"{gone} cannot be compared: {two[0]} no longer has it"


def test_a_student_that_was_rewritten_or_is_missing_is_named(two):
    weights = two[1] / "student" / "model.safetensors"
    weights.write_bytes(b"others")
    assert first_difference(*two) == "student/model.safetensors is not the same"
    weights.unlink()
    assert first_difference(*two) == "student/model.safetensors is not the same"


def test_an_original_that_did_not_end_is_compared_as_far_as_it_went(two):
    original, again = two
    write_json(original / "run.json", {"status": "interrupted"})
    metrics = original / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:7]))
    assert first_difference(original, again) is None
    metrics.write_text("".join(lines[:6]) + lines[6].replace("train/loss", "train/lost"))
    assert first_difference(original, again).startswith("train/loss at step 7 was None and is ")
    metrics.write_text("")
    assert first_difference(original, again) == f"nothing can be compared: {original} is interrupted and has no metrics"


def test_whatever_both_runs_record_is_compared(two):
    clean = provenance(()) | {"device": "a card", "git": {"commit": None, "dirty": None}}
    then = clean | {"template_date": "2026-11-26", "data": "aaaa", "config_hash": "1111", "num_processes": 2}
    now = {"template_date": "2026-11-27", "data": "bbbb", "config_hash": "2222"}
    lines = differences(then, "another card", now)
    for name, before, after in (
        ("template_date", "2026-11-26", "2026-11-27"),
        ("data", "aaaa", "bbbb"),
        ("config_hash", "1111", "2222"),
        ("num_processes", 2, 1),
        ("device", "a card", "another card"),
    ):
        assert f"{name}: {before} then, {after} now" in lines
    assert not any(line.startswith(("template_date", "data")) for line in differences(then, "a card", {}))
    assert read_json(two[0] / "run.json")["status"] == "completed"
