"""Trackers for real: the W&B client with its .wandb file read back, a failing server on loopback, TensorBoard."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from gold_style.config.schema import Tracker
from gold_style.runs import trackers
from gold_style.runs.files import JsonLines
from gold_style.runs.trackers import wandb as wandb_tracker
from tests.helpers.wandb_file import read_wandb_file, wandb_files
from tests.helpers.wandb_server import WandbServer

pytestmark = pytest.mark.slow

KEY = "0123456789abcdef0123456789abcdef01234567"
SETTINGS = Tracker(name="wandb", mode="auto", project="gold-style", entity=None, group=None, tags=["tiny"], run_name=None, log_model=False)
CONFIG = {"seed": 0, "loss": {"beta": 0.3}, "note": "안녕하시오"}


class Asked:
    """Just the part of Settings that `trackers` reads."""

    def __init__(self, **fields):
        self.tracker = replace(SETTINGS, **fields)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No key of the machine's user, and short waits."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setattr(wandb_tracker, "INIT_S", 3.0)
    monkeypatch.setattr(wandb_tracker, "FINISH_S", 3.0)


def tracked(directory: Path, **fields) -> trackers.TrackedRun:
    directory.mkdir(exist_ok=True)
    told = dict(directory=directory, name="beta=0.3", group="sweep", config=CONFIG)
    return trackers.TrackedRun(**told | fields)


def train(tracker, directory: Path, steps) -> float:
    """Log like a run; returns the longest time that a call took, in seconds."""
    longest, lines = 0.0, JsonLines(directory / "metrics.jsonl")
    for step in steps:
        row = {"train/loss": 1 / step, "style/margin": 0.5}
        lines.append({"step": step, **row})
        start = time.perf_counter()
        tracker.log(row, step)
        longest = max(longest, time.perf_counter() - start)
        time.sleep(0.001)
    lines.close()
    return longest


def finish(tracker, exit_code: int = 0) -> list[str]:
    rows = [["봄 축제를 알려 줘.", "chosun", "<script>alert(1)</script>", "축제가 있사옵니다.", None]]
    tracker.log_table("samples", ["request", "tag", "before", "after", "teacher"], rows)
    tracker.summarize({"after": {"margin": 0.97}, "gap_closed": None})
    return tracker.close(exit_code)


def only_file(directory: Path):
    (path,) = wandb_files(directory)
    return read_wandb_file(path)


def steps_of(told) -> list[int]:
    return [row["train/global_step"] for row in told.history if "train/loss" in row]


# ---- offline ---------------------------------------------------------------------------------------------------------


def test_without_a_key_the_run_is_logged_offline_and_can_be_read_back(tmp_path, capsys):
    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(), run)
    assert train(tracker, run.directory, range(1, 31)) < 0.5
    lines = finish(tracker)
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "no key found, logging offline" in said.err and said.out == ""
    (path,) = wandb_files(run.directory)
    assert lines == [f"W&B: not uploaded; to upload this run: wandb sync {path.parent}"]

    told = read_wandb_file(path)
    assert told.config["gold_style"] == CONFIG and set(told.config) == {"gold_style", "_wandb"}
    assert (told.name, told.group, told.project) == ("beta=0.3", "sweep", "gold-style")
    assert (told.tags, told.job_type) == (["tiny"], "train")
    assert steps_of(told) == list(range(1, 31))
    assert [row["train/loss"] for row in told.history if "train/loss" in row] == [1 / step for step in range(1, 31)]
    assert all("train/global_step" in row for row in told.history)
    first = ["style/margin", "style/leakage", "style/untagged", "*"]  # in the order of a workspace
    assert told.metrics == [("train/global_step", ""), *((name, "train/global_step") for name in first)]
    assert told.summary["after"] == {"margin": 0.97} and told.exit_code == 0
    assert tracker.describe() == {"name": "wandb", "run_id": told.run_id, "mode": "offline", "url": None}

    (table,) = path.parent.glob("files/media/table/samples_*.table.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["request", "tag", "before", "after", "teacher"]
    assert content["data"][0][2] == "&lt;script&gt;alert(1)&lt;/script&gt;" and content["data"][0][4] is None
    assert [artifact["type"] for artifact in told.artifacts] == ["run_table"]


def test_a_failed_run_is_recorded_as_failed(tmp_path):
    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(mode="offline"), run)
    tracker.close(1)
    assert only_file(run.directory).exit_code == 1


def test_runs_of_one_process_do_not_mix(tmp_path):
    for number in range(3):
        run = tracked(tmp_path / str(number), name=f"seed={number}", config={"seed": number})
        tracker = trackers.open_tracker(Asked(mode="offline"), run)
        train(tracker, run.directory, range(1, number + 2))
        tracker.close(0)
    told = [only_file(tmp_path / str(number)) for number in range(3)]
    assert [run.config["gold_style"] for run in told] == [{"seed": 0}, {"seed": 1}, {"seed": 2}]
    assert [len(run.history) for run in told] == [1, 2, 3]
    assert len({run.run_id for run in told}) == 3


def test_a_resumed_run_keeps_its_id_and_its_axis_goes_on(tmp_path):
    run = tracked(tmp_path / "run")
    first = trackers.open_tracker(Asked(mode="offline"), run)
    train(first, run.directory, range(1, 6))
    first.close(1)
    time.sleep(1.1)  # W&B names its directories by the second
    second = trackers.open_tracker(Asked(mode="offline"), replace(run, run_id=first.run_id, first_step=5))
    train(second, run.directory, range(6, 9))
    lines = second.close(0)
    before, after = map(read_wandb_file, wandb_files(run.directory))
    assert before.run_id == after.run_id and after.resume
    assert steps_of(before) + steps_of(after) == list(range(1, 9))
    assert lines[0].count("offline-run-") == 2  # both parts are to be synced


def test_no_student_is_uploaded_unasked(tmp_path):
    run = tracked(tmp_path / "run")
    (run.directory / "student").mkdir()
    (run.directory / "student" / "config.json").write_text("{}")
    tracker = trackers.open_tracker(Asked(mode="offline"), run)
    tracker.save_model(run.directory / "student", "student-abc")
    tracker.close(0)
    assert not only_file(run.directory).artifacts


def test_the_student_becomes_an_artifact_without_being_copied(tmp_path):
    run = tracked(tmp_path / "run")
    student = run.directory / "student"
    student.mkdir()
    (student / "model.safetensors").write_bytes(b"x" * 100_000)
    (student / "config.json").write_text("{}")
    tracker = trackers.open_tracker(Asked(mode="offline", log_model=True), run)
    tracker.save_model(student, "student-abc")
    tracker.close(0)
    (artifact,) = only_file(run.directory).artifacts
    assert (artifact["name"], artifact["type"]) == ("student-abc", "model")
    assert sorted(artifact["files"]) == ["config.json", "model.safetensors"] and "best" in artifact["aliases"]
    assert max(path.stat().st_size for path in (run.directory / "wandb").rglob("*") if path.is_file()) < 100_000


def test_a_dead_wandb_process_is_replaced_and_nothing_is_missing(tmp_path, capsys):
    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(mode="offline"), run)
    train(tracker, run.directory, range(1, 21))
    deadline = time.monotonic() + 10
    while not (cores := [child for child in psutil.Process().children(recursive=True) if "wandb" in child.name()]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for core in cores:
        core.send_signal(signal.SIGKILL)
    time.sleep(1.1)
    assert train(tracker, run.directory, range(21, 41)) < 0.5
    lines = finish(tracker)
    assert "W&B has failed" in capsys.readouterr().err
    assert "wandb sync" in lines[0]
    told = read_wandb_file(wandb_files(run.directory)[-1])
    assert steps_of(told) == list(range(1, 41))
    assert told.summary["after"] == {"margin": 0.97} and told.exit_code == 0


# ---- online, on loopback ---------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server


def no_secret_in(*places) -> bool:
    """Whether none of the files (and texts) holds the key."""
    files = [path for place in places if isinstance(place, Path) for path in place.rglob("*") if path.is_file()]
    texts = [path.read_bytes() for path in files] + [place.encode() for place in places if isinstance(place, str)]
    return not any(KEY.encode() in text for text in texts)


def test_with_a_key_the_run_goes_to_the_server(tmp_path, capfd, server):
    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(), run)
    assert train(tracker, run.directory, range(1, 21)) < 0.5
    lines = finish(tracker)
    said = capfd.readouterr().err
    assert lines == [f"W&B: {tracker.describe()['url']}"] and tracker.describe()["mode"] == "online"
    assert [row["train/global_step"] for row in server.streamed_history() if "train/loss" in row] == list(range(1, 21))
    assert server.exit_codes() == [0]
    assert no_secret_in(run.directory, said)


@pytest.mark.parametrize("behaviour", ["401", "500", "hangs", "refuses"])
def test_a_server_that_will_not_have_us_costs_nothing_but_the_upload(tmp_path, capfd, server, behaviour):
    server.behaviour = behaviour
    if behaviour == "refuses":
        server.__exit__()
    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(), run)
    assert train(tracker, run.directory, range(1, 21)) < 0.5
    start = time.perf_counter()
    lines = finish(tracker)
    assert time.perf_counter() - start < 15
    told = only_file(run.directory)
    assert steps_of(told) == list(range(1, 21)) and told.summary["after"] == {"margin": 0.97}
    assert told.config["gold_style"] == CONFIG
    said = capfd.readouterr().err
    assert said.count("cannot be used online") == 1 and "Traceback" not in said
    assert len(lines) == 1 and f"wandb sync {wandb_files(run.directory)[0].parent}" in lines[0]
    assert no_secret_in(run.directory, said, *lines)


@pytest.mark.parametrize("behaviour", ["500", "hangs", "refuses"])
def test_a_server_that_dies_half_way_costs_nothing_but_the_upload(tmp_path, capfd, server, behaviour):
    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(), run)
    train(tracker, run.directory, range(1, 11))
    deadline = time.monotonic() + 60  # a run before it may still be ending
    while tracker.describe()["url"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert tracker.describe()["url"]
    server.behaviour = behaviour
    if behaviour == "refuses":
        server.__exit__()
    assert train(tracker, run.directory, range(11, 31)) < 0.5
    start = time.perf_counter()
    lines = finish(tracker)
    assert time.perf_counter() - start < 30
    told = only_file(run.directory)
    assert steps_of(told) == list(range(1, 31)) and told.summary["after"] == {"margin": 0.97}
    said = capfd.readouterr().err
    assert "not uploaded" in lines[0] and str(wandb_files(run.directory)[0].parent) in lines[0]
    assert no_secret_in(run.directory, said, *lines)


def test_a_secret_on_the_command_line_is_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "train.hub_token=hf_abcdefghijklmnopqrstuvwxyz"])
    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(mode="offline"), run)
    tracker.close(0)
    assert not any(b"hf_abcdef" in path.read_bytes() for path in run.directory.rglob("*") if path.is_file())


# ---- which mode ------------------------------------------------------------------------------------------------------


def test_the_mode_follows_the_key_and_the_environment(monkeypatch, tmp_path):
    def mode(setting="auto"):
        return wandb_tracker.mode_of(setting)

    assert mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert mode() == "online" and mode("offline") == "offline"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert mode() == "offline" and mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode() == "disabled"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY")
    hosts = "".join(f"machine {host} login user password {KEY}\n" for host in ("api.wandb.ai", "w.example"))
    (tmp_path / "netrc").write_text(hosts)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert mode() == "online"
    (tmp_path / "wandb-config").mkdir()
    (tmp_path / "wandb-config" / "settings").write_text("[default]\nbase_url = https://w.example\n")
    assert wandb_tracker.server() == "https://w.example" and mode() == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://elsewhere.example")
    assert mode() == "offline"


def test_online_without_a_key_is_refused_before_anything_starts():
    with pytest.raises(ValueError, match="tracker.mode=online: no key"):
        trackers.check(Asked(mode="online"))


def test_disabled_by_the_environment_means_no_tracker(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = tracked(tmp_path / "run")
    assert trackers.open_tracker(Asked(), run).describe()["name"] == "none"
    assert "not tracked" in capsys.readouterr().err and not (run.directory / "wandb").exists()


def test_nobody_is_asked_for_a_login(tmp_path):
    """On a terminal, where W&B would ask: the run ends by itself, with nothing typed."""
    code = """
import sys
from pathlib import Path
from tests.runs.test_trackers import Asked, tracked, trackers
tracker = trackers.open_tracker(Asked(), tracked(Path(sys.argv[1])))
tracker.log({"train/loss": 1.0}, 1)
tracker.close(0)
"""
    master, slave = os.openpty()
    arguments = [sys.executable, "-c", code, str(tmp_path / "run")]
    child = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    assert child.wait(timeout=60) == 0
    said = os.read(master, 65536).decode()
    os.close(master)
    assert said.count("\n") == 1 and "no key found" in said
    assert only_file(tmp_path / "run").exit_code == 0


# ---- the others ------------------------------------------------------------------------------------------------------


def test_tensorboard_events_hold_the_curves_and_the_texts(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(name="tensorboard"), run)
    train(tracker, run.directory, range(1, 6))
    assert finish(tracker) == []
    events = EventAccumulator(str(run.directory / "tensorboard"))
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5] and losses[1].value == pytest.approx(0.5)
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    assert "안녕하시오" in texts["config/text_summary"]
    assert "<script>" not in texts["samples/text_summary"] and "alert" in texts["samples/text_summary"]
    assert tracker.describe()["name"] == "tensorboard"


def test_no_tracker_writes_nothing(tmp_path):
    run = tracked(tmp_path / "run")
    tracker = trackers.open_tracker(Asked(name="none"), run)
    tracker.log({"train/loss": 1.0}, 1)
    assert finish(tracker) == [] and list(run.directory.iterdir()) == []
