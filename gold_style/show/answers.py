"""Answers to read, side by side with their verdicts: for a terminal and as Markdown; page.jinja has them as HTML.

Example: `console.print(answers_text(read_json_lines(run / "samples.jsonl"), number=3))`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from gold_style.measure.samples import MODELS
from gold_style.show.tables import Column, code, markdown_table, one_line
from gold_style.show.words import word

COLOURS = {"modern": "cyan", "ambiguous": "yellow", "other": "red"}  # the pack's own style: magenta
LONGEST_ANSWER = 240  # characters of an answer shown in a terminal


def tag_text(style: str | None) -> str:
    """A tag as it is written before a request."""
    return "untagged" if style is None else f"<style:{style}>"


def chosen_rows(rows: Sequence[dict[str, Any]], number: int) -> list[list[dict[str, Any]]]:
    """`number` requests to read, each with its rows under every tag: first one of every direction and era."""
    requests: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        requests.setdefault(row["id"], []).append(row)
    kinds: Counter[tuple] = Counter()
    order = []
    for group in requests.values():
        kind = (group[0].get("direction"), group[0].get("era"))
        kinds[kind] += 1
        order.append((kinds[kind], group))
    return [group for _, group in sorted(order, key=lambda entry: entry[0])[:number]]


def answers_text(rows: Sequence[dict[str, Any]], number: int, lang: str = "en") -> Group:
    """Answers to `number` requests under every tag for a terminal: before, after, teacher, each with its verdict."""
    parts: list[Any] = []
    for group in chosen_rows(rows, number):
        parts.append(Text(f"\n{group[0]['request']}", style="bold"))
        for row in group:
            parts.append(Text(f"  {word(tag_text(row['style']), lang)}", style="underline"))
            parts += [Padding(answer_text(row, model, lang), (0, 0, 0, 4)) for model in MODELS if row.get(model) is not None]
    return Group(*parts)


def answer_text(row: dict[str, Any], model: str, lang: str) -> Text:
    """Who gave an answer, its verdict, and the answer, cut to a readable length."""
    verdict, text = row.get(f"verdict_{model}") or "–", " ".join(row[model].split())
    cut = text if len(text) <= LONGEST_ANSWER else text[:LONGEST_ANSWER] + "…"
    return Text.assemble((f"{word(model, lang)} ", "dim"), (f"[{verdict}] ", COLOURS.get(verdict, "magenta")), cut or "(empty)")


def answers_markdown(rows: Sequence[dict[str, Any]], number: int = 2) -> str:
    """Answers to `number` requests: a table per request, a row per tag."""
    parts = []
    for group in chosen_rows(rows, number):
        models = [model for model in MODELS if any(row.get(model) is not None for row in group)]
        columns = [Column("tag", lambda row: tag_text(None) if row["style"] is None else code(tag_text(row["style"])))]
        columns += [Column(model, lambda row, model=model: row.get(model) or None) for model in models]
        parts.append(f"**{one_line(group[0]['request'])}**\n\n{markdown_table(columns, group)}")
    return "\n".join(parts)


def failed(row: dict[str, Any], toggle: dict[str, Any]) -> bool:
    """Whether the trained student's answer is broken, not in its tag's style, or in the style of interest without having been asked."""
    wanted = (toggle.get("verdicts") or {toggle["first"]: toggle["target"]}).get(row["style"])
    verdict = row.get("verdict_after")
    return bool(row.get("degenerate_after")) or verdict is not None and (verdict != wanted if wanted else verdict == toggle["target"])
