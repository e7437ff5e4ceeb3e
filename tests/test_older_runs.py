"""Runs made yesterday: what a run directory of git revision ed13394 is to the commands of today.

tests/runs_of_ed13394/ holds two, made there with `experiment=smoke` on the embedded pair. `completed` is the default way to
train. `interrupted` was stopped by SIGTERM after 3 of 10 steps; it trains adapters because a checkpoint of theirs is small.
Left out: what the commands write anew (report.html, the model cards). The directories' own paths are /home/user/... .
"""

import csv
import shutil
from pathlib import Path

import pytest

from gold_style.comparison.command import main as compare
from gold_style.config.as_before import AS_BEFORE
from gold_style.config.mirror import is_below, nodes, written
from gold_style.config.settings import BESIDE, Settings
from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.run_directory import config_hash, read_config
from gold_style.show.command import main as report
from tests.helpers.commands import python

OLD_RUNS = Path(__file__).with_name("runs_of_ed13394")
PACK = ("styles.styles", "styles.classifier", "styles.requests")  # a pack's texts, whose keys are its author's


@pytest.fixture
def old_runs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD_RUNS, tmp_path / "runs"))


def dotted(config: dict) -> set[str]:
    return {key for key, _ in nodes(config) if not is_below(key, PACK)}


@pytest.mark.parametrize("name", ["completed", "interrupted"])
def test_every_key_that_an_older_run_lacks_has_an_entry(name):
    """A key added to the schema or to conf/ without a line in AS_BEFORE fails here, whichever section it is in."""
    lacking = dotted(Settings.compose().to_dict()) - dotted(read_config(OLD_RUNS / name))
    groups = {key for key in lacking if any(other.startswith(f"{key}.") for other in AS_BEFORE)}
    assert lacking - groups - set(AS_BEFORE) == set()


@pytest.mark.parametrize("name", ["completed", "interrupted"])
def test_the_hash_of_an_older_run_is_that_of_the_same_config_today(name):
    state = read_json(OLD_RUNS / name / "run.json")
    assert config_hash(Settings.load(OLD_RUNS / name).to_dict()) == state["config_hash"]
    as_before = [f"{key}={written(value)}" for key, value in AS_BEFORE.items() if not is_below(key, BESIDE)]
    as_before += ["hardware.tokens_per_microbatch=null"]  # the default then; on a CPU today's auto means the same
    assert config_hash(Settings.compose(*state["overrides"], *as_before).to_dict()) == state["config_hash"]
    assert config_hash(Settings.compose(*state["overrides"]).to_dict()) != state["config_hash"]  # rows lose their tag today


def test_a_report_of_older_runs(old_runs, capsys):
    report([str(old_runs / "completed"), str(old_runs / "interrupted")])
    assert "status: completed" in (old_runs / "completed" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    report(["--markdown", str(old_runs / "completed")])
    assert "| student after | 0.00" in capsys.readouterr().out


def test_older_runs_are_compared(old_runs):
    compare([str(old_runs)])
    with (old_runs / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = {Path(row["directory"]).name: row for row in csv.DictReader(file)}
    assert (rows["completed"]["status"], rows["completed"]["margin"]) == ("completed", "0.0")
    assert rows["interrupted"]["status"] == "interrupted"
    assert "untagged_share" not in rows["completed"]  # it is 0 in both


@pytest.mark.slow
def test_an_older_run_is_evaluated(old_runs, tmp_path):
    done = python("evaluate.py", f"target={old_runs / 'completed'}", "output_dir=evaluated", cwd=tmp_path)
    assert done.code == 0, done.stderr
    then, now = (read_json(run / "summary.json")["after"] for run in (old_runs / "completed", tmp_path / "evaluated"))
    assert then.items() <= now.items()  # S may have new fields; the old ones say the same


@pytest.mark.slow
def test_an_older_run_is_resumed(old_runs, tmp_path):
    """By the command that it printed itself, from its own checkpoint, with its own rows."""
    run = old_runs / "interrupted"
    words = [word for word in read_json(run / "run.json")["overrides"] if not word.startswith("output_dir=")]
    done = python("train.py", *words, "prompts.untagged_share=0", "model.recipe.untagged_share=0", f"resume={run}", cwd=tmp_path)
    assert done.code == 0, done.stderr
    state = read_json(run / "run.json")
    assert (state["status"], state["step"], state["resumes"][0]["from_step"]) == ("completed", 10, 3)
    assert Settings.load(run).prompts.untagged_share == 0


@pytest.mark.slow
def test_an_older_run_is_reproduced(old_runs, tmp_path):
    done = python("train.py", f"reproduce={old_runs / 'completed'}", "output_dir=again", cwd=tmp_path)
    assert done.code == 0 or "differ" in done.stdout + done.stderr, done.stderr  # other bits, on another processor
    then, now = (read_json(run / "run.json") for run in (old_runs / "completed", tmp_path / "again"))
    assert (now["status"], now["config_hash"]) == ("completed", then["config_hash"])
    asked = [{row["request"] for row in read_json_lines(run / "samples.jsonl")} for run in (old_runs / "completed", tmp_path / "again")]
    assert asked[0] == asked[1] != set()
