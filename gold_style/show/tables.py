"""A table described once, by its columns, and drawn as HTML, as Markdown or for a terminal.

Example:

    columns = [Column("tag", lambda row: code(row["tag"])), Column("margin", lambda row: share(row["margin"]), right=True)]
    html_table(columns, rows)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from gold_style.show.words import both, word

WIDEST_TEXT = 18  # columns of a terminal that a text may fill before it is folded


class Cell(NamedTuple):
    """A cell as each kind of table shows it."""

    text: str | Text  # in a terminal
    html: str
    markdown: str


@dataclass(frozen=True)
class Column:
    """What a column shows of a row: text, a number, None (a dash), or a Cell."""

    heading: str | None  # in English; in HTML and Markdown, code in backticks; None: only in a terminal
    cell: Callable[[Any], Any]
    brief: str | None = None  # heading in a terminal; None: not there
    right: bool = False  # aligned


def cell_of(value: Any) -> Cell:
    """The cell of any value; its text is escaped."""
    if isinstance(value, Cell):
        return value
    text = "–" if value is None else value if isinstance(value, Text) else str(value)
    return Cell(text, escape(str(text)), one_line(str(text)))


def share(value: float | None, interval: Sequence[float] | None = None, digits: int = 3) -> Cell:
    """A share or another number with two digits, in HTML with `digits`; the interval is left out in a terminal."""
    limits = interval if value is not None else None
    small = f"<small>{limits[0]:.{digits}f} to {limits[1]:.{digits}f}</small>" if limits else ""
    return Cell(number(value), number(value, digits) + small, f"{number(value)} {interval_text(limits)}".rstrip())


def amount(value: float | None, note: str = "") -> Cell:
    """Tokens or seconds in few characters; HTML sorts by the exact value. `note` is small print."""
    text, exact = ("–", "") if value is None else (short(round(value), 3), value)
    small = f"<small>{escape(note)}</small>" if note else ""
    return Cell(text, f'<span data-value="{exact}">{text}</span>{small}', f"{text} ({note})" if note else text)


def code(text: str) -> Cell:
    """Text to be copied."""
    return Cell(text, f"<code>{escape(text)}</code>", "`{}`".format(text.replace("|", "\\|")))


def number(value: float | None, digits: int = 2) -> str:
    """A number with `digits` digits after the point; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval in brackets; empty for None."""
    return "" if interval is None else f"[{interval[0]:.2f}, {interval[1]:.2f}]"


def short(value: float, digits: int = 4) -> str:
    """A number in few characters: 0.25, 1200, 3.5M; `digits` significant ones where it is shortened."""
    for size, unit, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= size:
            return f"{value / unit:.{digits}g}{suffix}"
    return f"{value:.4g}"


def one_line(text: str) -> str:
    """Text on one line, without a character that Markdown tables or HTML take for their own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def html_table(columns: Sequence[Column], rows: Sequence, kind: str = "", best: Callable[[Any], bool] | None = None) -> str:
    """A table of CSS class `kind` with the `best` rows in bold; empty text without rows."""
    if not rows:
        return ""
    shown = [column for column in columns if column.heading is not None]
    aligned = [" class=number" if column.right else "" for column in shown]
    head = "".join(f"<th{extra}>{both(column.heading.replace('`', ''))}</th>" for column, extra in zip(shown, aligned, strict=True))
    body = ""
    for row in rows:
        cells = "".join(f"<td{extra}>{cell_of(column.cell(row)).html}</td>" for column, extra in zip(shown, aligned, strict=True))
        body += f"<tr{' class=best' if best and best(row) else ''}>{cells}</tr>"
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def markdown_table(columns: Sequence[Column], rows: Sequence, lang: str = "en") -> str:
    """A Markdown table with its intervals and notes, its headings in `lang`."""
    shown = [column for column in columns if column.heading is not None]
    lines = [[word(column.heading, lang) for column in shown], *([cell_of(column.cell(row)).markdown for column in shown] for row in rows)]
    lines = ["| " + " | ".join(line) + " |\n" for line in lines]
    lines.insert(1, "".join("|---:" if column.right else "|---" for column in shown) + "|\n")
    return "".join(lines)


def terminal_table(columns: Sequence[Column], rows: Sequence, best: Callable[[Any], bool] | None = None, lang: str = "en") -> Table:
    """A table of the columns that have a brief heading, with the `best` rows in bold."""
    shown = [column for column in columns if column.brief is not None]
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for column in shown:
        if column.right:
            table.add_column(word(column.brief, lang), justify="right", no_wrap=True)
        else:
            table.add_column(word(column.brief, lang), overflow="fold", min_width=min(len(column.brief), 8), max_width=WIDEST_TEXT)
    for row in rows:
        texts = [cell_of(column.cell(row)).text for column in shown]
        table.add_row(*(Text(text) if isinstance(text, str) else text for text in texts), style="bold" if best and best(row) else "")
    return table
