"""However a run ends, its files say how: real processes, signals, and directories where a file should be."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.helpers.commands import SMALL, Done, finish, python, start

pytestmark = pytest.mark.slow

TINY = (*SMALL, "evaluation.bootstrap_samples=10", "train.save_steps=1")


def status(run: Path) -> tuple[str, str]:
    """The status that run.json says, and the one that report.html says."""
    (said,) = re.findall(r"status: (\w+)", (run / "report.html").read_text(encoding="utf-8"))
    return json.loads((run / "run.json").read_text())["status"], said


def run_into(tmp_path: Path, blocked: str) -> Done:
    """A run that finds a directory where it wants to write `blocked`."""
    process = start("train.py", *TINY, "output_dir=run", cwd=tmp_path)
    while not (tmp_path / "run" / "metrics.jsonl").is_file():
        assert process.poll() is None
        time.sleep(0.02)
    (tmp_path / "run" / blocked).mkdir(parents=True)
    return finish(process)


@pytest.mark.parametrize("blocked", ["report.html", "summary.json", "samples.jsonl", "student/README.md"])
def test_a_last_file_that_cannot_be_written_leaves_none_that_says_completed(tmp_path, blocked):
    done, run = run_into(tmp_path, blocked), tmp_path / "run"
    assert done.code == 1 and done.run == run and "directory" in done.stderr
    (run / blocked).rmdir()
    assert json.loads((run / "run.json").read_text())["status"] == "failed" and not (run / "summary.json").exists()
    assert not [path for path in run.glob("*.*") if path.is_file() and "completed" in path.read_text(errors="replace")]
    if blocked == "report.html":  # the last file of all
        resumed = python("train.py", *TINY, f"resume={run}", cwd=tmp_path)
        assert resumed.code == 0 and status(run) == ("completed", "completed"), resumed.stderr[-3000:]
        assert json.loads((run / "summary.json").read_text())["status"] == "completed"


def test_an_interrupted_run_says_so_in_its_report(tmp_path):
    process = start("train.py", *TINY, "output_dir=run", cwd=tmp_path)
    while not (tmp_path / "run" / "checkpoints" / "checkpoint-1").is_dir():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert finish(process).code == 143 and status(tmp_path / "run") == ("interrupted", "interrupted")
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_scored_model_leaves_a_finished_report(tmp_path):
    done = python("evaluate.py", "target=gold_style/pairs/tiny/student", "prompts.eval_samples=2", "output_dir=scored", cwd=tmp_path)
    assert done.code == 0 and status(done.run) == ("completed", "completed"), done.stderr[-3000:]
    assert "Cannot be told: " in done.stdout  # a bare model, without a teacher


def test_a_repetition_with_other_bits_names_the_cause_and_fails(tmp_path):
    first = python("train.py", *TINY, "output_dir=first", cwd=tmp_path)
    assert first.code == 0, first.stderr[-3000:]
    state = json.loads((first.run / "run.json").read_text())
    metrics = first.run / "metrics.jsonl"
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    rows[0]["train/loss"] += 1e-12
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changed = {"packages": state["packages"] | {"trl": "0.1"}, "device": "another, 64 threads"}
    (first.run / "run.json").write_text(json.dumps(state | changed))
    again = python("train.py", f"reproduce={first.run}", "output_dir=again", cwd=tmp_path)
    assert again.code == 1 and again.run == tmp_path / "again" and "Traceback" not in again.stderr
    said = again.stderr.partition(f"not the same bits as {first.run}: train/loss at step 1 was ")[2]
    assert "trl: 0.1 then, " in said and "device: another, 64 threads then, " in said
    assert status(again.run) == ("completed", "completed")
    assert json.loads((again.run / "run.json").read_text())["repeated"] is False
