"""A sweep as a user types it: twelve jobs, one poisoned with a NaN, one killed; the same command with resume=auto mends it.

Two steps each, so what is learned means nothing; what is kept apart, recorded and shared is what counts.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gold_style.comparison.command import compare
from gold_style.runs.repetition import first_difference
from tests.helpers.commands import SMALL, finish, python, start
from tests.helpers.wandb_file import read_wandb_file, wandb_files
from tests.helpers.wandb_server import WandbServer

pytestmark = pytest.mark.slow

GRID = ("loss.seq_kd=true", "loss.beta=0,0.3,0.5,1", "loss.lmbda=0,0.5,1", "seed=0")
TINY = (*SMALL, "hardware.threads=1", "train.max_steps=2", "train.max_completion_length=12", "evaluation.every_steps=null")
SWEEP = ("-m", *TINY, "tracker=wandb", "output_dir=sweep", *GRID)
POISONED, KILLED = "4", "7"  # beta 0.3 lmbda 0.5, beta 0.5 lmbda 0.5
POISON = """
import importlib.util, sys

class Finder:  # once gold_style.job.build is imported: the loss of one job is not a number
    def find_spec(self, name, path, target=None):
        if name != "gold_style.job.build":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            build = module.build_objective

            def build_objective(settings, *parts):
                objective = build(settings, *parts)
                if (settings.loss.beta, settings.loss.lmbda) == (0.3, 0.5):
                    loss = objective.loss
                    objective.loss = lambda *given, **named: loss(*given, **named) * float("nan")
                return objective

            module.build_objective = build_objective

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


def state_of(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def statuses(sweep: Path) -> dict[str, str]:
    return {path.name: state_of(path)["status"] for path in sweep.iterdir() if (path / "run.json").is_file()}


def kill_once_running(sweep: Path, name: str, process) -> None:
    """SIGKILL to the process of one job, which its lock names."""
    while not (sweep / name / "run.json").is_file():
        assert process.poll() is None
        time.sleep(0.02)
    pid = json.loads((sweep / name / ".lock").read_text())["pid"]
    assert pid != process.pid
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The sweep after its first command, and after the second: (directory, what each said, states of all jobs in between)."""
    place = tmp_path_factory.mktemp("sweep")
    (place / "poison").mkdir()
    (place / "poison" / "sitecustomize.py").write_text(POISON)
    process = start("train.py", *SWEEP, cwd=place, PYTHONPATH=str(place / "poison"))
    kill_once_running(place / "sweep", KILLED, process)
    first = finish(process)
    between = {path.name: state_of(path) for path in (place / "sweep").iterdir() if (path / "run.json").is_file()}
    board = compare([place / "sweep"], place / "between")
    second = python("train.py", *SWEEP, "resume=auto", cwd=place)
    return place, first, between, board, second


def test_ten_complete_and_the_two_say_what_happened(told):
    place, first, between, board, _ = told
    assert first.code == 1, first.stderr[-3000:]
    ended = {name: state["status"] for name, state in between.items()}
    assert len(ended) == 12 and ended[POISONED] == "failed" and ended[KILLED] == "interrupted"
    assert sorted(ended.values()) == ["completed"] * 10 + ["failed", "interrupted"]
    assert "NonFinite" in between[POISONED]["reason"] and "SIGKILL" in between[KILLED]["reason"]
    assert first.stdout.count("run directory: ") == 12
    assert "10 completed" in first.stderr and "resume=auto" in first.stderr and "Traceback" not in first.stderr
    assert f"job {KILLED} (beta=0.5,lmbda=0.5): interrupted: killed by SIGKILL" in first.stderr


def test_a_sweep_ends_with_leader_page_and_command(told):
    place, first, _, _, second = told
    for done in (first, second):
        last = done.stderr[done.stderr.index("sweep directory: ") :]
        page = place / "sweep" / "compare.html"
        assert "leader: beta" in last or "leader: none, no run" in last  # short runs need not have learned anything
        assert f"open the page: python -m webbrowser {page.as_uri()}" in last and page.is_file()
        assert last.splitlines()[-1].startswith("to compare: python -m gold_style.compare ")


def test_the_leaderboard_says_it_too(told):
    place, _, _, board, _ = told
    assert set(board.varied) == {"loss.beta", "loss.lmbda"} and len(board.entries) == 12
    rows = {Path(row["directory"]).name: row for row in csv.DictReader((place / "between" / "leaderboard.csv").open())}
    assert "NonFinite" in rows[POISONED]["reason"] and "SIGKILL" in rows[KILLED]["reason"]
    assert (place / "between" / "compare.html").read_text().count("SIGKILL") >= 1


def test_the_same_command_brings_exactly_those_two_back(told):
    place, _, between, _, second = told
    assert second.code == 0, second.stderr[-3000:]
    after = {name: state_of(place / "sweep" / name) for name in between}
    assert set(statuses(place / "sweep").values()) == {"completed"}
    assert {name for name in after if after[name] != between[name]} == {POISONED, KILLED}
    assert after[KILLED]["resumes"][0]["reason"].startswith("killed by SIGKILL") and after[POISONED]["resumes"] == []
    assert "NonFinite" in state_of(place / "sweep" / ".failed" / f"{POISONED}.1")["reason"]
    assert second.stdout.count("run directory: ") == 12


def test_twelve_runs_in_wandb_none_with_the_values_of_another(told):
    place, *_ = told
    files = {}
    for number in range(12):
        told_to_wandb = [read_wandb_file(path) for path in wandb_files(place / "sweep" / str(number))]
        assert len({file.run_id for file in told_to_wandb}) == 1
        files[number] = told_to_wandb[-1]
    assert len({file.run_id for file in files.values()}) == 12 and {file.group for file in files.values()} == {"sweep"}
    values = set()
    for number, file in files.items():
        config = yaml.safe_load((place / "sweep" / str(number) / "config.yaml").read_text())
        assert file.config["gold_style"] == config
        beta, lmbda = config["loss"]["beta"], config["loss"]["lmbda"]
        values.add((beta, lmbda))
        assert file.name == f"beta={beta:g},lmbda={lmbda:g}" and file.job_type == "train"
        assert file.tags[:3] == ["sweep", "tiny", "joseon"]  # pair, style and loss after what was asked for
        rows = [json.loads(line) for line in (place / "sweep" / str(number) / "metrics.jsonl").read_text().splitlines()]
        logged = [row["train/loss"] for row in file.history if "train/loss" in row]
        assert logged == [row["train/loss"] for row in rows]
    assert len(values) == 12


def test_the_whole_folder_is_uploaded_by_one_command(told):
    place, *_ = told
    with WandbServer() as server:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        environment |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": 40 * "0"}
        command = [str(Path(sys.executable).with_name("wandb")), "sync", "sweep"]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stderr.count("Finished syncing") >= 12 and server.exit_codes().count(0) >= 12


def test_in_one_process_jobs_are_apart_as_well(told):
    place, *_ = told
    done = python(
        "train.py",
        "-m",
        *TINY,
        "sweep.isolate=false",
        "cache.dir=null",
        "output_dir=one",
        "loss.seq_kd=true",
        "loss.beta=0.5",
        "loss.lmbda=1,0.5",
        cwd=place,
    )
    assert done.code == 0, done.stderr[-3000:]
    name = "student/model.safetensors"
    assert (place / "one" / "1" / name).read_bytes() == (place / "sweep" / KILLED / name).read_bytes()
    assert not (place / "one" / ".cache").exists() and any((place / "sweep" / ".cache").iterdir())


def test_the_command_of_a_row_repeats_it_bit_for_bit(told):
    """Elsewhere, without the sweep's cache; where a file of the original has changed, it says which."""
    place, *_ = told
    original = place / "sweep" / "5"
    rows = {Path(row["directory"]).name: row for row in csv.DictReader((place / "between" / "leaderboard.csv").open())}
    command = rows["5"]["command"].split()
    assert command[:2] == ["python", "train.py"]
    again = python("train.py", *command[2:], "output_dir=again", cwd=place)
    assert again.code == 0 and f"the same bits as {original}" in again.stderr, again.stderr[-3000:]
    assert state_of(again.run)["repeated"] is True
    name = "student/model.safetensors"
    assert (again.run / name).read_bytes() == (original / name).read_bytes()
    (again.run / "samples.jsonl").write_text("{}\n")
    assert first_difference(original, again.run) == "samples.jsonl is not the same"
    rows = [json.loads(line) for line in (again.run / "metrics.jsonl").read_text().splitlines()]
    rows[1]["train/loss"] += 1e-12
    (again.run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert first_difference(original, again.run).startswith("train/loss at step 2 was ")
