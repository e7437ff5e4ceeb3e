"""Runs read from their files, whole or torn."""

import json
from pathlib import Path

import yaml

from gold_style.comparison.leaderboard import leaderboard
from gold_style.comparison.leaderboard_table import leaderboard_csv
from gold_style.comparison.page import compare_html
from gold_style.comparison.records import AS_BEFORE, RunRecord, flattened, read_run, read_runs, read_settings
from gold_style.measure.samples import sample_rows
from gold_style.runs.files import write_json, write_json_lines
from tests.helpers.pages import checked
from tests.helpers.run_files import answer, write_run


def test_tokens_until_a_margin_was_reached(sweep):
    run = read_runs([sweep])[1]
    goal = 0.5 * run.teacher_margin
    rows = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    first = next(row for row in rows if row.get("style/margin", 0) >= goal)
    assert run.tokens_to(goal) == first["perf/tokens"] < run.numbers["tokens"] == rows[-1]["perf/tokens"]
    assert run.tokens_to(2.0) is None


def test_tokens_may_be_in_another_row_than_the_margin():
    rows = [{"step": 1, "perf/tokens": 100}, {"step": 1, "style/margin": 0.95}, {"step": 2, "perf/tokens": 200}]
    assert RunRecord(Path("/r"), "completed", None, {}, {}, {}, rows).tokens_to(0.9) == 100


def test_hits_are_read_past_any_text(tmp_path):
    text = 'x", "verdict_after": "modern", "request": "y" \\" \\\\ \u2028 \n {"style": "none"}'
    run = read_run(write_run(tmp_path / "0", requests=2))
    made = [answer(0, "chosun", "joseon", text=text, request=text), answer(0, "none", "ambiguous", text=text, request=text)]
    made += [answer(1, None, "modern", text=text), answer(2, "none", "modern")]
    write_json_lines(run.directory / "samples.jsonl", sample_rows({"after": made}))
    assert run.hits == {text: (True, None), made[3].request: (None, False)}
    (run.directory / "samples.jsonl").write_text("no JSON\n")
    assert read_run(run.directory).hits == {}


def test_settings_are_read_from_any_yaml(tmp_path):
    value = {
        "seed": 1,
        "loss": {"beta": 0.3, "tags": ["가", "나"], "empty": {}},
        "note": "둘째\n줄: 하나\n\n끝",
        "none": None,
        "styles": {"rule": "길고 긴 글. " * 30, "quote": "a: 'b' \"c\" # d"},
    }
    path = tmp_path / "config.yaml"
    for text in (
        yaml.safe_dump(value, allow_unicode=True),
        "# a comment\n" + yaml.safe_dump(value, allow_unicode=True, sort_keys=False),
        json.dumps(value),
        "---\n" + yaml.safe_dump(value),
        "base: &base {beta: 0.3}\nloss: *base\n",
    ):
        path.write_text(text, encoding="utf-8")
        assert read_settings(path, print) == {**AS_BEFORE, **flattened(yaml.safe_load(text))}
    heard = []
    path.write_text("a: [1\n")
    assert read_settings(path, heard.append) == {} and "config.yaml" in heard[0]
    assert read_settings(tmp_path / "nothing.yaml", heard.append) == {}


def test_half_written_runs_are_no_obstacle(tmp_path):
    write_run(tmp_path / "0")
    torn = write_run(tmp_path / "1", status="running")
    (torn / "metrics.jsonl").write_text('{"step": 1, "train/loss": 2.0}\n{"step": 2, "tra')
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "run.json").write_text("{")
    write_json(write_run(tmp_path / "3") / "run.json", {"status": "completed", "target": "x"})  # evaluate.py's
    board = leaderboard(read_runs([tmp_path, tmp_path / "0"]))
    assert sorted((run.directory.name, run.status) for run in board.runs) == [("0", "completed"), ("1", "interrupted"), ("2", "unreadable")]
    assert read_run(torn).numbers["steps"] == 1
    checked(compare_html(board))


def test_history_of_a_run_is_reported(tmp_path):
    write_run(tmp_path / "0", config={"loss": {"beta": 0.1}})
    run = write_run(tmp_path / "1", config={"loss": {"beta": 0.2}})
    state = json.loads((run / "run.json").read_text())
    again = {"from_step": 20, "status": "interrupted", "reason": "killed by SIGKILL"}
    write_json(run / "run.json", state | {"resumes": [again]})
    write_run(tmp_path / ".failed" / "1.1", status="failed", reason="NonFinite: loss")
    board = leaderboard(read_runs([tmp_path]))
    assert len(board.runs) == 2 and [run.directory.name for run in board.mended] == ["1"]
    expected = ["failed and run again: NonFinite: loss", "interrupted, resumed from step 20: killed by SIGKILL"]
    assert board.mended[0].history == expected
    assert "; ".join(expected) in leaderboard_csv(board) and expected[0] in checked(compare_html(board))
