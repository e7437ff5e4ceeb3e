"""The lines of samples.jsonl <-> a run's judged answers; summary.json can be computed from them again.

A line, one per request and tag, holds `id` (of the request: the same under every tag), `style` (the tag as written;
null: none), `request`, what is known about the request (`topic`, `direction`, `era`), the answers `before`, `after`,
`teacher` (null where that model was not asked) with `verdict_<model>`, and then the other judged values as
`<name>_<model>`, e.g. `degenerate_after`, `content_after`, `finished_after`.

Example: `score(samples_from(read_json_lines(path), path)["after"], toggle)` is `after` in summary.json.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from gold_style.measure.answers import Answer, Judged

MODELS = ("before", "after", "teacher")
KEY = ("id", "style", "request")
SHARED = (*KEY, "topic", "direction", "era")  # of the request, not of a model's answer
OWN = tuple(field.name for field in fields(Judged) if field.name not in (*SHARED, "text", "verdict"))
OPTIONAL = tuple(field.name for field in fields(Answer))

Samples = dict[str, list[Judged] | None]  # of each of MODELS; None = that model was not asked


def side_by_side(samples: Samples) -> list[dict[str, Judged]]:
    """{model: answer} for each request and tag, ordered by request as first met, tags of one request together."""
    rows: dict[tuple, dict[str, Judged]] = {}
    order: dict[int | str, int] = {}
    for model in MODELS:
        copies: Counter = Counter()  # a request may be answered several times under one tag
        for answer in samples.get(model) or ():
            place = (answer.id, answer.style)
            order.setdefault(answer.id, len(order))
            rows.setdefault((*place, copies[place]), {})[model] = answer
            copies[place] += 1
    return [rows[place] for place in sorted(rows, key=lambda place: order[place[0]])]


def sample_rows(samples: Samples) -> list[dict[str, Any]]:
    """The lines of samples.jsonl."""
    return [flat_row(row) for row in side_by_side(samples)]


def flat_row(answers: dict[str, Judged]) -> dict[str, Any]:
    """One line: the contract's keys first, then what else was judged."""
    request = next(iter(answers.values()))
    flat = {name: getattr(request, name) for name in KEY}
    flat |= {model: answers[model].text if model in answers else None for model in MODELS}
    flat |= {f"verdict_{model}": answers[model].verdict if model in answers else None for model in MODELS}
    flat |= {name: getattr(request, name) for name in SHARED if name not in KEY}
    return flat | {f"{name}_{model}": getattr(answer, name) for model, answer in answers.items() for name in OWN}


def samples_from(rows: Iterable[dict[str, Any]], source: Any = "samples.jsonl") -> Samples:
    """The judged answers of each model; None for a model that no line answers for.

    Raises ValueError naming `source` and line where a line lacks what the numbers are computed from.
    """
    samples: dict[str, list[Judged]] = {model: [] for model in MODELS}
    for number, row in enumerate(rows, 1):
        for model in MODELS:
            if row.get(model) is not None:
                try:
                    samples[model].append(judged_from(row, model))
                except KeyError as error:
                    raise ValueError(f"{source}:{number}: no {error.args[0]!r}, and numbers are made from it") from None
    return {model: answers or None for model, answers in samples.items()}


def judged_from(row: dict[str, Any], model: str) -> Judged:
    """One model's judged answer out of a line. Raises KeyError for a missing key that an Answer cannot do without."""
    shared = {name: row[name] if name in KEY else row.get(name) for name in SHARED}
    own = {name: row.get(f"{name}_{model}") if name in OPTIONAL else row[f"{name}_{model}"] for name in OWN}
    return Judged(**shared, **own, text=row[model], verdict=row[f"verdict_{model}"])
