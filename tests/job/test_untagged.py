"""Requests without a tag and under a misspelt one, in real runs: where their rate is shown, and that they change nothing else."""

import csv
import json

import pytest

from gold_style.comparison.command import main as compare
from gold_style.runs.files import read_json, read_json_lines
from gold_style.show.command import markdown
from gold_style.show.words import both
from tests.helpers.commands import SMALL, python
from tests.helpers.wandb_file import read_wandb_file, wandb_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that asked without a tag and a run that did not, one after the other with one cache."""
    directory = tmp_path_factory.mktemp("untagged")
    shared = (*SMALL, "cache.dir=cache")
    asked = python(
        "train.py", *shared, "tracker=wandb", "evaluation.misspelt=1", "evaluation.sampled=true", "output_dir=runs/asked", cwd=directory
    )
    assert asked.code == 0, asked.stderr[-3000:]
    not_asked = python("train.py", *shared, "evaluation.untagged=false", "evaluation.misspelt=0", "output_dir=runs/not", cwd=directory)
    assert not_asked.code == 0, not_asked.stderr[-3000:]
    return asked, not_asked


def samples(run) -> list[dict]:
    return list(read_json_lines(run / "samples.jsonl"))


def test_every_model_is_asked_without_a_tag(runs):
    rows = samples(runs[0].run)
    assert [(row["id"], row["style"]) for row in rows] == [
        *((0, tag) for tag in ("chosun", "none", None, "chosnu")),
        *((1, tag) for tag in ("chosun", "none", None)),
    ]
    assert all(row[model] is not None for row in rows for model in ("before", "after", "teacher"))
    summary = read_json(runs[0].run / "summary.json")
    for model in ("before", "after", "teacher"):
        hits = [row[f"verdict_{model}"] == "joseon" for row in rows if row["style"] is None]
        assert summary[model]["untagged"] == sum(hits) / len(hits)
        details = summary["details"]["models"][model]
        low, high = details["intervals"]["untagged"]
        assert low <= summary[model]["untagged"] <= high
        assert details["tags"]["misspelt"]["answers"] == 1
    assert {scores["untagged"] for scores in summary["details"]["sampled"].values()} <= {0.0, 0.5, 1.0}


def test_the_rate_is_in_every_place(runs, tmp_path, capsys):
    run, printed = runs[0].run, runs[0].stdout
    assert "untag." in printed and "\n  untagged\n" in printed
    page = (run / "report.html").read_text()
    assert f"<th class=number>{both('untagged')}</th>" in page and "without a tag" in page and "&lt;style:chosnu&gt;" in page
    assert "| untagged | margin |" in (run / "student" / "README.md").read_text()
    live = [row["style/untagged"] for row in read_json_lines(run / "metrics.jsonl") if "style/untagged" in row]
    assert len(live) == 2 and None not in live  # steps 2 and 3
    told = read_wandb_file(wandb_files(run)[0])
    assert told.summary["after"]["untagged"] == read_json(run / "summary.json")["after"]["untagged"]
    assert [row["style/untagged"] for row in told.history if "style/untagged" in row] == live
    table = json.loads(next(run.glob("wandb/**/samples*.table.json")).read_text())
    assert {row[table["columns"].index("tag")] for row in table["data"]} == {"chosun", "none", None}

    board = tmp_path / "board"
    assert compare([str(run.parent), "--output", str(board), "--wandb"]) == 0
    assert " untag " in capsys.readouterr().out
    html = (board / "compare.html").read_text()
    (line,) = [line for line in csv.DictReader((board / "leaderboard.csv").open()) if line["directory"] == str(run)]
    assert float(line["untagged"]) == read_json(run / "summary.json")["after"]["untagged"]
    assert f"{both('untagged')}</th>" in html and "Without a tag (live)" in html and "chosnu" not in html
    table = json.loads(next(board.glob("wandb/**/leaderboard*.table.json")).read_text())
    assert float(line["untagged"]) in [row[table["columns"].index("untagged")] for row in table["data"]]
    table = markdown(run)
    assert "| untagged | margin |" in table and "\n| untagged | " in table
    assert "chosnu" not in table + printed + (run / "student" / "README.md").read_text()


def test_without_the_questions_everything_else_is_the_same(runs):
    """Also what both read from one cache: the answers before training, and the teacher's."""
    asked, plain = (done.run for done in runs)
    assert samples(plain) == [row for row in samples(asked) if row["style"] in ("chosun", "none")]
    assert (asked / "student/model.safetensors").read_bytes() == (plain / "student/model.safetensors").read_bytes()
    for row, other in zip(*(read_json_lines(run / "metrics.jsonl") for run in (asked, plain)), strict=True):
        names = [name for name in row if name.startswith(("train/", "style/")) and name != "style/untagged"]
        assert {name: row[name] for name in names} == {name: other[name] for name in names}
        assert other.get("style/untagged") is None
    summary = read_json(plain / "summary.json")
    for model in ("before", "after", "teacher"):
        assert summary[model]["untagged"] is None and summary["details"]["models"][model]["intervals"]["untagged"] is None
        assert {**read_json(asked / "summary.json")[model], "untagged": None} == summary[model]
    assert " – " in runs[1].stdout and "| – |" in (plain / "student" / "README.md").read_text()


def test_an_evaluation_asks_the_same_way(runs, tmp_path):
    done = python("evaluate.py", f"target={runs[1].run}", "evaluation.misspelt=1", "output_dir=scores", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    assert [(row["id"], row["style"]) for row in samples(done.run)] == [(row["id"], row["style"]) for row in samples(runs[0].run)]
    assert read_json(done.run / "summary.json")["after"]["untagged"] is not None
    assert "chosnu" not in done.stdout and "&lt;style:chosnu&gt;" in (done.run / "report.html").read_text()
