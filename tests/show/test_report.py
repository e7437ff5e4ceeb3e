"""Terminal table, sample answers, report.html: what they say, how wide they are, that nothing breaks out of them."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from gold_style.measure.answers import OTHER
from gold_style.measure.samples import sample_rows
from gold_style.measure.summary import run_summary
from gold_style.runs.files import read_json_lines, write_json, write_json_lines
from gold_style.runs.terminal import exit_code
from gold_style.show.answers import answers_markdown
from gold_style.show.command import main
from gold_style.show.page import STYLE
from gold_style.show.report import report_html, write_report
from gold_style.show.summary_table import print_summary, summary_markdown
from gold_style.show.svg import Curve, line_chart, ticks
from tests.helpers.run_files import TOGGLE, answer, answers, write_run

VOID = {"meta", "link", "br", "input", "hr", "img"}


class Balanced(HTMLParser):
    """Collects mistakes: elements that are not closed in order, attributes or elements that load something."""

    def __init__(self):
        super().__init__()
        self.open, self.mistakes, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "action") and not (value or "").startswith(("data:", "#")):
                self.mistakes.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.mistakes.append(f"{tag} {name}")

    def handle_startendtag(self, tag, attributes):
        pass  # SVG shapes

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        self.text.append(data)


def checked(html: str) -> str:
    """The text of a page, once it is well formed and loads nothing."""
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert not parser.mistakes and not parser.open
    assert not re.search(r"url\(|@import|https?://", html)
    return " ".join(" ".join(parser.text).split())


def printed(summary, rows=(), width=80) -> str:
    console = Console(width=width, record=True, force_terminal=False, file=io.StringIO())
    print_summary(summary, rows, console)
    return console.export_text()


@pytest.fixture
def run(tmp_path) -> Path:
    return write_run(tmp_path / "run", requests=32)


def test_table_fits_eighty_columns_and_says_the_numbers(run):
    summary, rows = json.loads((run / "summary.json").read_text()), list(read_json_lines(run / "samples.jsonl"))
    text = printed(summary, rows)
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    after = next(line for line in text.splitlines() if line.startswith("student after"))
    assert f"{summary['after']['chosun_rate']:.2f}" in after and f"{summary['after']['margin']:.2f}" in after
    assert f"gap closed: {summary['gap_closed']:.0%}" in text and "학생" in text and "only 32 requests" in text
    assert rows[0]["request"] in text and "[joseon]" in text and "<style:none>" in text


def test_table_of_nulls_and_of_nothing():
    ambiguous = [answer(n, tag, "ambiguous") for n in range(4) for tag in ("chosun", "none")]
    summary = run_summary({"after": ambiguous}, TOGGLE, steps=1, train_seconds=1, status="completed")
    text = " ".join(printed(summary).split())
    assert "student after" in text and "–" in text and "gap closed" not in text and "no headline" in text
    assert "Nothing was scored" in printed(run_summary({}, TOGGLE, steps=1, train_seconds=1, status="completed"))


def test_answers_cannot_style_the_terminal(run):
    rows = sample_rows({"before": None, "after": [answer(0, "chosun", "joseon", text="[red]붉은[/red] 글")], "teacher": None})
    assert "[red]붉은[/red] 글" in printed(json.loads((run / "summary.json").read_text()), rows)


def test_samples_to_read_show_every_direction_first(run):
    shown = answers_markdown(list(read_json_lines(run / "samples.jsonl")), number=3)
    assert [f"나비{n} " in shown for n in range(4)] == [True, True, True, False]


def test_markdown_is_a_table_that_answers_cannot_break(run):
    lines = summary_markdown(json.loads((run / "summary.json").read_text())).splitlines()
    assert len({line.count("|") for line in lines[:5]}) == 1 and lines[3].startswith("| student after |")
    rows = sample_rows({"after": [answer(0, "chosun", "joseon", text="가 | 나\n다 <b>")], "before": None, "teacher": None})
    assert "| 가 \\| 나 다 &lt;b> |" in answers_markdown(rows)


def test_report_is_whole_and_loads_nothing(run):
    html = write_report(run).read_text(encoding="utf-8")
    text = checked(html)
    for words in ("student after", "gap closed", "Curves", "By direction of address", "By era", "Answers side by side", "forgetting"):
        assert words.lower() in text.lower(), words
    assert html.count("<figure>") >= 3 and "default-src 'none'" in html.replace("&#x27;", "'")
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['after']['margin']:.3f}" in text


def test_report_escapes_everything_written_by_others(tmp_path):
    evil = '</script><script>alert(1)</script><img src="http://example.com/x" onerror="alert(2)">'
    run = write_run(tmp_path / "run", config={"note": evil}, requests=2, device=evil, command=evil, reason=evil)
    made = [answer(0, "chosun", "joseon", text=evil, request=evil, topic=evil), answer(0, evil, evil, level=evil, text=evil)]
    samples = {"after": made + [answer(0, "none", "modern")]}
    write_json_lines(run / "samples.jsonl", sample_rows(samples))
    summary = run_summary(samples, TOGGLE, steps=1, train_seconds=1, status="completed", bootstrap_samples=50)
    write_json(run / "summary.json", summary)
    parser = Balanced()
    parser.feed(report_html(run))
    assert not parser.mistakes and not parser.open and "alert(1)" in " ".join(parser.text)


def test_report_of_a_run_that_has_written_little(tmp_path):
    directory = write_run(tmp_path / "failed", status="failed", reason="NonFinite: loss is nan at step 7")
    assert "NonFinite: loss is nan at step 7" in checked(report_html(directory))
    (directory / "metrics.jsonl").unlink()
    (directory / "config.yaml").unlink()
    assert "Nothing was scored" in checked(report_html(directory))


def test_report_with_null_entries(tmp_path):
    run = write_run(tmp_path / "run", requests=4)
    summary = run_summary({"after": answers(0.5, 0.5, 4)}, TOGGLE, steps=1, train_seconds=1, status="completed")
    write_json(run / "summary.json", summary)
    write_json_lines(run / "samples.jsonl", sample_rows({"after": answers(0.5, 0.5, 4)}))
    write_json_lines(run / "metrics.jsonl", [{"step": 1, "style/margin": None, "train/loss": None}, {"step": 2}])
    checked(report_html(run))
    contract = {key: summary[key] for key in ("before", "after", "teacher", "gap_closed", "steps", "train_seconds", "status")}
    write_json(run / "summary.json", contract)  # no details: only what every summary must have
    assert "student after" in checked(report_html(run))


def test_command_draws_reports_again(run, tmp_path, capsys):
    assert main([str(run)]) == 0 and (run / "report.html").is_file()
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert main([str(tmp_path)]) == 2 and "no run directory" in capsys.readouterr().err


def test_command_prints_markdown_and_writes_nothing(run, tmp_path, capsys):
    before = sorted(run.iterdir())
    assert main(["--markdown", str(run)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("| ") and "student after" in text and "| tag | " in text
    assert sorted(run.iterdir()) == before
    (tmp_path / "run.json").write_text("{}")
    assert main(["--markdown", str(tmp_path)]) == 0
    assert "no summary.json" in capsys.readouterr().out


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(3, 117, about=7) == pytest.approx([20, 40, 60, 80, 100])
    assert ticks(2, 2) == [2]


def test_curves_have_gaps_where_nothing_was_measured():
    chart = line_chart([Curve("a", [0, 1, 2, 3, 4], [1.0, 2.0, None, 3.0, 4.0])], title="t", y_label="y")
    assert chart.inside.count('class="line"') == 2
    assert line_chart([Curve("a", [0], [None])], title="t", y_label="y") is None
    assert "<circle" in line_chart([Curve("a", [5], [float("inf")]), Curve("b", [5], [1.0])], title="t", y_label="y").inside


def test_reserved_verdicts_have_colours_of_their_own():
    assert f".verdict.{OTHER}" in STYLE and ".verdict.ambiguous" in STYLE and "prefers-color-scheme: dark" in STYLE


def test_a_summary_that_cannot_be_read_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "summary.json").write_bytes(b"\xff\xfe")
    assert exit_code(lambda: main(["--markdown", str(tmp_path)])) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'summary.json'}: not a JSON object\n"
    (tmp_path / "summary.json").unlink()
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{bad\n')
    assert exit_code(lambda: main([str(tmp_path)])) == 2
    assert f"{tmp_path / 'metrics.jsonl'}:2:" in capsys.readouterr().err
