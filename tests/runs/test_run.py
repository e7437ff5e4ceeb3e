"""A run from opening to closing, in every way it can end; real processes where processes matter."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
import torch
import yaml

from gold_style.config.settings import Settings
from gold_style.runs.files import JsonLines, read_json, read_json_lines, write_json
from gold_style.runs.provenance import device_name, differences, git_state
from gold_style.runs.run import Pruned, Run, open_run, recorded
from gold_style.runs.run_directory import status_of
from gold_style.runs.signals import Interrupted
from gold_style.show.report import write_report
from tests.helpers.checkpoint_files import make_checkpoint
from tests.helpers.run_settings import changed, compose

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path):
    return compose(tmp_path / "run")


def launch(code: str, *arguments) -> subprocess.Popen:
    """A process that runs `code`, in the project."""
    return start([sys.executable, "-c", code, *map(str, arguments)])


def start(command: list) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_completed_run_leaves_its_files(settings, tmp_path, capsys):
    argv = ["train.py", "loss.beta=0.3", f"output_dir={tmp_path / 'run'}"]
    with open_run(settings, argv=argv) as run:
        assert read_json(run.directory / "run.json")["status"] == "running" and status_of(run.directory) == "running"
        run.update(device="a processor", num_training_rows=12)
        for step in (1, 2):
            run.log({"train/loss": torch.tensor(1 / step), "perf/tokens": 10 * step}, step=step)
        run.write_samples([{"id": 0, "request": "봄", "before": "<b>"}])
        run.write_summary({"after": {"margin": 0.9}, "gap_closed": float("nan")})
        run.log_table("samples", ["request"], [["봄"]])
    state = read_json(run.directory / "run.json")
    assert (state["status"], state["reason"], state["step"], state["device"]) == ("completed", None, 2, "a processor")
    assert state["started"] < state["ended"] and state["started"].endswith("+00:00")
    assert state["command"] == f"python train.py loss.beta=0.3 output_dir={run.directory}"
    assert state["resume_command"] == f"python train.py loss.beta=0.3 resume={run.directory}"
    assert state["packages"]["torch"] == torch.__version__ and state["seed"] == 0 and state["num_processes"] == 1
    assert state["git"] == git_state() and len(state["git"]["commit"]) == 40
    assert list(read_json_lines(run.directory / "metrics.jsonl")) == [
        {"step": 1, "train/loss": 1.0, "perf/tokens": 10},
        {"step": 2, "train/loss": 0.5, "perf/tokens": 20},
    ]
    assert read_json(run.directory / "summary.json") == {"after": {"margin": 0.9}, "gap_closed": None}
    assert json.loads((run.directory / "samples.jsonl").read_text()) == {"id": 0, "request": "봄", "before": "<b>"}
    assert run.student == run.directory / "student" and run.checkpoints == run.directory / "checkpoints"
    assert capsys.readouterr().out == ""


def test_config_yaml_is_the_settings_with_the_directory(settings):
    with open_run(settings) as run:
        pass
    assert yaml.safe_load((run.directory / "config.yaml").read_text()) == {
        **json.loads(json.dumps(settings.to_dict())),
        "output_dir": str(run.directory),
    }
    assert Settings.load(run.directory).to_dict() == settings.to_dict()


def test_numbers_that_json_lacks_are_null_and_named(settings):
    with open_run(settings) as run:
        run.log({"train/loss": float("nan"), "train/grad_norm": torch.tensor(float("inf")), "train/lr": 1e-5}, step=3)
    (row,) = read_json_lines(run.directory / "metrics.jsonl")
    assert row == {
        "step": 3,
        "train/loss": None,
        "train/grad_norm": None,
        "train/lr": 1e-5,
        "nonfinite": {"train/loss": "nan", "train/grad_norm": "inf"},
    }


@pytest.mark.parametrize(
    "error, status, words",
    [
        (ValueError("no such row"), "failed", "ValueError: no such row (test_run.py:"),
        (RuntimeError("401 for hf_abcdefghijklmnopqrstuvwxyz"), "failed", "RuntimeError: 401 for <redacted>"),
        (Interrupted(signal.SIGTERM), "interrupted", "interrupted by SIGTERM"),
        (KeyboardInterrupt(), "interrupted", "interrupted from the keyboard"),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (SystemExit(0), "completed", None),
    ],
)
def test_the_end_is_recorded_with_its_reason_and_passed_on(settings, capsys, error, status, words):
    with pytest.raises(type(error)), open_run(settings, argv=["train.py", "seed=0"]) as run:
        run.log({"train/loss": 1.0}, step=7)
        raise error
    state = read_json(run.directory / "run.json")
    assert state["status"] == status and state["ended"]
    assert state["reason"] is None if words is None else state["reason"].startswith(words)
    said = capsys.readouterr().err
    resume = f"after step 7; to go on:\n  python train.py seed=0 resume={run.directory}"
    assert (resume in said) == (status == "interrupted")
    assert "hf_abc" not in said + json.dumps(state)


def test_a_failed_run_is_failed_for_wandb_too(tmp_path, monkeypatch):
    from tests.helpers.wandb_file import read_wandb_file, wandb_files

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    settings = changed(compose(tmp_path / "run"), "tracker", name="wandb", mode="offline", run_name="mine", tags=["a"])
    with pytest.raises(ZeroDivisionError), open_run(settings) as run:
        run.log({"train/loss": 1.0}, step=1)
        raise ZeroDivisionError
    told = read_wandb_file(*wandb_files(run.directory))
    assert told.exit_code == 1 and told.name == "mine"
    assert told.tags == ["a", settings.model.name, settings.styles.name, settings.loss.kind]
    assert told.config["gold_style"] == yaml.safe_load((run.directory / "config.yaml").read_text())
    assert read_json(run.directory / "run.json")["tracker"]["run_id"] == told.run_id


def test_a_run_whose_report_cannot_be_written_is_completed_nowhere(tmp_path, monkeypatch):
    from tests.helpers.wandb_file import read_wandb_file, wandb_files

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    settings = changed(compose(tmp_path / "run"), "tracker", name="wandb", mode="offline")
    with pytest.raises(OSError, match="directory"), open_run(settings, draw=write_report) as run:
        run.log({"train/loss": 1.0}, step=1)
        run.write_summary({"status": "completed", "after": None})
        (run.directory / "report.html").mkdir()
    state, told = read_json(run.directory / "run.json"), read_wandb_file(*wandb_files(run.directory))
    assert state["status"] == "failed" and "directory" in state["reason"].lower() and not (run.directory / "summary.json").exists()
    assert told.exit_code == 1 and "status" not in told.summary


def test_what_evaluate_writes_is_completed_as_a_whole_or_not_at_all(tmp_path):
    run = Run(tmp_path, None, is_main=True)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match="directory"), recorded(run, write_report):
        run.write_summary({"status": "completed"})
    assert read_json(tmp_path / "run.json")["status"] == "failed" and not (tmp_path / "summary.json").exists()
    (tmp_path / "report.html").rmdir()
    with recorded(run, write_report):
        run.write_summary({"status": "completed"})
    assert read_json(tmp_path / "run.json")["status"] == read_json(tmp_path / "summary.json")["status"] == "completed"
    assert "status: completed" in (tmp_path / "report.html").read_text()


def test_the_report_is_drawn_of_the_final_state_and_a_left_summary_goes(settings):
    drawn = []
    for error, status in (
        (None, "completed"),
        (Interrupted(signal.SIGTERM), "interrupted"),
        (Pruned("enough"), "pruned"),
        (ValueError("x"), "failed"),
    ):
        directory = Path(settings.output_dir).with_name(status)
        with (
            contextlib.suppress(BaseException),
            open_run(changed(settings, output_dir=str(directory)), draw=lambda d: drawn.append(read_json(d / "run.json"))) as run,
        ):
            run.write_summary({"status": "completed"})
            if error is not None:
                write_json(directory / "summary.json", {"status": "completed"})
                raise error
        assert drawn[-1]["status"] == status and drawn[-1]["ended"]
        assert (directory / "summary.json").exists() == (status == "completed")


def test_secrets_reach_no_file(settings, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "a-secret-of-the-hub")
    settings = changed(settings, "train", hub_token="whatever-it-is")
    argv = ["train.py", "train.hub_token=whatever-it-is", "tracker.tags=[a-secret-of-the-hub]"]
    with pytest.raises(RuntimeError), open_run(settings, argv=argv) as run:
        run.update(note="a-secret-of-the-hub")
        raise RuntimeError("GET with a-secret-of-the-hub")
    texts = [path.read_text() for path in run.directory.rglob("*") if path.is_file()]
    assert len(texts) >= 3 and not any("whatever-it-is" in text or "a-secret-of-the-hub" in text for text in texts)


def test_refusals_write_nothing(settings, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    with pytest.raises(ValueError, match="tracker.mode=online"), open_run(changed(settings, "tracker", name="wandb", mode="online")):
        pass
    with pytest.raises(ValueError, match="is not a run directory"), open_run(changed(settings, resume=str(tmp_path / "nowhere"))):
        pass
    assert not list(tmp_path.iterdir())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(ValueError, match="is not empty"), open_run(settings):
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="cannot be written: "), open_run(changed(settings, output_dir="/proc/gold_style/runs/run")):
        pass


# ---- two processes ---------------------------------------------------------------------------------------------------

OPENS_AND_WAITS = """
import os, sys, time
from pathlib import Path
from tests.helpers.run_settings import changed, compose
from gold_style.runs.run import open_run
settings = compose(Path(sys.argv[1]))
if len(sys.argv) > 2:
    settings = changed(settings, resume=sys.argv[2])
with open_run(settings, argv=["train.py"]) as run:
    run.log({"train/loss": 1.0}, step=1)
    print("open", run.directory, flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_kept_out_until_the_first_is_dead(tmp_path, settings):
    first = launch(OPENS_AND_WAITS, tmp_path / "run")
    assert first.stdout.readline() == f"open {tmp_path / 'run'}\n"
    with pytest.raises(ValueError, match="holds a run \\(running\\); give a new"), open_run(settings):
        pass
    resumed = changed(settings, resume=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=f"in use by process {first.pid} on"), open_run(resumed):
        pass
    first.kill()
    first.communicate()
    assert read_json(tmp_path / "run" / "run.json")["status"] == "running"
    assert status_of(tmp_path / "run") == "interrupted"
    with open_run(resumed) as run:
        assert run.directory == tmp_path / "run" and run.resumed_from is None


def test_of_two_that_start_in_one_directory_one_is_refused(tmp_path):
    both = [launch(OPENS_AND_WAITS, tmp_path / "run") for _ in range(2)]
    said = [child.stdout.readline() for child in both]  # the refused one ends without a word on stdout
    for child in both:
        child.kill()
    errors = [child.communicate()[1] for child in both]
    assert sorted(said) == ["", f"open {tmp_path / 'run'}\n"]
    assert f"ValueError: output_dir={tmp_path / 'run'}: " in errors[said.index("")]


RANKS = """
import os, sys
from pathlib import Path
import torch.distributed as dist
from tests.helpers.run_settings import changed, compose
from gold_style.runs.run import open_run
directory = Path(sys.argv[1])
settings = changed(compose(directory), "tracker", name="wandb", mode="offline")
with open_run(settings, argv=["train.py"]) as run:
    run.log({"train/loss": 1.0}, step=1)
    run.write_summary({})
    dist.init_process_group("gloo")  # as the trainer does later, with the same store
    told = [None, None]
    dist.all_gather_object(told, (os.environ["RANK"], run.is_main, str(run.directory), str(run.resumed_from)))
    if run.is_main:
        print(told)
    dist.destroy_process_group()
try:
    with open_run(changed(settings, resume=str(directory)), argv=["train.py"]):
        print("opened a completed run")
except ValueError as error:
    os.write(1, f"{os.environ['RANK']} {error}\\n".encode())
"""


def test_two_ranks_share_one_directory_one_tracker_run_and_one_refusal(tmp_path):
    script, run = tmp_path / "ranks.py", tmp_path / "run"
    script.write_text(RANKS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    out, err = start([*torchrun, str(script), str(run)]).communicate(timeout=120)
    assert str([(str(rank), rank == 0, str(run), "None") for rank in range(2)]) in out, err
    assert sorted(line[:1] for line in out.splitlines() if "this run is completed" in line) == ["0", "1"]
    assert len(list(read_json_lines(run / "metrics.jsonl"))) == 1
    assert len(list((run / "wandb").glob("offline-run-*/*.wandb"))) == 1
    state = read_json(run / "run.json")
    assert state["num_processes"] == 2 and state["status"] == "completed"
    assert state["resume_command"].startswith("torchrun --nproc_per_node 2 ")


# ---- going on --------------------------------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_in_place(settings, tmp_path, capsys):
    with pytest.raises(Interrupted), open_run(settings, argv=["train.py", "seed=0"]) as run:
        for step in range(1, 8):
            run.log({"train/loss": 1 / step}, step=step)
        checkpoint = make_checkpoint(run.checkpoints, 5)
        (run.checkpoints / ".partial" / "checkpoint-7").mkdir(parents=True)
        (run.directory / ".run.json.0.aside").touch()
        raise Interrupted(signal.SIGUSR1)
    with (run.directory / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "train/lo')
    started = read_json(run.directory / "run.json")["started"]
    capsys.readouterr()
    argv = ["train.py", "seed=0", f"resume={run.directory}"]
    with open_run(changed(settings, resume=str(run.directory)), argv=argv) as run:
        assert run.resumed_from == checkpoint and run.step == 5
        assert [path.name for path in run.checkpoints.iterdir()] == ["checkpoint-5"]
        run.log({"train/loss": 1 / 6}, step=6)
    said = capsys.readouterr().err
    assert f"resuming {run.directory} (interrupted) from step 5" in said and "2 rows after step 5 are cut" in said
    assert [row["step"] for row in read_json_lines(run.directory / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    state = read_json(run.directory / "run.json")
    assert state["status"] == "completed" and state["started"] == started < state["resumed"]
    (resumption,) = state["resumes"]
    assert resumption["from_step"] == 5 and resumption["reason"] == "interrupted by SIGUSR1"
    assert not list(run.directory.glob(".*.aside"))


def test_auto_goes_on_with_a_killed_run_and_else_starts_a_new_one(tmp_path, capsys):
    child = launch(OPENS_AND_WAITS, tmp_path / "multirun" / "day" / "one" / "0")
    child.stdout.readline()
    child.kill()
    child.communicate()
    settings = compose(tmp_path / "multirun" / "day" / "two" / "0", "resume=auto")
    with open_run(settings) as run:
        assert run.directory == tmp_path / "multirun" / "day" / "one" / "0"
    with open_run(settings) as run:  # that one is completed now
        assert run.directory == tmp_path / "multirun" / "day" / "two" / "0"
    assert "no interrupted run of this config" in capsys.readouterr().err


def test_of_two_that_resume_at_once_one_takes_the_run_and_the_other_a_new_one(tmp_path):
    child = launch(OPENS_AND_WAITS, tmp_path / "multirun" / "day" / "one" / "0")
    child.stdout.readline()
    child.kill()
    child.communicate()
    both = [launch(OPENS_AND_WAITS, tmp_path / "multirun" / "day" / str(number) / "0", "auto") for number in (2, 3)]
    directories = {child.stdout.readline().split()[1] for child in both}
    for child in both:
        child.kill()
        child.communicate()
    old = str(tmp_path / "multirun" / "day" / "one" / "0")
    assert len(directories) == 2 and old in directories


def test_a_repeated_run_says_what_differs(settings, tmp_path, capsys):
    with open_run(settings) as run:
        pass
    path = run.directory / "run.json"
    state = read_json(path)
    write_json(path, state | {"packages": state["packages"] | {"trl": "0.1"}})
    again = changed(settings, output_dir=str(tmp_path / "again"), reproduce=str(run.directory))
    capsys.readouterr()
    with open_run(again):
        pass
    said = capsys.readouterr().err
    assert f"repeating {run.directory}; these differ, and its bits may:" in said and "  trl: 0.1 then, " in said
    assert "device" not in said and "torch:" not in said


@pytest.mark.parametrize("key", ["reproduce", "resume"])
def test_a_repeated_or_resumed_run_keeps_the_date_of_its_templates(settings, tmp_path, key):
    """An older run has none: its templates read the day on which it was started."""
    with pytest.raises(KeyboardInterrupt), open_run(settings) as run:
        assert run.template_date == str(date.today())
        raise KeyboardInterrupt
    path = run.directory / "run.json"
    state = read_json(path) | {"started": "2023-01-31T10:00:00.000000+00:00"}
    again = changed(settings, output_dir=str(tmp_path / "again"), **{key: str(run.directory)})
    for template_date in ("2024-02-29", None):
        write_json(path, state | {"template_date": template_date})
        with pytest.raises(KeyboardInterrupt), open_run(again) as other:
            assert other.template_date == read_json(other.directory / "run.json")["template_date"] == (template_date or "2023-01-31")
            raise KeyboardInterrupt
        again = changed(again, output_dir=str(tmp_path / "once more"))


def test_differences_name_versions_commit_and_device(settings):
    with open_run(settings) as run:
        run.update(device=device_name("cpu"))
    state = read_json(run.directory / "run.json")
    clean = state | {"git": state["git"] | {"dirty": False}}
    assert [line for line in differences(clean, device_name("cpu")) if "uncommitted" not in line] == []
    other = clean | {
        "packages": state["packages"] | {"torch": "1.0", "gone": "2"},
        "device": "NVIDIA H200",
        "python": "3.9.0",
        "git": {"commit": "0" * 40, "dirty": True},
    }
    lines = differences(other, device_name("cpu"))
    assert f"torch: 1.0 then, {torch.__version__} now" in lines and "gone: 2 then, not installed now" in lines
    assert f"device: NVIDIA H200 then, {device_name('cpu')} now" in lines
    assert any(line.startswith("python: 3.9.0 then") for line in lines)
    assert any(line.startswith("git commit: 000") for line in lines) and any("uncommitted" in line for line in lines)


# ---- a full disk -----------------------------------------------------------------------------------------------------

FILLS_THE_DISK = """
import resource, sys
from pathlib import Path
from tests.helpers.run_settings import compose
from gold_style.runs.run import open_run
with open_run(compose(Path(sys.argv[1]))) as run:
    size = (run.directory / "config.yaml").stat().st_size
    run.log({"train/loss": 1.0}, step=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    for step in range(2, 10**6):
        run.log({"train/loss": 1.0}, step=step)
"""


def test_a_disk_that_runs_full_stops_the_run_with_its_reason_and_whole_rows(tmp_path):
    _, err = launch(FILLS_THE_DISK, tmp_path / "run").communicate(timeout=60)
    assert "OSError: [Errno 27]" in err  # EFBIG, the limit's way of saying full
    state = read_json(tmp_path / "run" / "run.json")
    assert state["status"] == "failed" and state["reason"].startswith("OSError: [Errno 27]")
    whole = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    steps = [json.loads(line)["step"] for line in whole.splitlines()]
    assert whole.endswith(b"\n") and steps == list(range(1, state["step"]))
    JsonLines(tmp_path / "run" / "metrics.jsonl").close()
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == whole


def test_a_second_signal_leaves_a_run_that_says_interrupted(tmp_path):
    code = """
import os, sys, time
from pathlib import Path
from tests.helpers.run_settings import compose
from gold_style.runs.run import open_run
from gold_style.runs.signals import listen
with open_run(compose(Path(sys.argv[1]))) as run, listen(60, at_once=run.interrupted_at_once):
    os.write(1, b"open\\n")
    time.sleep(60)
"""
    child = launch(code, tmp_path / "run")
    assert child.stdout.readline() == "open\n"
    child.send_signal(signal.SIGTERM)
    time.sleep(1.1)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=10)
    state = read_json(tmp_path / "run" / "run.json")
    assert child.returncode == 130 and state["status"] == "interrupted" and state["ended"]
