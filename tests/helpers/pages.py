"""What is drawn, as text: a terminal's, and a page's once it is well formed and loads nothing."""

import io
import re
from html.parser import HTMLParser

from rich.console import Console

from gold_style.show.summary_table import print_summary

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
            is_link = tag == "a" and not re.match(r"[\w+.-]*:|//", value or "")  # to a file beside the page, followed by a click only
            if name in ("src", "href", "action") and not (is_link or (value or "").startswith(("data:", "#"))):
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
