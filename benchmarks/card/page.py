"""Lines of sections.jsonl -> the marked block of docs/gpu.md, and the committed copy of the figures."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from card.case import ROOT
from gold_style.runs.files import write_text
from gold_style.show.tables import Column, markdown_table

MARKERS = re.compile(r"(<!-- gpu -->\n).*?(<!-- /gpu -->)", re.DOTALL)
PAGE = ROOT / "docs" / "gpu.md"
LEFT_OUT = ("steps", "of")  # columns that the page does without


def write_page(directory: Path, page: Path = PAGE, results: Path = ROOT / "benchmarks" / "results") -> int:
    """Exit code: 1 where there are no figures of a card."""
    lines = latest([json.loads(line) for line in (directory / "sections.jsonl").read_text().splitlines()])
    card = card_of(lines)
    if card == "cpu":
        print(f"{directory} is a rehearsal on the CPU: the page takes figures of a card", file=sys.stderr)
        return 1
    copy = results / f"gpu_{re.sub(r'[^A-Za-z0-9]+', '_', card)}.jsonl"
    write_text(copy, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    text = page.read_text(encoding="utf-8")
    write_text(page, MARKERS.sub(lambda found: f"{found[1]}{block(lines)}\n{found[2]}", text))
    print(f"{copy}\n{page}")
    return 0


def latest(lines: Sequence[dict]) -> list[dict]:
    """The last line of each section, in order: single sections may have been run again."""
    return [line for _, line in sorted({line["section"]: line for line in lines}.items())]


def card_of(lines: Sequence[dict]) -> str:
    """Raises ValueError where section 0, which names it, is missing."""
    for line in lines:
        if "card" in line["facts"]:
            return line["facts"]["card"]
    raise ValueError("section 0 is missing: it names the card (run it with --only 0 into the same folder)")


def block(lines: Sequence[dict]) -> str:
    """Markdown of all sections; every table names the card."""
    card, parts = card_of(lines), []
    for line in lines:
        parts.append(f"### {line['section']}. {line['title']} ({card})\n")
        ended = "" if line["status"] == "ok" else f"**{line['status']}**. "
        facts = "; ".join(f"{_words(name)} {_shown(value)}" for name, value in line["facts"].items())
        parts.append(f"{ended}{facts}{'; ' if facts else ''}{line['seconds']:.0f} s.\n")
        for name, rows in line["tables"].items():
            parts.append(f"{_words(name)}:\n\n{table(rows)}")
        for error in line["errors"]:
            last = (error["said"].strip().splitlines() or [""])[-1]
            parts.append(f"- part {error['part']}: {error['status']} after {error['seconds']} s: `{last[:200]}`\n")
    return "\n".join(parts)


def table(rows: Sequence[dict]) -> str:
    """All keys of the rows as columns, in the order in which they appear."""
    keys = dict.fromkeys(key for row in rows for key in row if key not in LEFT_OUT)
    columns = []
    for key in keys:
        values = [row[key] for row in rows if row.get(key) is not None]
        is_numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        columns.append(Column(_words(key), lambda row, key=key: _shown(row.get(key)), right=is_numeric))
    return markdown_table(columns, rows)


def _words(name: str) -> str:
    return name.removeprefix("train/").replace("_", " ")


def _shown(value) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return value if value is None else str(value)
