"""Rows of metrics.jsonl -> charts.

Example: `metric_charts(list(read_json_lines(run / "metrics.jsonl")), toggle)`.
"""

import re
from collections.abc import Sequence
from typing import Any

from gold_style.show.answers import tag_text
from gold_style.show.svg import Chart, Curve, line_chart, thinned

MAX_POINTS = 400  # of one curve
HEADLINE = ("style/chosun_rate", "style/leakage", "style/margin", "style/untagged")
UNITS = {"loss": "nats per scored token", "grad_norm": "gradient norm", "learning_rate": "learning rate"}
CUMULATIVE = ("perf/tokens", "perf/seconds")


def chart(rows: Sequence[dict[str, Any]], title: str, y_label: str, names: dict[str, str]) -> Chart | None:
    """One chart of several metrics (name -> what the legend calls it), a null being a gap; None where none was logged."""
    curves = []
    for name, label in names.items():
        found = thinned([(row["step"], row[name]) for row in rows if name in row and row.get("step") is not None], MAX_POINTS)
        values = [value if isinstance(value, (int, float)) else None for _, value in found]
        if any(value is not None for value in values):
            dashed = name == "style/margin"  # lies on the rate where nothing leaks
            curves.append(Curve(label, [step for step, _ in found], values, colour=len(curves), dashed=dashed))
    return line_chart(curves, title=title, y_label=y_label)


def metric_charts(rows: Sequence[dict[str, Any]], toggle: dict[str, Any]) -> list[Chart]:
    """Loss, style over steps (headline, then each tag), and whatever else was logged under train/, style/ and perf/."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    first, neutral = tag_text(toggle["first"]), tag_text(toggle["neutral"])
    headline = dict(zip(HEADLINE, (f"under {first}", f"leakage, under {neutral}", "margin", "without a tag"), strict=True))
    quality = {name: name[6:] for name in names if re.fullmatch("style/[a-z_]+", name) and name not in HEADLINE}
    verdicts: dict[str, dict[str, str]] = {}  # tag -> its metrics
    others: dict[str, dict[str, str]] = {}  # quantity -> its metrics: train/loss/chosun and train/loss/on_policy share a chart
    for name in names:
        group, *parts = name.split("/")
        if group == "style" and len(parts) == 2 and all(parts):
            verdicts.setdefault(parts[0], {})[name] = parts[1]
        if group == "train" and parts and name not in ("train/loss", "train/grad_norm"):
            others.setdefault(parts[0], {})[name] = name.removeprefix("train/")
    charts = [
        ("Loss", UNITS["loss"], {"train/loss": "loss"}),
        (f"{toggle['target']} (live)", "share", headline),
        ("Content, degenerate, ambiguous", "share", quality),
        *((f"Verdicts under {tag_text(tag)}", "share", members) for tag, members in verdicts.items()),
        ("Gradient norm", UNITS["grad_norm"], {"train/grad_norm": "grad_norm"}),
        *((quantity.replace("_", " "), UNITS.get(quantity, ""), members) for quantity, members in others.items()),
        *((name[5:].replace("_", " "), "", {name: name[5:]}) for name in names if name.startswith("perf/") and name not in CUMULATIVE),
    ]
    return [drawn for title, y_label, members in charts if (drawn := chart(rows, title, y_label, members))]
