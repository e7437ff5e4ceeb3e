"""samples.jsonl: the judged answers of a run, one line per request and tag; summary.json can be computed from it again.

A line holds `id` (of the request: the same under every tag), `style` (the tag as written; null: none), `request`,
what is known about the request (`topic`, `direction`, `era`), the answers `before`, `after`, `teacher` (null where
that model was not asked) with `verdict_<model>`, and behind them the other judged values as `<name>_<model>`, e.g.
`degenerate_after`, `content_after`, `finished_after`.

Example: `score(read_samples("multirun/.../samples.jsonl")["after"], toggle)` is `summary.json`'s `after`.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

from gold_style.measure.answers import Answer, Judged
from gold_style.runs.files import read_json_lines

MODELS = ("before", "after", "teacher")
SHARED = ("id", "style", "request", "topic", "direction", "era")  # of the request, not of a model's answer
OWN = tuple(field.name for field in fields(Judged) if field.name not in (*SHARED, "text", "verdict"))

Samples = dict[str, list[Judged] | None]  # of each of MODELS; None = that model was not asked


def sample_rows(samples: Samples) -> list[dict[str, Any]]:
    """The lines of samples.jsonl, ordered by request as first met, tags of one request side by side."""
    rows: dict[tuple, dict[str, Any]] = {}
    order: dict[int | str, int] = {}
    for model in MODELS:
        seen: dict[tuple, int] = {}
        for answer in samples.get(model) or ():
            key = (answer.id, answer.style)
            seen[key] = copy = seen.get(key, -1) + 1  # a request may be answered several times under one tag
            order.setdefault(answer.id, len(order))
            row = rows.setdefault((*key, copy), {name: getattr(answer, name) for name in SHARED})
            row[model] = answer
    ordered = sorted(rows.values(), key=lambda row: order[row["id"]])
    return [flat_row(row) for row in ordered]


def flat_row(row: dict[str, Any]) -> dict[str, Any]:
    """One line: the contract's keys first, then what else was judged."""
    flat = {name: row[name] for name in ("id", "style", "request")}
    answers = {model: row.get(model) for model in MODELS}
    flat |= {model: answer and answer.text for model, answer in answers.items()}
    flat |= {f"verdict_{model}": answer and answer.verdict for model, answer in answers.items()}
    flat |= {name: row[name] for name in ("topic", "direction", "era")}
    flat |= {f"{name}_{model}": getattr(answer, name) for model, answer in answers.items() if answer for name in OWN}
    return flat


def read_rows(path: Path | str) -> list[dict[str, Any]]:
    """The lines of samples.jsonl as they are; none where there is no file. Raises ValueError for what is not JSON."""
    return list(read_json_lines(Path(path)))


def read_samples(path: Path | str) -> Samples:
    """The judged answers of each model; None for a model that no line answers for.

    Raises ValueError naming file and line where a line lacks what the numbers are computed from.
    """
    samples: dict[str, list[Judged]] = {model: [] for model in MODELS}
    for number, row in enumerate(read_rows(path), 1):
        for model in MODELS:
            if row.get(model) is not None:
                try:
                    samples[model].append(judged_from(row, model))
                except KeyError as error:
                    raise ValueError(f"{path}:{number}: no {error.args[0]!r}, and numbers are made from it") from None
    return {model: answers or None for model, answers in samples.items()}


def judged_from(row: dict[str, Any], model: str) -> Judged:
    """One model's judged answer out of a line. Raises KeyError for a missing key that an Answer cannot do without."""
    optional = {field.name for field in fields(Answer)}
    shared = {name: row[name] if name in ("id", "style", "request") else row.get(name) for name in SHARED}
    own = {name: row.get(f"{name}_{model}") if name in optional else row[f"{name}_{model}"] for name in OWN}
    return Judged(**shared, **own, text=row[model], verdict=row[f"verdict_{model}"])
