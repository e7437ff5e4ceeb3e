"""Which directory a run gets, and whether it may go on there."""

import os
from pathlib import Path

import pytest
import yaml

from gold_style.runs.files import FileLock, write_json, write_text
from gold_style.runs.run_directory import choose, config_hash, status_of
from tests.helpers.checkpoint_files import make_checkpoint
from tests.helpers.run_settings import changed, compose


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
    os.truncate(make_checkpoint(run / "checkpoints", 10) / "model.safetensors", 3)
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
    with pytest.raises(
        ValueError, match="ran with 2 processes, this launch has 1; its steps must have 16 rows, too: train.per_device_train"
    ):
        choose(at(base, two, resume=str(two)))
    with pytest.raises(ValueError, match="per_device_train_batch_size: .* then, 3 now"):
        choose(changed(at(base, two, resume=str(two)), "train", per_device_train_batch_size=3))
    busy = leave_run(tmp_path / "busy", base, status="running")
    lock = FileLock(busy / ".lock")
    lock.acquire()
    with pytest.raises(ValueError, match=f"in use by process {os.getpid()} on"):
        choose(at(base, busy, resume=str(busy)))
    lock.release()


def test_another_number_of_processes_continues_with_as_many_rows_in_a_step(base, tmp_path, monkeypatch):
    two = leave_run(tmp_path / "two", base, num_processes=2)
    now = at(base, two, resume=str(two))
    rows, parts = now.train["per_device_train_batch_size"], now.train["gradient_accumulation_steps"]
    for change in ({"per_device_train_batch_size": 2 * rows}, {"gradient_accumulation_steps": 2 * parts}):
        start = choose(changed(now, "train", **change))
        assert start.continues and any(f"{next(iter(change))}: " in note for note in start.notes)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="another experiment"):
        choose(changed(now, "train", per_device_train_batch_size=2 * rows))


def test_a_completed_run_is_trained_further_from_its_last_checkpoint(base, tmp_path):
    """A new run; what cannot be gone on from is refused with the way out."""
    done = leave_run(tmp_path / "done", changed(base, "train", max_steps=4), status="completed", student={"keep": "best", "step": 2})
    longer = changed(at(base, tmp_path / "new", extend=str(done)), "train", max_steps=8)
    with pytest.raises(ValueError, match="extend=.*only a completed run .* is completed"):  # no summary.json
        choose(longer)
    write_json(done / "summary.json", {"steps": 4})
    make_checkpoint(done / "checkpoints", 2)
    with pytest.raises(ValueError, match=f"no good checkpoint of its last step, 4; .*reproduce={done} train.save_steps=4"):
        choose(longer)
    last = make_checkpoint(done / "checkpoints", 4)
    start = choose(longer)
    assert (start.directory, start.checkpoint, start.continues) == (tmp_path / "new", last, False)
    assert start.adopted == (last, done / "checkpoints" / "checkpoint-2")  # the best one so far may stay the best
    assert choose(changed(longer, resume="auto"), ["train.py"]).checkpoint == last
    for steps in (4, 3, -1):
        with pytest.raises(ValueError, match=f"train.max_steps={steps}: .*has done 4 steps.* 8"):
            choose(changed(longer, "train", max_steps=steps))
    write_json(done / "run.json", {"status": "completed", "data": "old"})
    with pytest.raises(ValueError, match="extend=.*rows of the data set have changed"):
        choose(longer, data="new")
    write_json(done / "run.json", {"status": "completed", "num_processes": 2})
    with pytest.raises(ValueError, match="extend=.*ran with 2 processes"):
        choose(longer)
    write_json(done / "run.json", {"status": "running"})
    with pytest.raises(ValueError, match=f"extend=.*this one is interrupted; first continue it: resume={done}"):
        choose(longer)
    with pytest.raises(ValueError, match="extend=.*this one is no run"):
        choose(changed(longer, extend=str(tmp_path)))


def test_a_run_that_stopped_early_is_extended_without_its_margin(base, tmp_path):
    stopped = changed(base, "evaluation", early_stop_margin=0.5)
    done = leave_run(tmp_path / "done", stopped, status="completed")
    write_json(done / "summary.json", {"steps": 4})
    make_checkpoint(done / "checkpoints", 4)
    with pytest.raises(ValueError, match="stopped early after step 4.*evaluation.early_stop_margin=null"):
        choose(at(stopped, tmp_path / "new", extend=str(done)))
    assert choose(at(base, tmp_path / "new", extend=str(done))).adopted


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
