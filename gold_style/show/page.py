"""The frame of every page that we write: one HTML file that requests nothing from the network and follows light and dark.

A Content-Security-Policy forbids every request; all text that comes from a run is escaped where it is put in.

Example: `page("Report", [section("Curves", chart)])`.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from gold_style.show import svg

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
STYLE = svg.STYLE + Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def page(title: str, sections: Iterable[str], script: str = "", lang: str = "en") -> str:
    """A whole HTML document. `sections` and `script` are trusted markup; `title` is escaped."""
    code = f"<script>{script}</script>" if script else ""
    return (
        f'<!doctype html>\n<html lang="{escape(lang)}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(sections)}{code}</body></html>\n"
    )


def section(title: str, content: str) -> str:
    """A section with its heading; empty text where there is nothing in it."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def grid(figures: Iterable[svg.Chart | None]) -> str:
    """Figures side by side where there is room; empty text for none."""
    inside = "".join(chart.figure() for chart in figures if chart)
    return f"<div class=grid-2>{inside}</div>" if inside else ""


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def warning(text: str) -> str:
    """A sentence that must be read."""
    return f'<p class="warn">⚠ {escape(text)}</p>'
