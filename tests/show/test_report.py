"""report.html: whole, escaped, also of a run that has written little."""

import json
import re

import pytest

from gold_style.measure.samples import sample_rows
from gold_style.measure.summary import run_summary
from gold_style.runs.files import read_json_lines, write_json, write_json_lines
from gold_style.show.curves import metric_charts, smooth
from gold_style.show.report import report_html, write_report
from gold_style.show.summary_table import toggle_of
from tests.helpers.pages import Balanced, checked
from tests.helpers.run_files import READING, TOGGLE, answer, answers, write_run


def test_report_is_whole_and_loads_nothing(run):
    html = write_report(run).read_text(encoding="utf-8")
    text = checked(html)
    for words in ("student after", "gap closed", "Curves", "By direction of address", "By era", "Answers side by side", "forgetting"):
        assert words.lower() in text.lower(), words
    assert html.count("<figure>") >= 3 and "default-src 'none'" in html.replace("&#x27;", "'")
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['after']['margin']:.3f}" in text
    assert text.index("Learned: ") < text.index("status: completed") < text.index("student after")


def test_the_first_screen_concludes_before_anything_else(run):
    (run / "config.yaml").write_text("model: {name: tiny}\nstyles: {name: joseon}\nloss: {kind: jsd, beta: 0.3}\n", encoding="utf-8")
    html, summary = report_html(run), json.loads((run / "summary.json").read_text())
    text, after = checked(html), summary["after"]
    assert "<h1>tiny · joseon · jsd, beta 0.3</h1>" in html
    order = [
        "tiny · joseon · jsd",
        "Learned: ",
        "of the teacher's margin",
        "Leaks under the neutral tag <style:none>",
        "A typical request, before",
    ]
    order += ["Curves", "Answers side by side", "All numbers", "How it was made", "2026-11-22T10:00:00"]
    text = text.split("Print")[1]  # after the table of contents
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    low, high = summary["details"]["models"]["after"]["intervals"]["margin"]
    assert f"{after['margin']:.2f} interval {low:.2f} to {high:.2f}" in text and f"teacher: {summary['teacher']['margin']:.2f}" in text
    assert html.count("<h1>") == 1 and "배웠음: " in text and "곡선" in text


def test_a_margin_that_nobody_knows_is_a_dash(run):
    summary = json.loads((run / "summary.json").read_text())
    summary["after"] |= {"margin": None, "leakage": None}  # where too many answers are ambiguous
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert report_html(run).count('<p class="large">–</p>') >= 2


def test_failures_come_first_and_can_be_filtered(tmp_path):
    html = report_html(write_run(tmp_path / "run", requests=32, after=(0.8, 0.1)))
    samples = html.split('<div class="sample">')[1:]
    marked = [" data-failed>" in sample for sample in samples]
    assert any(marked) and marked == sorted(marked, reverse=True)
    assert html.count('<div data-tag="&lt;style:none&gt;"') == 32 and "<option>&lt;style:none&gt;</option>" in html


def test_the_page_shows_where_the_teacher_disagreed_and_links_the_files(run):
    assert "Where the teacher disagreed" not in report_html(run) and 'href="readings.jsonl"' not in report_html(run)  # an older run
    write_json_lines(run / "readings.jsonl", [READING])
    html = report_html(run)
    text = checked(html)
    assert "소. → 사옵니다. 9.00 nats · 밝 → 높 1.50 nats" in text and READING["teacher_reads"] in text
    assert [float(share) for share in re.findall(r"--nats: ([\d.]+)%", html)] == [0, 50, 100]
    for name in ("config.yaml", "summary.json", "metrics.jsonl", "samples.jsonl", "readings.jsonl"):
        assert f'<a href="{name}">{name}</a>' in html


def test_curves_start_at_step_0_and_show_the_teachers_margin(run):
    summary = json.loads((run / "summary.json").read_text())
    style, loss, *_ = metric_charts(list(read_json_lines(run / "metrics.jsonl")), summary, toggle_of(summary))
    assert dict(style.legend)["teacher's margin"] == "var(--goal)" and dict(style.legend)["margin"] == "var(--margin)"
    assert [name for name, _ in loss.legend] == ["loss", "each step"]
    assert ">0</tspan>" in style.inside or ">0<" in style.inside  # the first tick of its steps
    assert smooth([1.0] * 40 + [41.0]) == [1.0] * 38 + [pytest.approx(1 + 40 / size) for size in (5, 4, 3)]
    assert smooth([1.0, None, 3.0]) == [1.0, None, 3.0]


def test_report_escapes_everything_written_by_others(tmp_path):
    evil = '</script><script>alert(1)</script><img src="http://example.com/x" onerror="alert(2)">'
    run = write_run(tmp_path / "run", config={"note": evil}, requests=2, device=evil, command=evil, reason=evil)
    made = [answer(0, "chosun", "joseon", text=evil, request=evil, topic=evil), answer(0, evil, evil, level=evil, text=evil)]
    samples = {"after": made + [answer(0, "none", "modern")]}
    write_json_lines(run / "samples.jsonl", sample_rows(samples))
    reading = {name: evil for name in ("style", "request", "student_reads", "teacher_reads")}
    write_json_lines(run / "readings.jsonl", [reading | {"tokens": [[evil, 2.0, evil]]}])
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
    assert "Nothing was scored" in checked(report_html(directory)) and "Cannot be told" not in checked(report_html(directory))
    killed = write_run(tmp_path / "killed", status="running")
    assert "status: interrupted" in checked(report_html(killed))


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
