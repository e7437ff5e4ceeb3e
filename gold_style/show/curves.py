"""Rows of metrics.jsonl -> charts.

Example: `metric_charts(list(read_json_lines(run / "metrics.jsonl")), toggle)` is a list of `<figure>` elements.
"""

import re
from collections.abc import Sequence
from typing import Any

from gold_style.show.svg import Curve, line_chart

MAX_POINTS = 400  # of one curve; longer ones are thinned
HEADLINE = ("style/chosun_rate", "style/leakage", "style/margin")
UNITS = {"loss": "nats per scored token", "grad_norm": "gradient norm", "learning_rate": "learning rate"}
CUMULATIVE = ("perf/tokens", "perf/seconds")


def column(rows: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float | None]]:
    """Steps and values of one metric where it was logged; a null is a gap. Thinned to MAX_POINTS, the last kept."""
    points = [(row["step"], row[name]) for row in rows if name in row and row.get("step") is not None]
    points = [(step, value if isinstance(value, (int, float)) else None) for step, value in points]
    if len(points) > MAX_POINTS:
        every = -(-len(points) // MAX_POINTS)
        points = points[:-1:every] + points[-1:]
    return [step for step, _ in points], [value for _, value in points]


def chart(rows: Sequence[dict[str, Any]], names: dict[str, str], title: str, y_label: str, y_range=None) -> str:
    """One chart of several metrics (name -> what the legend calls it); empty where none was logged."""
    curves = []
    for name, label in names.items():
        steps, values = column(rows, name)
        if any(value is not None for value in values):
            dashed = name == "style/margin"  # lies on the rate where nothing leaks
            curves.append(Curve(label, steps, values, colour=len(curves), dashed=dashed))
    return line_chart(curves, title=title, y_label=y_label, y_range=y_range)


def metric_charts(rows: Sequence[dict[str, Any]], toggle: dict[str, Any]) -> list[str]:
    """Loss, style over steps (headline, then each tag), and whatever else was logged under train/, style/ and perf/."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    first, rest = ["train/loss", "train/grad_norm"], [name for name in names if name.startswith("train/")]
    headline = [f"under <style:{toggle['first']}>", f"leakage, under <style:{toggle['neutral']}>", "margin"]
    charts = [
        chart(rows, {"train/loss": "loss"}, "Loss", UNITS["loss"]),
        chart(rows, dict(zip(HEADLINE, headline, strict=True)), f"{toggle['target']} (live)", "share", (-0.05, 1.05)),
    ]
    quality = {name: name[6:] for name in names if re.fullmatch("style/[a-z_]+", name) and name not in HEADLINE}
    charts.append(chart(rows, quality, "Content, degenerate, ambiguous", "share", (-0.05, 1.05)))
    for tag in dict.fromkeys(name.split("/")[1] for name in names if re.fullmatch("style/[^/]+/[^/]+", name)):
        verdicts = {name: name.split("/")[2] for name in names if name.startswith(f"style/{tag}/")}
        charts.append(chart(rows, verdicts, f"Verdicts under <style:{tag}>", "share", (-0.05, 1.05)))
    charts.append(chart(rows, {"train/grad_norm": "grad_norm"}, "Gradient norm", UNITS["grad_norm"]))
    by_quantity: dict[str, dict[str, str]] = {}  # train/loss/chosun and train/loss/on_policy share a chart
    for name in (name for name in rest if name not in first):
        by_quantity.setdefault(name.split("/")[1], {})[name] = name.removeprefix("train/")
    for quantity, members in by_quantity.items():
        charts.append(chart(rows, members, quantity.replace("_", " "), UNITS.get(quantity, "")))
    for name in (name for name in names if name.startswith("perf/") and name not in CUMULATIVE):
        charts.append(chart(rows, {name: name[5:]}, name[5:].replace("_", " "), ""))
    return [drawn for drawn in charts if drawn]
