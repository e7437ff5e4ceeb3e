"""Charts as SVG files of their own, for a README, a page on the web or a tracker: they bring their colours along.

standalone(line_chart(curves, title="Margin", y_label="share"))     # text of an .svg file
heatmap_svg(cells, down=["0", "1"], across=["0", "0.5"], names=("beta", "lmbda"))
"""

import re
from collections.abc import Mapping, Sequence
from html import escape, unescape

from gold_style.show.svg import HEIGHT, WIDTH, written

STYLE = """
svg { --page: #fff; --soft: #5b6270; --text: #1d2129; --rule: #dfdcd3; --quiet: #b9b6ad; --card: #fff; --heat: 11,107,203;
  --c0: #0b6bcb; --c1: #c2410c; --c2: #15803d; --c3: #9333ea; --c4: #b8860b; --c5: #0e7490; --c6: #be185d; --c7: #57534e }
@media (prefers-color-scheme: dark) { svg { --page: #14161a; --soft: #a4a9b4; --text: #e7e5df; --rule: #343943; --quiet: #555b66;
  --card: #1c1f25; --heat: 59,130,208; --c0: #63a9f5; --c1: #fb923c; --c2: #4ade80; --c3: #c084fc; --c4: #facc15; --c5: #22d3ee;
  --c6: #f472b6; --c7: #d6d3d1 } }
text { fill: var(--soft); font: 11px system-ui, sans-serif } .title { font-size: 13px; font-weight: 600; fill: var(--text) }
.value { font-size: 14px; font-weight: 600; fill: var(--text) }
.grid { stroke: var(--rule) } .axis { stroke: var(--soft) } .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.band { opacity: .16 } .dot { fill: var(--card); stroke: var(--c0); stroke-width: 1.6 } .dot.marked { fill: var(--c1); stroke: var(--c1) }
.whisker { stroke: var(--quiet) } .page { fill: var(--page) }
"""
TITLE = re.compile(r"<figcaption>(.*?)</figcaption>", re.DOTALL)
INSIDE = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
ENTRY = re.compile(r'<i style="background:([^"]+)"></i>([^<]*)')
CELL_WIDTH, CELL_HEIGHT, LINE = 92, 44, 17  # SVG units


def document(width: float, height: float, title: str, inside: str) -> str:
    """An SVG file."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(title)}"><style>{STYLE}</style><rect class="page" width="100%" height="100%"/>{inside}</svg>\n'
    )


def standalone(figure: str) -> str:
    """A `<figure>` of gold_style.show.svg as an SVG file, its title above and its legend below; empty for an empty one."""
    if not figure:
        return ""
    title, entries = unescape(TITLE.search(figure)[1]), ENTRY.findall(figure)
    parts = [written("title", 12, 18, title, anchor="start"), f'<g transform="translate(0 22)">{INSIDE.search(figure)[1]}</g>']
    x, y = 56.0, HEIGHT + 36.0
    for colour, name in entries:
        name, wide = unescape(name), 26 + 6.2 * len(unescape(name))
        if x + wide > WIDTH and x > 56:
            x, y = 56.0, y + LINE
        parts.append(f'<rect x="{x:g}" y="{y - 7:g}" width="14" height="4" style="fill:{colour}"/>')
        parts.append(written("name", x + 19, y, name, anchor="start"))
        x += wide
    return document(WIDTH, y + 12, title, "".join(parts))


def heatmap_svg(
    cells: Mapping[tuple[str, str], tuple[float | None, str]],
    *,
    down: Sequence[str],
    across: Sequence[str],
    names: tuple[str, str],
    title: str,
) -> str:
    """(row, column) -> (value, small print below it), coloured from the lowest to the highest value; grey where it is None."""
    known = [value for value, _ in cells.values() if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    left, top = 70, 56
    parts = [written("title", 12, 18, title, anchor="start"), written("label", left + CELL_WIDTH * len(across) / 2, 36, names[1])]
    parts += [written("tick", left + (j + 0.5) * CELL_WIDTH, top - 5, text) for j, text in enumerate(across)]
    for i, row in enumerate(down):
        y = top + i * CELL_HEIGHT
        parts.append(written("tick", left - 8, y + CELL_HEIGHT / 2 + 4, row, anchor="end"))
        for j, column in enumerate(across):
            value, below = cells.get((row, column), (None, "not run"))
            share = 0.0 if value is None else 1.0 if high == low else (value - low) / (high - low)
            x, fill = left + j * CELL_WIDTH, "var(--rule)" if value is None else f"rgba(var(--heat),{0.08 + 0.5 * share:.3f})"
            parts.append(f'<rect x="{x}" y="{y}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" style="fill:{fill}"/>')
            parts.append(written("value", x + CELL_WIDTH / 2, y + 19, "–" if value is None else f"{value:.2f}"))
            parts.append(written("small", x + CELL_WIDTH / 2, y + 34, below))
    middle = top + CELL_HEIGHT * len(down) / 2
    parts.append(f'<g transform="translate(16 {middle:g}) rotate(-90)">{written("label", 0, 0, names[0])}</g>')
    return document(left + CELL_WIDTH * len(across) + 12, top + CELL_HEIGHT * len(down) + 12, title, "".join(parts))
