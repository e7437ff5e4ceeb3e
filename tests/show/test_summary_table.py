"""The table of a run in a terminal and in Markdown: what it says, how wide it is."""

import json
import re

from rich.cells import cell_len

from gold_style.measure.summary import run_summary
from gold_style.runs.files import read_json_lines
from gold_style.show.summary_table import summary_markdown
from tests.helpers.pages import printed
from tests.helpers.run_files import TOGGLE, answer


def test_table_fits_eighty_columns_and_says_the_numbers(run):
    summary, rows = json.loads((run / "summary.json").read_text()), list(read_json_lines(run / "samples.jsonl"))
    text = printed(summary, rows)
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    after = next(line for line in text.splitlines() if line.startswith("student after"))
    assert f"{summary['after']['chosun_rate']:.2f}" in after and f"{summary['after']['margin']:.2f}" in after
    assert f"gap closed: {summary['gap_closed']:.0%}" in text and "only 32 requests" in text
    assert rows[0]["request"] in text and "[joseon]" in text and "<style:none>" in text


def test_table_of_nulls_and_of_nothing():
    ambiguous = [answer(n, tag, "ambiguous") for n in range(4) for tag in ("chosun", "none")]
    summary = run_summary({"after": ambiguous}, TOGGLE, steps=1, train_seconds=1, status="completed")
    text = " ".join(printed(summary).split())
    assert "student after" in text and "–" in text and "gap closed" not in text and "no headline" in text
    assert "Nothing was scored" in printed(run_summary({}, TOGGLE, steps=1, train_seconds=1, status="completed"))


def test_the_verdict_comes_before_the_table(run):
    summary = json.loads((run / "summary.json").read_text())
    assert printed(summary).startswith("Learned: ")  # a summary that was written without a verdict
    summary["details"]["verdict"] = {"code": "partly", "sentence": "Partly learned: 80 % of it"}
    assert printed(summary).startswith("Partly learned: 80 % of it")
    assert "|\n\n**Partly learned: 80 % of it**\n\ngap closed: " in summary_markdown(summary)


def test_the_table_is_in_one_language_at_a_time(run, monkeypatch):
    summary = json.loads((run / "summary.json").read_text())
    assert not re.search("[가-힣]", printed(summary))
    monkeypatch.setenv("GOLD_STYLE_LANG", "ko")
    text = printed(summary)
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    known = {"joseon", "style", "chosun", "none", "chrF", "report", "html"}  # names of things; the rest is Korean
    assert set(re.findall("[A-Za-z]+", text)) <= known, text
    assert "배웠음: 차이는 교사의" in text and "학습 후 학생" in text and "태그마다 요청이 32개뿐" in text
    monkeypatch.setenv("GOLD_STYLE_LANG", "de")
    assert "student after" in printed(summary)
