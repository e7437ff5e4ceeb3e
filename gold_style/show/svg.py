"""Charts as SVG, coloured by the variables of chart.css: they follow light and dark, in a page or as files of their own.

Example:

    chart = line_chart([Curve("beta 0.3", [0, 1, 2], [3.0, 2.0, 1.5])], title="Loss", y_label="nats")
    chart.figure()      # a <figure> for gold_style.show.page
    chart.file()        # the text of an .svg file
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, product
from pathlib import Path

from gold_style.show.tables import number, short
from gold_style.show.words import both

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 220, 50, 10, 10, 42  # of a chart and its margins; as narrow as a telephone, to be read there
CELL_WIDTH, CELL_HEIGHT, CELLS_LEFT, CELLS_TOP = 92, 44, 70, 34  # of a heat chart
HEAD, LINE = 22, 17  # room for the title and a line of the legend in a file
NUM_COLOURS = 8  # --c0 ... --c7
SHARE_RANGE = (-0.05, 1.05)  # of every axis labelled "share", so that charts of shares can be compared
MOST_WHISKERS = 60
QUIET = "var(--quiet)"
STYLE = Path(__file__).with_name("chart.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Chart:
    """A titled drawing. `inside`: SVG elements; `legend`: names and CSS colours of what they show."""

    title: str
    inside: str
    legend: Sequence[tuple[str, str]] = ()
    width: float = WIDTH
    height: float = HEIGHT
    scales: bool = True  # to the width of a page; else it is scrolled

    def figure(self) -> str:
        """An HTML figure with caption and legend."""
        items = "".join(f'<span><i style="background:{colour}"></i>{both(name)}</span>' for name, colour in self.legend)
        legend = f'<div class="legend">{items}</div>' if items else ""
        title, width = escape(self.title), "" if self.scales else f' style="width:{self.width:g}px"'
        drawn = f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{title}"{width}>{self.inside}</svg>'
        return f'<figure><figcaption>{both(self.title)}</figcaption><div class="scroll">{drawn}</div>{legend}</figure>'

    def file(self) -> str:
        """An SVG document: title, drawing, legend."""
        parts = [written("title", 12, 18, self.title, anchor="start"), f'<g transform="translate(0 {HEAD})">{self.inside}</g>']
        width, bottom = max(self.width, 24 + 7 * len(self.title)), HEAD + self.height
        for name, colour in self.legend:
            bottom += LINE
            parts.append(f'<rect x="{LEFT}" y="{bottom - 12:g}" width="14" height="4" style="fill:{colour}"/>')
            parts.append(written("name", LEFT + 19, bottom - 5, name, anchor="start"))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {bottom:g}" width="{width:g}" role="img" '
            f'aria-label="{escape(self.title)}" font-family="system-ui, sans-serif"><style>{STYLE}</style>'
            f'<rect width="100%" height="100%" style="fill:var(--card)"/>{"".join(parts)}</svg>\n'
        )


def colour_of(colour: int | str | None) -> str:
    """The CSS colour of a curve with this number, or of a thing by its name in chart.css; the grey of "the rest" for None."""
    return QUIET if colour is None else f"var(--{colour if isinstance(colour, str) else f'c{colour % NUM_COLOURS}'})"


def written(kind: str, x: float, y: float, text: str, anchor: str = "middle") -> str:
    """A text element of CSS class `kind`."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{both(text, tag="tspan")}</text>'


def written_upwards(x: float, y: float, text: str) -> str:
    """A label that is read from bottom to top."""
    return f'<g transform="translate({x:g} {y:g}) rotate(-90)">{written("label", 0, 0, text)}</g>'


def straight(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A line element of CSS class `kind`."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


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


@dataclass(frozen=True)
class Axes:
    """A mapping from data to the plot area, and its frame."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def around(cls, xs: Sequence[float], ys: Sequence[float]) -> "Axes":
        """Axes that hold all values, with some air above and below; a range without extent is widened."""
        low, high = min(ys), max(ys)
        air = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
        return cls((min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1), (low - air, high + air))

    def px(self, x: float) -> float:
        """Data x to SVG units."""
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def py(self, y: float) -> float:
        """Data y to SVG units; what lies outside is drawn at the edge."""
        share = min(1.0, max(0.0, (y - self.y[0]) / (self.y[1] - self.y[0])))
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Path data through data points."""
        return "M" + "L".join(f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in points)

    def frame(self, x_label: str, y_label: str) -> str:
        """Grid, numbers and labels."""
        right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = [straight("axis", LEFT, floor, right, floor)]
        for y in ticks(*self.y):
            parts.append(straight("grid", LEFT, self.py(y), right, self.py(y)))
            parts.append(written("tick", LEFT - 6, self.py(y) + 4, short(y), anchor="end"))
        parts += [written("tick", self.px(x), floor + 16, short(x)) for x in ticks(*self.x)]
        parts.append(written("label", (LEFT + right) / 2, HEIGHT - 6, x_label))
        return "".join([*parts, written_upwards(12, (TOP + floor) / 2, y_label)])


@dataclass(frozen=True)
class Curve:
    """A line over `x`; None in `y` is a gap, `band` is (low, high) of each point, `colour` None is the grey of "the rest"."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    band: Sequence[tuple[float, float]] | None = None
    colour: int | str | None = 0
    dashed: bool = False


@dataclass(frozen=True)
class Point:
    """A dot of a scatter plot; `marked` ones are filled and joined by a line."""

    x: float
    y: float
    name: str
    label: str = ""  # beside the dot
    colour: int | None = 0
    marked: bool = False
    interval: tuple[float, float] | None = None  # of y


def thinned(points: Sequence, most: int) -> list:
    """About `most` of the points, evenly chosen; the last one, where a run ends, is always kept."""
    every = -(-len(points) // most) or 1
    return [*points[:-1:every], *points[-1:]]


def line_chart(curves: Sequence[Curve], *, title: str, y_label: str) -> Chart | None:
    """A chart with its legend; None where there is no point to draw."""
    points = [(x, y) for curve in curves for x, y in zip(curve.x, curve.y, strict=True)]
    points += [(x, y) for curve in curves if curve.band for x, limits in zip(curve.x, curve.band, strict=True) for y in limits]
    points = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    if not points:
        return None
    axes = Axes.around(*zip(*points, strict=True))
    if y_label == "share":
        axes = Axes(axes.x, SHARE_RANGE)
    drawn = sorted(curves, key=lambda curve: curve.colour is not None)  # the quiet ones at the back
    inside = [axes.frame("step", y_label), *(area(axes, curve) for curve in drawn), *(line(axes, curve) for curve in drawn)]
    legend = [(curve.name, colour_of(curve.colour)) for curve in curves if curve.colour is not None]
    quiet = [curve.name for curve in curves if curve.colour is None]
    rest = [(quiet[0] if len(quiet) == 1 else f"{len(quiet)} others", QUIET)] if quiet else []
    return Chart(title, "".join(inside), [*legend, *rest])


def area(axes: Axes, curve: Curve) -> str:
    """The area of a curve's band."""
    if curve.band is None or curve.colour is None or len(curve.x) < 2:
        return ""
    low, high = ([(x, limits[end]) for x, limits in zip(curve.x, curve.band, strict=True)] for end in (0, 1))
    return f'<path class="band" style="fill:{colour_of(curve.colour)}" d="{axes.path([*high, *reversed(low)])}Z"/>'


def line(axes: Axes, curve: Curve) -> str:
    """The line of a curve, interrupted at its gaps, and a dot for every point between two gaps."""
    colour = colour_of(curve.colour)
    many = isinstance(curve.colour, int) and curve.colour >= NUM_COLOURS
    dash = ' stroke-dasharray="5 3"' if curve.dashed or many else ""
    parts = []
    for is_known, points in groupby(zip(curve.x, curve.y, strict=True), key=lambda point: point[1] is not None and math.isfinite(point[1])):
        match list(points):
            case [(x, y)] if is_known:
                parts.append(f'<circle cx="{axes.px(x):.1f}" cy="{axes.py(y):.1f}" r="2.5" style="fill:{colour}"/>')
            case stretch if is_known:
                parts.append(f'<path class="line" style="stroke:{colour}"{dash} d="{axes.path(stretch)}"/>')
    return f"<g><title>{escape(curve.name)}</title>{''.join(parts)}</g>"


def scatter(points: Sequence[Point], *, title: str, x_label: str, y_label: str) -> Chart | None:
    """Dots with intervals as whiskers; the legend says which labels are whose. None without a point."""
    if not points:
        return None
    axes = Axes.around([0.0, *(point.x for point in points)], [y for point in points for y in (point.y, *(point.interval or ()))])
    front = sorted((point.x, point.y) for point in points if point.marked)
    parts = [axes.frame(x_label, y_label)]
    if len(front) > 1:
        parts.append(f'<path class="line" style="stroke:{colour_of(1)}" d="{axes.path(front)}"/>')
    for point in sorted(points, key=lambda point: point.marked):
        x, y, kind = axes.px(point.x), axes.py(point.y), "dot marked" if point.marked else "dot"
        whisker = ""
        if point.interval and len(points) <= MOST_WHISKERS:
            whisker = straight("whisker", x, axes.py(point.interval[0]), x, axes.py(point.interval[1]))
        dot = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5" style="color:{colour_of(point.colour)}"/>'
        label = written("small", x - 7, y - 5, point.label, anchor="end")
        parts.append(f"<g>{whisker}{dot}{label}<title>{escape(point.name)}</title></g>")
    return Chart(title, "".join(parts), [(point.name, colour_of(point.colour)) for point in points if point.colour is not None])


def heat_chart(cells: Mapping[tuple[str, str], tuple[float | None, str]], *, title: str, names: Sequence[str]) -> Chart:
    """A value over two settings, coloured from the lowest to the highest.

    `cells`: (row, column) -> (value, small print below it), grey where the value is None; `names`: of rows and columns.
    """
    down, across = (sorted({place[axis] for place in cells}, key=natural) for axis in (0, 1))
    known = [value for value, _ in cells.values() if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    width, height = CELL_WIDTH * len(across), CELL_HEIGHT * len(down)
    parts = [written("label", CELLS_LEFT + width / 2, 14, names[1]), written_upwards(16, CELLS_TOP + height / 2, names[0])]
    parts += [written("tick", CELLS_LEFT + (j + 0.5) * CELL_WIDTH, CELLS_TOP - 5, column) for j, column in enumerate(across)]
    parts += [written("tick", CELLS_LEFT - 8, CELLS_TOP + (i + 0.5) * CELL_HEIGHT + 4, row, anchor="end") for i, row in enumerate(down)]
    for (i, row), (j, column) in product(enumerate(down), enumerate(across)):
        value, below = cells.get((row, column), (None, "not run"))
        x, y = CELLS_LEFT + j * CELL_WIDTH, CELLS_TOP + i * CELL_HEIGHT
        heat = "fill:var(--rule)"
        if value is not None:
            heat = f"fill:var(--heat);fill-opacity:{0.08 + 0.5 * ((value - low) / (high - low) if high > low else 1):.3f}"
        parts.append(f'<rect class="cell" x="{x}" y="{y}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" style="{heat}"/>')
        parts.append(written("value", x + CELL_WIDTH / 2, y + 19, number(value)))
        parts.append(written("small", x + CELL_WIDTH / 2, y + 34, below))
    return Chart(title, "".join(parts), width=CELLS_LEFT + width + 12, height=CELLS_TOP + height + 12, scales=False)


def natural(text: str) -> tuple:
    """A key that sorts numbers by size, then words."""
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text
