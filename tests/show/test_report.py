"""report.html: whole, escaped, also of a run that has written little."""

import json

from gold_style.measure.samples import sample_rows
from gold_style.measure.summary import run_summary
from gold_style.runs.files import write_json, write_json_lines
from gold_style.show.report import report_html, write_report
from tests.helpers.pages import Balanced, checked
from tests.helpers.run_files import TOGGLE, answer, answers, write_run


def test_report_is_whole_and_loads_nothing(run):
    html = write_report(run).read_text(encoding="utf-8")
    text = checked(html)
    for words in ("student after", "gap closed", "Curves", "By direction of address", "By era", "Answers side by side", "forgetting"):
        assert words.lower() in text.lower(), words
    assert html.count("<figure>") >= 3 and "default-src 'none'" in html.replace("&#x27;", "'")
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['after']['margin']:.3f}" in text
    assert text.index("Learned: ") < text.index("status: completed") < text.index("student after")


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
