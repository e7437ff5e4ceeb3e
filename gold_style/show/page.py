"""The frame of every page that we write: one HTML file that asks nothing of the network and follows light and dark.

A Content-Security-Policy forbids every request; all text that comes from a run is escaped where it is put in.
Example: `page("Report", [section("Curves", chart)])`.
"""

from collections.abc import Collection, Iterable, Sequence
from html import escape
from pathlib import Path

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def page(title: str, sections: Iterable[str], script: str = "", lang: str = "en") -> str:
    """A whole HTML document. `sections` and `script` are trusted markup; `title` is escaped."""
    code = f"<script>{script}</script>" if script else ""
    return (
        f'<!doctype html>\n<html lang="{escape(lang)}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(sections)}{code}</body></html>\n"
    )


def section(title: str, *content: str) -> str:
    """A section with its heading; empty text where there is nothing in it."""
    inside = "".join(content)
    return f"<section><h2>{escape(title)}</h2>{inside}</section>" if inside else ""


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = (), row_class: Sequence[str] = (), kind: str = ""
) -> str:
    """An HTML table of CSS class `kind`, of trusted cells: columns in `numbers` are aligned right."""

    def cells(element: str, values: Sequence[str]) -> str:
        aligned = (" class=number" if index in numbers else "" for index in range(len(values)))
        return "".join(f"<{element}{extra}>{value}</{element}>" for value, extra in zip(values, aligned, strict=True))

    rows = list(rows)
    classes = row_class or [""] * len(rows)
    opened = [f'<tr class="{name}">' if name else "<tr>" for name in classes]
    body = "".join(f"{start}{cells('td', row)}</tr>" for row, start in zip(rows, opened, strict=True))
    head = f"<thead><tr>{cells('th', headings)}</tr></thead>"
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def number(value: float | None, digits: int = 3) -> str:
    """A share or another number; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def with_interval(value: float | None, interval: Sequence[float] | None, digits: int = 3) -> str:
    """A number with its interval below."""
    below = f"<small>{interval[0]:.{digits}f} to {interval[1]:.{digits}f}</small>" if value is not None and interval else ""
    return number(value, digits) + below


def verdict_badge(verdict: str | None, target: str) -> str:
    """A verdict in its colour; the word itself says it too."""
    kind = "target" if verdict == target else verdict
    return f'<span class="verdict {escape(kind)}">{escape(verdict)}</span>' if verdict else ""


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def warning(text: str) -> str:
    """A sentence that must be read."""
    return f'<p class="warn">⚠ {escape(text)}</p>'
