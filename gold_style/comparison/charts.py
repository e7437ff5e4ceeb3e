"""Charts of a leaderboard: heatmap of two settings, curves over steps, margin against what it costs.

Example: `heatmap(leaderboard(runs)).file()` is an SVG file.
"""

import math
from collections.abc import Iterable, Sequence

from gold_style.comparison.leaderboard import Entry, Leaderboard, completed, short_names, value_text
from gold_style.measure.rates import mean
from gold_style.show.svg import Chart, Curve, Point, heat_chart, line_chart, scatter, thinned

HEATMAP = ("loss.beta", "loss.lmbda")  # drawn where both varied; else the first two varied settings
MOST_CELLS = 2500  # of a heatmap
COLOURED, QUIET, LABELLED = 6, 30, 20  # entries with a colour of their own, in grey in the curves, and with a number in the scatter plots
MAX_POINTS = 120  # of a curve
CURVES = (
    ("style/margin", "Margin (live)", "share"),
    ("style/leakage", "Leakage (live)", "share"),
    ("style/untagged", "Without a tag (live)", "share"),
    ("train/loss", "Loss", "nats"),
)
# a mean of an Entry -> its axis
COSTS = {"seconds": "seconds of training", "tokens": "tokens generated", "bits_percent": "change of bits per byte, %"}


def heatmap(board: Leaderboard) -> Chart | None:
    """Mean margin over two settings, the others and the seeds averaged; None where fewer than two varied, or very many values."""
    keys = HEATMAP if set(HEATMAP) <= set(board.varied) else board.varied[:2]
    places: dict[tuple, list[Entry]] = {}
    for entry in board.entries:
        places.setdefault(tuple(value_text(entry.settings[key]) for key in keys), []).append(entry)
    if len(keys) < 2 or math.prod(len(set(values)) for values in zip(*places, strict=True)) > MOST_CELLS:
        return None
    cells = {}
    for place, entries in places.items():
        done = completed([run for entry in entries for run in entry.runs])
        cells[place] = (mean([entry.margin for entry in entries]), f"{done} runs")
    down, across = short_names(keys)
    return heat_chart(cells, title=f"Margin: {down} down, {across} across; mean over everything else", names=(down, across))


def curves(board: Leaderboard) -> list[Chart | None]:
    """Margin, leakage and loss of the best entries over steps."""
    drawn = [(entry, place if place < COLOURED else None) for place, entry in enumerate(board.entries[: COLOURED + QUIET])]
    return [metric_chart(drawn, name, title, unit) for name, title, unit in CURVES]


def metric_chart(entries: Iterable[tuple[Entry, int | None]], name: str, title: str, unit: str) -> Chart | None:
    """A metric over steps, of entries with the number of their colour."""
    drawn = [entry_curve(entry, name, colour) for entry, colour in entries]
    return line_chart([curve for curve in drawn if curve.x], title=title, y_label=unit)


def entry_curve(entry: Entry, name: str, colour: int | None) -> Curve:
    """Mean over the runs of an entry at every logged step, with a band from the lowest to the highest, thinned."""
    values: dict[float, list[float]] = {}
    for run in entry.runs:
        for row in run.metrics:
            if row.get(name) is not None and row.get("step") is not None:
                values.setdefault(row["step"], []).append(row[name])
    steps = thinned(sorted(values), MAX_POINTS)
    band = [(min(values[step]), max(values[step])) for step in steps] if len(entry.runs) > 1 else None
    return Curve(entry.name, steps, [mean(values[step]) for step in steps], band, colour)


def costs(board: Leaderboard) -> list[Chart | None]:
    """Margin against each of COSTS that was measured, labelled by place; what nothing else beats is filled and joined."""
    charts = []
    places = list(enumerate(board.entries, 1))
    for name, label in COSTS.items():
        known = [(cost, place, entry) for place, entry in places if (cost := entry.mean(name)) is not None and entry.margin is not None]
        front = pareto([cost for cost, *_ in known], [entry.margin for *_, entry in known])
        points = [
            Point(
                x=cost,
                y=entry.margin,
                name=f"{place}: {entry.name}, {entry.margin:.3f}",
                label=str(place) if place <= LABELLED else "",
                colour=place - 1 if place <= COLOURED else None,  # as in the curves
                marked=marked,
                interval=entry.interval,
            )
            for (cost, place, entry), marked in zip(known, front, strict=True)
        ]
        charts.append(scatter(points, title=f"Margin against {label}", x_label=label, y_label="margin"))
    return charts


def pareto(costs: Sequence[float], values: Sequence[float]) -> list[bool]:
    """Which points no other one beats: none costs no more and is worth no less."""
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -values[index]))
    front, highest = [False] * len(costs), -math.inf
    for index in order:
        if values[index] > highest:
            front[index], highest = True, values[index]
    return front
