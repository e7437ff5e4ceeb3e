"""The frame of every page that we write: one HTML file that requests nothing from the network and follows light and dark.

A Content-Security-Policy forbids every request; all text that comes from a run is escaped where it is put in.

Example: `page("Report", [section("Curves", chart)])`.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from gold_style.measure.verdict import LEARNED, WORSE, percent
from gold_style.show import svg
from gold_style.show.answers import tag_text
from gold_style.show.tables import number
from gold_style.show.words import TEXTS, both, language, word

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
STYLE = svg.STYLE + Path(__file__).with_name("page.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
SECTION = re.compile(r'<section id="([\w-]+)"><h2>(.*?)</h2>')
TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True)
TEMPLATES.globals |= {"both": lambda *texts: Markup(both(*texts)), "word": lambda text: word(text, language())}
TEMPLATES.globals |= {"TEXTS": TEXTS, "WORSE": WORSE, "LEARNED": LEARNED, "percent": percent, "number": number, "tag_text": tag_text}
MACROS = TEMPLATES.get_template("page.jinja").module


def html(macro: str, *values: Any) -> str:
    """What a macro of page.jinja writes; plain text in `values` is escaped."""
    return str(getattr(MACROS, macro)(*values))


def page(title: str, sections: Iterable[str], script: str = "", lang: str = "en") -> str:
    """A whole HTML document. `sections` and `script` are trusted markup; `title` is escaped."""
    return html("page", title, "".join(sections), script, lang, STYLE, POLICY) + "\n"


def contents(sections: Iterable[str]) -> str:
    """The bar at the top: a table of contents, the language, printing; page.js makes the buttons work."""
    return html("contents", SECTION.findall("".join(sections)))


def section(title: str, content: str) -> str:
    """A section with its heading; empty text where there is nothing in it."""
    name = re.sub(r"\W+", "-", title.lower()).strip("-")
    return f'<section id="{name}"><h2>{both(title)}</h2>{content}</section>' if content else ""


def grid(figures: Iterable[svg.Chart | None]) -> str:
    """Figures side by side where there is room; empty text for none."""
    inside = "".join(chart.figure() for chart in figures if chart)
    return f"<div class=grid-2>{inside}</div>" if inside else ""


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{both(title)}</summary>{content}</details>"


def warning(text: str) -> str:
    """A sentence that must be read."""
    return f'<p class="warn">⚠ {both(text)}</p>'
