"""Checkpoints under kills and damage."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold_style.runs.checkpoints import (
    PARTIAL,
    REPLACED,
    SEAL,
    adopt,
    checkpoint_fault,
    checkpoints_in,
    newest_valid_checkpoint,
    prune,
    step_of,
    tidy,
)
from gold_style.runs.files import read_json
from tests.helpers.checkpoint_files import make_checkpoint


def test_a_sealed_checkpoint_is_good_and_whole(tmp_path):
    final = make_checkpoint(tmp_path, 5)
    assert checkpoint_fault(final) is None
    assert newest_valid_checkpoint(tmp_path) == final
    listed = read_json(final / SEAL)["files"]
    assert set(listed) == {"model.safetensors", "global_step/optimizer.pt", "empty"}
    assert listed["global_step/optimizer.pt"]["bytes"] == 25


def damage_missing(final: Path):
    (final / "global_step" / "optimizer.pt").unlink()


def damage_short(final: Path):
    os.truncate(final / "model.safetensors", 3)


def damage_bit(final: Path):
    (final / "model.safetensors").write_bytes(b"weighty")


def damage_seal(final: Path):
    (final / SEAL).unlink()


def damage_half_seal(final: Path):
    os.truncate(final / SEAL, 20)


@pytest.mark.parametrize("damage", [damage_missing, damage_short, damage_bit, damage_seal, damage_half_seal])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, damage):
    good, newer = make_checkpoint(tmp_path, 9), make_checkpoint(tmp_path, 10)
    damage(newer)
    warnings = []
    assert newest_valid_checkpoint(tmp_path, warn=warnings.append) == good
    assert len(warnings) == 1 and str(newer) in warnings[0]


def test_a_foreign_checkpoint_without_a_seal_is_no_checkpoint(tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text("{}")
    assert newest_valid_checkpoint(tmp_path, warn=lambda text: None) is None


def test_the_same_step_again_replaces_its_checkpoint(tmp_path):
    make_checkpoint(tmp_path, 5, b"old")
    final = make_checkpoint(tmp_path, 5, b"new")
    assert (final / "model.safetensors").read_bytes() == b"new"
    assert checkpoint_fault(final) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [PARTIAL, "checkpoint-5"]


def test_tidy_brings_back_a_checkpoint_whose_replacement_never_arrived(tmp_path):
    final = make_checkpoint(tmp_path, 5)
    os.rename(final, tmp_path / (REPLACED + final.name))
    (tmp_path / PARTIAL / "checkpoint-5").mkdir(parents=True)
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]
    assert checkpoint_fault(final) is None


SEALS_FOR_EVER = """
import sys
from pathlib import Path
from tests.helpers.checkpoint_files import make_checkpoint
from gold_style.runs.checkpoints import prune
directory, step = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
while True:
    step += 1
    make_checkpoint(directory, step, b"x" * 300_000)
    print(step, flush=True)
    prune(directory, 2)
"""


def test_kills_while_saving_and_pruning_never_lose_the_last_good_checkpoint(tmp_path):
    step = 0
    for kill in range(8):
        tidy(tmp_path)
        arguments = [sys.executable, "-c", SEALS_FOR_EVER, str(tmp_path), str(step)]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.011 * (kill + 1))
        child.kill()
        said = [int(line) for line in child.stdout.readlines()]
        child.wait()
        tidy(tmp_path)
        newest = newest_valid_checkpoint(tmp_path)
        assert (newest is None and not said) or step_of(newest) >= max([step, *said])
        assert all(checkpoint_fault(checkpoint) is None for checkpoint in checkpoints_in(tmp_path))
        step = step_of(newest) if newest else 0
    assert step > 0


@given(
    steps=st.sets(st.integers(1, 30), max_size=8),
    torn=st.sets(st.integers(1, 30)),
    kept=st.sets(st.integers(1, 30), max_size=2),
    limit=st.none() | st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_prune_keeps_the_newest_good_one_and_the_best_one(tmp_path_factory, steps, torn, kept, limit):
    directory = tmp_path_factory.mktemp("checkpoints")
    for step in steps:
        make_checkpoint(directory, step)
    for step in steps & torn:
        (directory / f"checkpoint-{step}" / SEAL).unlink()
    good = sorted(steps - torn)
    prune(directory, limit, keep={directory / f"checkpoint-{step}" for step in kept})
    left = {step_of(path) for path in checkpoints_in(directory)}
    assert left <= steps and kept & steps <= left
    if not limit or not good:
        assert left == steps
        return
    assert good[-1] in left
    assert len(left - torn) <= max(limit, len((kept & set(good)) | {good[-1]}))
    gone = set(good) - left
    assert all(step > max(gone, default=0) for step in left - torn - kept)  # the oldest go first


@pytest.mark.parametrize("links", [True, False])
def test_an_adopted_checkpoint_is_whole_and_outlives_its_run(links, tmp_path, monkeypatch):
    """Hard links where there are any: the weights of a large pair are not copied."""
    if not links:
        monkeypatch.delattr(os, "link")
        monkeypatch.setattr(os, "link", _no_links, raising=False)
    theirs = make_checkpoint(tmp_path / "theirs", 4)
    own = adopt(theirs, tmp_path / "own")
    assert own == tmp_path / "own" / "checkpoint-4" and newest_valid_checkpoint(tmp_path / "own") == own
    assert (own / "model.safetensors").samefile(theirs / "model.safetensors") == links
    shutil.rmtree(tmp_path / "theirs")
    assert checkpoint_fault(own) is None


def _no_links(source, target):
    raise OSError("this file system has no hard links")
