"""Runs of the study -> tables and figures of docs/study_beta_lmbda.md; what is outside the markers is kept."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gold_style.comparison.charts import metric_chart
from gold_style.comparison.leaderboard import Entry, Leaderboard, difference_p, leaderboard, mean, p_text, value_text
from gold_style.comparison.records import RunRecord, read_runs
from gold_style.measure.statistics import holm
from gold_style.runs.files import write_text
from gold_style.show.svg import Chart, heat_chart
from gold_style.show.tables import Column, amount, markdown_table, number, share

KEYS = ("loss.beta", "loss.lmbda")
DEFAULT = {"loss.beta": 0.3, "loss.lmbda": 1.0}
MARKERS = re.compile(r"(<!-- study -->\n).*?(<!-- /study -->)", re.DOTALL)
VARIATIONS = {
    "warm_start": ("20 steps of teacher-written text first", "no warm start"),
    "teacher_prompt": ("teacher reads only the row's own rule", "teacher reads every style's rule"),
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
    charts = {"heatmap": grid_heatmap(grid)}
    for name, title, unit in (("style/margin", "Margin", "share"), ("style/leakage", "Leakage", "share"), ("train/loss", "Loss", "nats")):
        charts[name.split("/")[1]] = chart(grid, name, title, unit)
    for name, drawn in charts.items():
        write_text(figures / f"{name}.svg", drawn.file() if drawn else "")
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


def facts(grid: Leaderboard, others: dict[str, list[RunRecord]], shared: Sequence[str]) -> str:
    """How many runs, how long, of what: from the run files."""
    runs = [*grid.runs, *(run for found in others.values() for run in found)]
    done = [run for run in runs if run.status == "completed"]
    seconds = mean([run.numbers["seconds"] for run in done]) or 0.0
    state = done[0].state if done else {}
    packages = state.get("packages") or {}
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers", "trl") if name in packages)
    teacher = sorted({round(run.teacher_margin, 3) for run in done if run.teacher_margin is not None})
    return (
        f"{len(runs)} runs, {len(done)} completed; {seconds:.0f} s of training each on one thread of a shared core "
        f"({state.get('device') or 'CPU'}; {versions}). Teacher's margin: {', '.join(map(str, teacher))}. "
        f"Every run: `{' '.join(shared)}`.\n"
    )


def seeds_text(runs: Sequence[RunRecord]) -> str:
    """Margins of the single seeds, in order."""
    ordered = sorted(runs, key=lambda run: run.seed or 0)
    return " ".join(number(run.after.get("margin")) for run in ordered)


def is_default(entry: Entry) -> bool:
    return all(float(entry.settings.get(key, -1)) == value for key, value in DEFAULT.items())


def measured() -> list[Column]:
    """The columns that the grid and the variations share, over entries."""
    return [
        Column("margin [95 %]", lambda entry: share(entry.margin, entry.interval)),
        Column("of the seeds", lambda entry: seeds_text(entry.runs)),
        Column("leakage", lambda entry: share(entry.mean("leakage")), right=True),
        Column("content", lambda entry: share(entry.mean("content")), right=True),
    ]


def grid_table(board: Leaderboard) -> str:
    columns = [
        Column("#", lambda entry: entry.rank, right=True),
        Column("beta", lambda entry: value_text(entry.settings[KEYS[0]]), right=True),
        Column("lmbda", lambda entry: value_text(entry.settings[KEYS[1]]), right=True),
        *measured(),
        Column("tokens", lambda entry: amount(entry.mean("tokens")), right=True),
        Column("to 0.9 of teacher", lambda entry: amount(entry.tokens_to_reach[0], f"{entry.tokens_to_reach[1]} of {len(entry.scored)}")),
        Column("s", lambda entry: amount(entry.mean("seconds")), right=True),
        Column("p against best", lambda entry: "" if entry.rank == 1 else p_text(entry.p_corrected), right=True),
    ]
    return markdown_table(columns, board.entries)


def grid_heatmap(board: Leaderboard) -> Chart:
    places = {tuple(value_text(entry.settings[key]) for key in KEYS): entry for entry in board.entries}
    cells = {place: (entry.margin, seeds_text(entry.scored)) for place, entry in places.items()}
    return heat_chart(cells, title="Margin: mean of the seeds, and each seed", names=("beta", "lmbda"))


def chart(board: Leaderboard, name: str, title: str, unit: str) -> Chart | None:
    """The default and the four corners in colour, the others in grey."""
    values = [sorted({float(entry.settings[key]) for entry in board.entries}) for key in KEYS]
    corners = [(beta, lmbda) for beta in (values[0][0], values[0][-1]) for lmbda in (values[1][0], values[1][-1])]
    drawn = []
    for entry in board.entries:
        place = tuple(float(entry.settings[key]) for key in KEYS)
        drawn.append((entry, 0 if is_default(entry) else 1 + corners.index(place) if place in corners else None))
    return metric_chart(drawn, name, title, unit)


def variation_table(board: Leaderboard, others: dict[str, list[RunRecord]]) -> str:
    """Each variation beside the default, with the paired test over requests between the two."""
    default = next((entry for entry in board.entries if is_default(entry)), None)
    if default is None:
        return ""
    entries = {name: Entry({}, runs) for name, runs in others.items()}
    p_values = holm([difference_p(default.contributions(), entry.contributions()) for entry in entries.values()])
    rows = [("the default: " + ", ".join(text for _, text in VARIATIONS.values()), default, "")]
    rows += [(VARIATIONS[name][0], entry, p_text(p)) for (name, entry), p in zip(entries.items(), p_values, strict=True)]
    columns = [Column("what", lambda row: row[0])]
    columns += [Column(column.heading, lambda row, cell=column.cell: cell(row[1]), right=column.right) for column in measured()]
    return markdown_table([*columns, Column("p against the default", lambda row: row[2], right=True)], rows)
