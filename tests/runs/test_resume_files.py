"""Checkpoints under kills and damage, and which directory a run gets."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gold_style.runs.files import FileLock, read_json, write_json, write_text
from gold_style.runs.resume import PARTIAL, REPLACED, SEAL, checkpoint_fault, checkpoints_in, newest_valid_checkpoint, prune, step_of, tidy
from gold_style.runs.run_directory import choose, config_hash, status_of
from tests.helpers.checkpoint_files import make_checkpoint
from tests.helpers.run_settings import changed, compose


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
from gold_style.runs.resume import prune
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


# ---- which directory -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return compose(tmp_path_factory.mktemp("unused") / "new")


def leave_run(directory: Path, config, status: str = "interrupted", started: str = "2026-01-01", **fields) -> Path:
    """What an earlier run of `config` left behind."""
    directory.mkdir(parents=True)
    state = {"status": status, "config_hash": config_hash(config.to_dict()), "num_processes": 1, "started": started}
    write_json(directory / "run.json", state | fields)
    write_text(directory / "config.yaml", yaml.safe_dump(config.to_dict(), allow_unicode=True))
    return directory


def at(config, directory: Path, **fields):
    return changed(config, output_dir=str(directory), **fields)


def test_a_new_directory_may_be_missing_or_empty(base, tmp_path):
    assert choose(at(base, tmp_path / "a" / "b")).directory == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()
    (tmp_path / ".lock").touch()
    assert choose(at(base, tmp_path)).continues is False


def test_a_directory_with_something_in_it_is_refused(base, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="output_dir=.*is not empty; give a new or empty directory"):
        choose(at(base, tmp_path))
    with pytest.raises(ValueError, match="is a file"):
        choose(at(base, tmp_path / "notes.txt"))
    run = leave_run(tmp_path / "run", base)
    with pytest.raises(ValueError, match=f"holds a run \\(interrupted\\); give resume={run} to go on"):
        choose(at(base, run))


def test_resume_goes_on_from_the_newest_good_checkpoint(base, tmp_path):
    run = leave_run(tmp_path / "run", base)
    make_checkpoint(run / "checkpoints", 5)
    damage_short(make_checkpoint(run / "checkpoints", 10))
    place = choose(at(base, run, resume=str(run)))
    assert place.continues and place.directory == run and place.checkpoint.name == "checkpoint-5"
    assert "checkpoint-10 is passed over" in place.notes[0] and "from step 5" in place.notes[-1]


def test_resume_without_a_checkpoint_starts_over_in_place(base, tmp_path):
    run = leave_run(tmp_path / "run", base, status="running")  # killed: nobody holds the lock
    place = choose(at(base, run, resume=str(run)))
    assert place.continues and place.checkpoint is None and "no usable checkpoint" in place.notes[-1]


def test_resume_refuses_what_cannot_go_on(base, tmp_path):
    with pytest.raises(ValueError, match="resume=.*is not a run directory"):
        choose(at(base, tmp_path, resume=str(tmp_path / "nowhere")))
    done = leave_run(tmp_path / "done", base, status="completed")
    with pytest.raises(ValueError, match=f"is completed; to repeat it: reproduce={done}"):
        choose(at(base, done, resume=str(done)))
    checkpoint = make_checkpoint(done / "checkpoints", 5)
    with pytest.raises(ValueError, match=f"resume takes the run directory: resume={done}"):
        choose(at(base, done, resume=str(checkpoint)))
    two = leave_run(tmp_path / "two", base, num_processes=2)
    with pytest.raises(ValueError, match="ran with 2 processes, this launch has 1"):
        choose(at(base, two, resume=str(two)))
    run = leave_run(tmp_path / "run", base)
    with pytest.raises(ValueError, match="leave output_dir out"):
        choose(at(base, run, resume=str(run)), ["train.py", f"resume={run}", "output_dir=elsewhere"])
    assert choose(at(base, run, resume=str(run)), ["train.py", f"output_dir={run}"]).continues
    busy = leave_run(tmp_path / "busy", base, status="running")
    lock = FileLock(busy / ".lock")
    lock.acquire()
    with pytest.raises(ValueError, match=f"in use by process {os.getpid()} on"):
        choose(at(base, busy, resume=str(busy)))
    lock.release()


def test_a_changed_config_is_named_and_refused_where_it_is_another_experiment(base, tmp_path):
    run = leave_run(tmp_path / "run", base, resume_command="python train.py seed=0 resume=run")
    other = changed(changed(base, "loss", beta=0.7), "train", logging_steps=5)
    with pytest.raises(ValueError) as caught:
        choose(at(other, run, resume=str(run)))
    assert "loss.beta: 0.3 then, 0.7 now" in str(caught.value) and "python train.py seed=0" in str(caught.value)
    assert "logging_steps" not in str(caught.value)
    free = changed(changed(base, "train", logging_steps=5, save_steps=7), "tracker", name="wandb")
    notes = choose(at(free, run, resume=str(run))).notes
    assert [note for note in notes if "train.logging_steps: 1 then, 5 now" in note]
    assert [note for note in notes if "train.save_steps: None then, 7 now" in note]


def test_other_rows_under_the_same_config_are_another_experiment(base, tmp_path):
    """The file behind prompts.path may change while its name stays."""
    run = leave_run(tmp_path / "run", base, data="0123456789abcdef")
    for resume in (str(run), "auto"):
        with pytest.raises(ValueError, match="the rows of the data set have changed .* 0123456789abcdef and is fedcba9876543210"):
            choose(at(base, run, resume=resume), ["train.py", f"output_dir={run}"], data="fedcba9876543210")
        for data in ("0123456789abcdef", None):
            assert choose(at(base, run, resume=resume), ["train.py", f"output_dir={run}"], data=data).continues
    old = leave_run(tmp_path / "old", base)  # of a version that did not record it
    assert choose(at(base, old, resume=str(old)), data="fedcba9876543210").continues


def test_what_is_not_the_experiment_does_not_change_its_hash(base):
    same = changed(base, output_dir="x", resume="auto", reproduce="y", dry_run=True)
    assert config_hash(changed(same, "tracker", project="p").to_dict()) == config_hash(base.to_dict())
    assert config_hash(changed(base, seed=1).to_dict()) != config_hash(base.to_dict())
    assert config_hash(changed(base, "train", max_steps=1).to_dict()) != config_hash(base.to_dict())


def test_auto_takes_the_newest_interrupted_run_of_the_same_config(base, tmp_path):
    sweep = tmp_path / "multirun" / "2026-01-01"
    leave_run(sweep / "10-00" / "0", base, started="2026-01-01T10")
    newest = leave_run(sweep / "11-00" / "0", base, "running", started="2026-01-01T11")
    leave_run(sweep / "12-00" / "0", base, "completed", started="2026-01-01T12")
    leave_run(sweep / "13-00" / "0", base, "failed", started="2026-01-01T13")
    leave_run(sweep / "14-00" / "0", changed(base, seed=1), started="2026-01-01T14")
    leave_run(sweep / "15-00" / "0", base, num_processes=2, started="2026-01-01T15")
    alive = leave_run(sweep / "16-00" / "0", base, "running", started="2026-01-01T16")
    lock = FileLock(alive / ".lock")
    lock.acquire()
    assert status_of(alive) == "running" and status_of(newest) == "interrupted"
    asked = at(base, sweep / "17-00" / "0", resume="auto")
    assert choose(asked).directory == newest
    assert choose(asked, excluding=[newest]).directory == sweep / "10-00" / "0"
    lock.release()
    assert choose(asked).directory == alive


def test_auto_starts_a_new_run_and_says_so(base, tmp_path):
    new = tmp_path / "multirun" / "2026-01-01" / "10-00" / "0"
    place = choose(at(base, new, resume="auto"))
    assert place.directory == new and not place.continues
    assert "no interrupted run of this config" in place.notes[0]


def test_auto_looks_where_output_dir_says(base, tmp_path):
    argv = ["train.py", "resume=auto", f"output_dir={tmp_path}"]
    asked = at(base, tmp_path, resume="auto")
    assert choose(asked, argv).directory == tmp_path  # empty: the run goes there
    below = leave_run(tmp_path / "night" / "3", base)
    assert choose(asked, argv).directory == below
    leave_run(tmp_path / "0", changed(base, seed=1))
    assert choose(asked, argv, excluding=[below]).directory == tmp_path / "1"  # a folder of runs: beside them
    job = at(base, tmp_path / "night" / "5", resume="auto")
    assert choose(job, argv).directory == below  # a job of a sweep looks among its sisters


def test_auto_in_a_run_directory_goes_on_or_says_why_not(base, tmp_path):
    for status, words in [("completed", "is completed"), ("failed", "this run failed; to go on all the same")]:
        run = leave_run(tmp_path / status, base, status)
        with pytest.raises(ValueError, match=words):
            choose(at(base, run, resume="auto"), ["train.py", f"output_dir={run}"])
    other = leave_run(tmp_path / "other", changed(base, seed=1))
    with pytest.raises(ValueError, match="seed: 1 then, 0 now"):
        choose(at(base, other, resume="auto"), ["train.py", f"output_dir={other}"])
    watched = leave_run(tmp_path / "watched", changed(base, "train", logging_steps=9))
    assert choose(at(base, watched, resume="auto"), ["train.py", f"output_dir={watched}"]).continues
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "notes.txt").touch()
    with pytest.raises(ValueError, match="is not empty"):
        choose(at(base, tmp_path / "files", resume="auto"), ["train.py", f"output_dir={tmp_path / 'files'}"])
