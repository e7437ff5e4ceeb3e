"""Answers side by side: which are chosen, and that nothing breaks out of them."""

import json

from gold_style.measure.samples import sample_rows
from gold_style.runs.files import read_json_lines
from gold_style.show.answers import answers_markdown
from gold_style.show.summary_table import summary_markdown
from tests.helpers.pages import printed
from tests.helpers.run_files import answer


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
