"""Rows of metrics.jsonl -> charts, in which a thing has one colour wherever it is drawn.

Example: `metric_charts(list(read_json_lines(run / "metrics.jsonl")), summary, toggle)`.
"""

import re
from collections.abc import Sequence
from typing import Any

from gold_style.measure.rates import mean
from gold_style.show.answers import tag_text
from gold_style.show.svg import Chart, Curve, line_chart, thinned

MAX_POINTS = 400  # of one curve
SMOOTHED_FROM = 40  # points; fewer are drawn unchanged
HEADLINE = ("style/chosun_rate", "style/leakage", "style/margin", "style/untagged")
UNITS = {"loss": "nats per scored token", "grad_norm": "gradient norm", "learning_rate": "learning rate"}
CUMULATIVE = ("perf/tokens", "perf/seconds")
COLOURS = {  # last word of a metric's name -> its colour in chart.css
    **{name: name for name in ("margin", "leakage", "untagged", "modern", "ambiguous", "other")},
    **{"chosun_rate": "target", "loss": "loss", "degenerate": "other", "content": "content", "teacher": "goal"},
    **{"on_policy": "c7", "off_policy": "c3"},
}


def smooth(values: Sequence[float | None]) -> list[float | None]:
    """The mean of each value and its neighbours, a twentieth of all on either side; a null stays null."""
    reach = len(values) // 20
    around = [[value for value in values[max(0, i - reach) : i + reach + 1] if value is not None] for i in range(len(values))]
    return [None if value is None else mean(near) for value, near in zip(values, around, strict=True)]


def chart(rows: Sequence[dict[str, Any]], title: str, y_label: str, names: dict[str, str], colours: dict[str, str]) -> Chart | None:
    """One chart of several metrics (name -> what the legend calls it), a null being a gap; None where none was logged.

    A curve of many points is smoothed; where it is the only one, every step is drawn in grey at its back.
    """
    curves = []
    for name, label in names.items():
        found = thinned([(row["step"], row[name]) for row in rows if name in row and row.get("step") is not None], MAX_POINTS)
        steps, values = [step for step, _ in found], [value if isinstance(value, (int, float)) else None for _, value in found]
        if any(value is not None for value in values):
            colour, dashed = colours.get(name.split("/")[-1], len(curves)), name in ("style/margin", "style/teacher")
            is_long = len(values) >= SMOOTHED_FROM
            if is_long and len(names) == 1:
                curves.append(Curve("each step", steps, values, colour=None))
            curves.append(Curve(label, steps, smooth(values) if is_long else values, colour=colour, dashed=dashed))
    return line_chart(curves, title=title, y_label=y_label)


def metric_charts(rows: Sequence[dict[str, Any]], summary: dict[str, Any], toggle: dict[str, Any]) -> list[Chart]:
    """Style over steps (headline, with the student before training as step 0 and the teacher's margin), loss, then each tag, and
    whatever else was logged under train/, style/ and perf/."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    colours = COLOURS | {toggle["target"]: "target", toggle["first"]: "target", toggle["neutral"]: "modern"}
    first, neutral = tag_text(toggle["first"]), tag_text(toggle["neutral"])
    headline = dict(zip(HEADLINE, (f"under {first}", f"leakage, under {neutral}", "margin", "without a tag"), strict=True))
    headline["style/teacher"] = "teacher's margin"
    before, goal = summary.get("before") or {}, (summary.get("teacher") or {}).get("margin")
    quality = {name: name[6:] for name in names if re.fullmatch("style/[a-z_]+", name) and name not in HEADLINE}
    start = {"step": 0, **{name: before[name[6:]] for name in [*HEADLINE, *quality] if name in names and name[6:] in before}}
    if any(name in names for name in HEADLINE):
        rows = [{**row, "style/teacher": goal} if goal is not None and row.get("step") is not None else row for row in [start, *rows]]
    verdicts: dict[str, dict[str, str]] = {}  # tag -> its metrics
    others: dict[str, dict[str, str]] = {}  # quantity -> its metrics: train/loss/chosun and train/loss/on_policy share a chart
    for name in names:
        group, *parts = name.split("/")
        if group == "style" and len(parts) == 2 and all(parts):
            verdicts.setdefault(parts[0], {})[name] = parts[1]
        if group == "train" and parts and name not in ("train/loss", "train/grad_norm"):
            others.setdefault(parts[0], {})[name] = name.removeprefix("train/")
    charts = [
        (f"{toggle['target']} over steps", "share", headline),
        ("Loss", UNITS["loss"], {"train/loss": "loss"}),
        ("Content, degenerate, ambiguous", "share", quality),
        *((f"Verdicts under {tag_text(tag)}", "share", members) for tag, members in verdicts.items()),
        ("Gradient norm", UNITS["grad_norm"], {"train/grad_norm": "grad_norm"}),
        *((quantity.replace("_", " "), UNITS.get(quantity, ""), members) for quantity, members in others.items()),
        *((name[5:].replace("_", " "), "", {name: name[5:]}) for name in names if name.startswith("perf/") and name not in CUMULATIVE),
    ]
    return [drawn for title, y_label, members in charts if (drawn := chart(rows, title, y_label, members, colours))]
