"""Runs of the study -> tables and figures of docs/study_beta_lmbda.md; what stands outside the markers is left alone."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gold_style.comparison.leaderboard import Entry, Leaderboard, difference_p, leaderboard, mean, value_text
from gold_style.comparison.leaderboard_table import count, p_text
from gold_style.comparison.page import entry_curve
from gold_style.comparison.records import Run, read_runs
from gold_style.measure.statistics import holm
from gold_style.runs.files import write_text
from gold_style.show.standalone import heatmap_svg, standalone
from gold_style.show.svg import line_chart

KEYS = ("loss.beta", "loss.lmbda")
DEFAULT = {"loss.beta": 0.3, "loss.lmbda": 1.0}
MARKERS = re.compile(r"(<!-- study -->\n).*?(<!-- /study -->)", re.DOTALL)
VARIATIONS = {
    "warm_start": ("20 steps of teacher-written text first", "no warm start"),
    "teacher_prompt": ("teacher reads the row's own rule alone", "teacher reads every style's rule"),
    "pairing": ("each request under both tags", "tags drawn independently"),
}
EMPTY_PAGE = "# Which beta, which lmbda?\n\n<!-- study -->\n<!-- /study -->\n"


def write_page(root: Path, page: Path, parts: Sequence[str], shared: Sequence[str]) -> None:
    """Put tables and figures of the runs under `root` between the markers of `page`; figures go to <page>/../study/."""
    tell = lambda text: print(f"warning: {text}", file=sys.stderr)  # noqa: E731
    grid = leaderboard(read_runs([root / name for name in parts if name.startswith("grid") and (root / name).is_dir()], tell))
    others = {name: read_runs([root / name], tell) for name in VARIATIONS if (root / name).is_dir()}
    figures = page.parent / "study"
    figures.mkdir(parents=True, exist_ok=True)
    write_text(figures / "heatmap.svg", grid_heatmap(grid))
    for name, title, unit in (("style/margin", "Margin", "share"), ("style/leakage", "Leakage", "share"), ("train/loss", "Loss", "nats")):
        write_text(figures / f"{name.split('/')[1]}.svg", standalone(chart(grid, name, title, unit)))
    text = "\n".join(
        [
            facts(grid, others, shared),
            "### The grid\n",
            "![Heatmap](study/heatmap.svg)\n",
            grid_table(grid),
            "### Curves\n",
            "The default and the corners of the grid in colour, the others in grey; mean over seeds, band from lowest to highest seed.\n",
            "![Margin](study/margin.svg)\n![Leakage](study/leakage.svg)\n![Loss](study/loss.svg)\n",
            "### One at a time, at beta 0.3 and lmbda 1\n",
            variation_table(grid, others),
        ]
    )
    old = page.read_text(encoding="utf-8") if page.is_file() else EMPTY_PAGE
    write_text(page, MARKERS.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old))


def facts(grid: Leaderboard, others: dict[str, list[Run]], shared: Sequence[str]) -> str:
    """How many runs, how long, of what: from the run files."""
    runs = [*grid.runs, *(run for found in others.values() for run in found)]
    done = [run for run in runs if run.status == "completed"]
    seconds = mean([run.seconds for run in done]) or 0.0
    state = done[0].state if done else {}
    packages = state.get("packages") or {}
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers", "trl") if name in packages)
    teacher = sorted({round(run.teacher_margin, 3) for run in done if run.teacher_margin is not None})
    return (
        f"{len(runs)} runs, {len(done)} completed; {seconds:.0f} s of training each on one thread of a shared core "
        f"({state.get('device') or 'CPU'}; {versions}). Teacher's margin: {', '.join(map(str, teacher))}. "
        f"Every run: `{' '.join(shared)}`.\n"
    )


def interval_text(entry: Entry) -> str:
    return "" if entry.interval is None else f" [{entry.interval[0]:.2f}, {entry.interval[1]:.2f}]"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def seeds_text(runs: Sequence[Run]) -> str:
    """Margins of the single seeds, in order."""
    ordered = sorted(runs, key=lambda run: run.seed or 0)
    return " ".join(number(run.after.get("margin")) for run in ordered)


def is_default(entry: Entry) -> bool:
    return all(float(entry.settings.get(key, -1)) == value for key, value in DEFAULT.items())


def grid_table(board: Leaderboard) -> str:
    head = "| # | beta | lmbda | margin [95 %] | of the seeds | leakage | content | tokens | to 0.9 of teacher | s | p against best |"
    lines = [head, "|---:|---:|---:|---|---|---:|---:|---:|---|---:|---:|"]
    for entry in board.entries:
        tokens, reached = entry.tokens_to_reach
        lines.append(
            f"| {entry.rank or '–'} | {' | '.join(value_text(entry.settings[key]) for key in KEYS)} "
            f"| {number(entry.margin)}{interval_text(entry)} | {seeds_text(entry.runs)} | {number(entry.mean('leakage'))} "
            f"| {number(entry.mean('content'))} | {count(entry.tokens)} | {count(tokens)} ({reached} of {len(entry.scored)}) "
            f"| {count(entry.seconds)} | {p_text(entry)} |"
        )
    return "\n".join(lines) + "\n"


def grid_heatmap(board: Leaderboard) -> str:
    cells = {tuple(value_text(entry.settings[key]) for key in KEYS): (entry.margin, seeds_text(entry.scored)) for entry in board.entries}
    down, across = (sorted({cell[axis] for cell in cells}, key=float) for axis in (0, 1))
    return heatmap_svg(cells, down=down, across=across, names=("beta", "lmbda"), title="Margin: mean of the seeds, and each seed")


def chart(board: Leaderboard, name: str, title: str, unit: str) -> str:
    """The default and the four corners in colour, the others in grey."""
    values = [sorted({float(entry.settings[key]) for entry in board.entries}) for key in KEYS]
    corners = [(beta, lmbda) for beta in (values[0][0], values[0][-1]) for lmbda in (values[1][0], values[1][-1])]
    drawn = []
    for entry in board.entries:
        place = tuple(float(entry.settings[key]) for key in KEYS)
        colour = 0 if is_default(entry) else 1 + corners.index(place) if place in corners else None
        drawn.append(entry_curve(entry, name, colour))
    drawn = [curve for curve in drawn if curve.x]
    return line_chart(drawn, title=title, y_label=unit, y_range=(-0.05, 1.05) if unit == "share" else None)


def variation_table(board: Leaderboard, others: dict[str, list[Run]]) -> str:
    """Each variation beside the default, with the paired test over requests between the two."""
    default = next((entry for entry in board.entries if is_default(entry)), None)
    if default is None:
        return ""
    entries = {name: Entry({}, runs) for name, runs in others.items()}
    p_values = [difference_p(default.contributions(), entry.contributions()) for entry in entries.values()]
    lines = ["| what | margin [95 %] | of the seeds | leakage | content | p against the default |", "|---|---|---|---:|---:|---:|"]

    def row(name: str, entry: Entry, p: str) -> str:
        return (
            f"| {name} | {number(entry.margin)}{interval_text(entry)} | {seeds_text(entry.runs)} | {number(entry.mean('leakage'))} "
            f"| {number(entry.mean('content'))} | {p} |"
        )

    lines.append(row("the default: " + ", ".join(text for _, text in VARIATIONS.values()), default, ""))
    for (name, entry), p in zip(entries.items(), holm(p_values), strict=True):
        lines.append(row(VARIATIONS[name][0], entry, "–" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"))
    return "\n".join(lines) + "\n"
