"""Answers to read, side by side with their verdicts: for a terminal, as Markdown and as HTML.

Example: `console.print(answers_text(read_json_lines(run / "samples.jsonl"), number=3))`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from gold_style.measure.samples import MODELS
from gold_style.show.tables import Column, code, markdown_table, one_line

COLOURS = {"modern": "cyan", "ambiguous": "yellow", "other": "red"}  # the pack's own style: magenta
LONGEST_ANSWER = 240  # characters of an answer shown in a terminal
Answer = tuple[str, dict[str, Any], str]  # who answers, a row of samples.jsonl, and which of its MODELS that is


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


def answers_text(rows: Sequence[dict[str, Any]], number: int) -> Group:
    """Answers to `number` requests under every tag for a terminal: before, after, teacher, each with its verdict."""
    parts: list[Any] = []
    for group in chosen_rows(rows, number):
        parts.append(Text(f"\n{group[0]['request']}", style="bold"))
        for row in group:
            parts.append(Text(f"  {tag_text(row['style'])}", style="underline"))
            parts += [Padding(answer_text(row, model), (0, 0, 0, 4)) for model in MODELS if row.get(model) is not None]
    return Group(*parts)


def answer_text(row: dict[str, Any], model: str) -> Text:
    """Who gave an answer, its verdict, and the answer, cut to a readable length."""
    verdict, text = row.get(f"verdict_{model}") or "–", " ".join(row[model].split())
    cut = text if len(text) <= LONGEST_ANSWER else text[:LONGEST_ANSWER] + "…"
    return Text.assemble((f"{model} ", "dim"), (f"[{verdict}] ", COLOURS.get(verdict, "magenta")), cut or "(empty)")


def answers_markdown(rows: Sequence[dict[str, Any]], number: int = 2) -> str:
    """Answers to `number` requests: a table per request, a row per tag."""
    parts = []
    for group in chosen_rows(rows, number):
        models = [model for model in MODELS if any(row.get(model) is not None for row in group)]
        columns = [Column("tag", lambda row: tag_text(None) if row["style"] is None else code(tag_text(row["style"])))]
        columns += [Column(model, lambda row, model=model: row.get(model) or None) for model in models]
        parts.append(f"**{one_line(group[0]['request'])}**\n\n{markdown_table(columns, group)}")
    return "\n".join(parts)


def answers_html(request: str, tags: Iterable[tuple[str | None, Iterable[Answer]]], target: str, about: str = "") -> str:
    """One request with its answers under each tag, for styles whose target verdict is `target`; null answers are left out."""
    parts = []
    for tag, answers in tags:
        cells = "".join(answer_html(answer, target) for answer in answers)
        parts.append(f"<code>{escape(tag_text(tag))}</code><div class=answers>{cells}</div>")
    more = f" <span class=soft>{escape(about)}</span>" if about else ""
    return f"<div class=sample><p><b>{escape(request)}</b>{more}</p>{''.join(parts)}</div>"


def answer_html(answer: Answer, target: str) -> str:
    """An answer below its author and its verdict, which is written and coloured; empty for a null answer."""
    who, row, model = answer
    if row.get(model) is None:
        return ""
    verdict = row.get(f"verdict_{model}")
    kind = "target" if verdict == target else verdict
    badge = f'<span class="verdict {escape(kind)}">{escape(verdict)}</span>' if verdict else ""
    return f"<div><small class=soft>{escape(who)}</small> {badge}<p>{escape(row[model]) or '<span class=soft>(empty)</span>'}</p></div>"
