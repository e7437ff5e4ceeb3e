"""Line charts and scatter plots as inline SVG, coloured by the page's CSS variables: they follow light and dark.

Example: `line_chart([Curve("loss", [0, 1, 2], [3.0, 2.0, 1.5])], y_label="nats")`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 260, 56, 14, 12, 40  # of a chart and its margins, in SVG units
NUM_COLOURS = 8  # --c0 ... --c7 of gold_style.show.page


@dataclass(frozen=True)
class Curve:
    """A line over `x`; None in `y` is a gap, `low` and `high` draw a band, `colour` None is the grey of "the rest"."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    colour: int | None = 0
    dashed: bool = False


@dataclass(frozen=True)
class Point:
    """A dot of a scatter plot; `marked` ones are filled and joined by a line."""

    x: float
    y: float
    name: str
    marked: bool = False
    low: float | None = None
    high: float | None = None


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, some `about` of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number as an axis shows it: 0.25, 1200, 3.5M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == 'k' else size):.4g}{suffix}"
    return f"{value:.4g}"


@dataclass(frozen=True)
class Axes:
    """A mapping from data to the plot area, and its frame."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def around(cls, xs: Sequence[float], ys: Sequence[float], y_range: tuple[float, float] | None = None) -> "Axes":
        """Axes that hold all values, with some air; a range without extent is widened."""

        def padded(low: float, high: float) -> tuple[float, float]:
            air = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
            return low - air, high + air

        return cls((min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1), y_range or padded(min(ys), max(ys)))

    def px(self, x: float) -> float:
        """Data x to SVG units."""
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def py(self, y: float) -> float:
        """Data y to SVG units; what lies outside is drawn at the edge."""
        share = min(1.0, max(0.0, (y - self.y[0]) / (self.y[1] - self.y[0])))
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    def frame(self, x_label: str, y_label: str) -> str:
        """Grid, numbers and labels."""
        right, floor, middle = WIDTH - RIGHT, HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
        parts = [straight("axis", LEFT, floor, right, floor)]
        for y in ticks(*self.y):
            parts.append(straight("grid", LEFT, self.py(y), right, self.py(y)))
            parts.append(written("tick", LEFT - 6, self.py(y) + 4, short(y), anchor="end"))
        parts += [written("tick", self.px(x), floor + 16, short(x)) for x in ticks(*self.x, about=7)]
        parts.append(written("label", (LEFT + right) / 2, HEIGHT - 6, x_label))
        parts.append(f'<g transform="translate(12 {middle}) rotate(-90)">{written("label", 0, 0, y_label)}</g>')
        return "".join(parts)


def written(kind: str, x: float, y: float, words: str, anchor: str = "middle") -> str:
    """A text element of CSS class `kind`."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def straight(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A line element of CSS class `kind`."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def drawing(title: str, inside: str) -> str:
    """An SVG element with an accessible name."""
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{inside}</svg>'


def runs_of(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The points in stretches without a gap."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None or not math.isfinite(y):
            stretches.append([])
        else:
            stretches[-1].append((x, y))
    return [stretch for stretch in stretches if stretch]


def path(axes: Axes, points: Sequence[tuple[float, float]]) -> str:
    """Path data through data points."""
    return "M" + "L".join(f"{axes.px(x):.1f} {axes.py(y):.1f}" for x, y in points)


def line_chart(
    curves: Sequence[Curve], *, title: str, y_label: str, x_label: str = "step", y_range: tuple[float, float] | None = None
) -> str:
    """A chart with its legend; empty text where there is no point to draw."""
    points = [
        (x, y) for curve in curves for values in (curve.y, curve.low, curve.high) if values for x, y in zip(curve.x, values, strict=True)
    ]
    points = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    if not points:
        return ""
    axes = Axes.around([x for x, _ in points], [y for _, y in points], y_range)
    drawn = sorted(curves, key=lambda curve: curve.colour is not None)  # the quiet ones behind
    inside = axes.frame(x_label, y_label) + "".join(band(axes, curve) for curve in drawn) + "".join(line(axes, curve) for curve in drawn)
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing(title, inside)}{legend(curves)}</figure>"


def band(axes: Axes, curve: Curve) -> str:
    """The area between `low` and `high`."""
    if curve.low is None or curve.high is None or curve.colour is None:
        return ""
    edges = [(x, low, high) for x, low, high in zip(curve.x, curve.low, curve.high, strict=True) if low is not None and high is not None]
    if len(edges) < 2:
        return ""
    outline = [(x, high) for x, _, high in edges] + [(x, low) for x, low, _ in reversed(edges)]
    return f'<path class="band" style="fill:var(--c{curve.colour % NUM_COLOURS})" d="{path(axes, outline)}Z"/>'


def line(axes: Axes, curve: Curve) -> str:
    """The line of a curve, and a dot for every point that stands alone."""
    colour = "var(--quiet)" if curve.colour is None else f"var(--c{curve.colour % NUM_COLOURS})"
    dash = ' stroke-dasharray="5 3"' if curve.dashed or (curve.colour or 0) >= NUM_COLOURS else ""
    parts = []
    for stretch in runs_of(list(zip(curve.x, curve.y, strict=True))):
        if len(stretch) == 1:
            x, y = stretch[0]
            parts.append(f'<circle cx="{axes.px(x):.1f}" cy="{axes.py(y):.1f}" r="2.5" style="fill:{colour}"/>')
        else:
            parts.append(f'<path class="line" style="stroke:{colour}"{dash} d="{path(axes, stretch)}"/>')
    return f"<g><title>{escape(curve.name)}</title>{''.join(parts)}</g>"


def legend(curves: Sequence[Curve]) -> str:
    """Names beside their colours; the quiet ones share one entry."""
    shown = [(curve.name, f"var(--c{curve.colour % NUM_COLOURS})") for curve in curves if curve.colour is not None]
    quiet = sum(curve.colour is None for curve in curves)
    shown += [(f"{quiet} others", "var(--quiet)")] if quiet else []
    items = "".join(f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in shown)
    return f'<div class="legend">{items}</div>'


def scatter(points: Sequence[Point], *, title: str, x_label: str, y_label: str) -> str:
    """Dots with intervals as whiskers; the name shows when the pointer rests on one. Empty text without a point."""
    if not points:
        return ""
    ys = [y for point in points for y in (point.y, point.low, point.high) if y is not None]
    axes = Axes.around([0.0, *(point.x for point in points)], ys)
    front = sorted((point.x, point.y) for point in points if point.marked)
    parts = [axes.frame(x_label, y_label)]
    if len(front) > 1:
        parts.append(f'<path class="line" style="stroke:var(--c1)" d="{path(axes, front)}"/>')
    for point in sorted(points, key=lambda point: point.marked):
        x, y, kind = axes.px(point.x), axes.py(point.y), "dot marked" if point.marked else "dot"
        whisker = ""
        if point.low is not None and point.high is not None and len(points) <= 60:
            whisker = straight("whisker", x, axes.py(point.low), x, axes.py(point.high))
        dot = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        parts.append(f"<g>{whisker}{dot}<title>{escape(point.name)}</title></g>")
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing(title, ''.join(parts))}</figure>"
