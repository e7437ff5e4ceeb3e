"""One description of a table, drawn in three ways."""

import io

import pytest
from rich.console import Console

from gold_style.show.tables import Column, amount, code, html_table, markdown_table, share, short, terminal_table

COLUMNS = [
    Column("who | `x`", lambda row: row["who"], "who"),
    Column("margin", lambda row: share(row["margin"], (0.9, 1.0)), "margin", right=True),
    Column("tokens", lambda row: amount(row["tokens"], "1 of 2"), right=True),
    Column("command", lambda row: code(row["who"])),
    Column(None, lambda row: "only here", "seen"),
]
ROWS = [{"who": "<b>|[red]", "margin": 0.98765, "tokens": 12345}, {"who": None, "margin": None, "tokens": None}]


def test_html_escapes_text_and_keeps_the_exact_value():
    html = html_table(COLUMNS, ROWS[:1], best=lambda row: True)
    assert "<td>&lt;b&gt;|[red]</td><td class=number>0.988<small>0.900 to 1.000</small></td>" in html
    assert '<td class=number><span data-value="12345">12.3k</span><small>1 of 2</small></td>' in html
    assert "<code>&lt;b&gt;|[red]</code>" in html and "<tr class=best>" in html and "<th>who | x</th>" in html and "only here" not in html
    assert html_table(COLUMNS, []) == ""


def test_markdown_has_intervals_and_notes():
    lines = markdown_table(COLUMNS[1:], ROWS[:1]).splitlines()
    assert lines == ["| margin | tokens | command |", "|---:|---:|---|", "| 0.99 [0.90, 1.00] | 12.3k (1 of 2) | `<b>\\|[red]` |"]
    assert "| &lt;b>\\|[red] |" in markdown_table(COLUMNS[:1], ROWS)


def test_terminal_shows_brief_columns_and_no_markup():
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_table(COLUMNS, ROWS))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines == [["who", "margin", "seen"], ["<b>|[red]", "0.99", "only", "here"], ["–", "–", "only", "here"]]


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (1200, "1200"), (9999, "9999"), (12345, "12.35k"), (3.5e6, "3.5M"), (-2e9, "-2G")]
)
def test_numbers_are_short(value, text):
    assert short(value) == text
