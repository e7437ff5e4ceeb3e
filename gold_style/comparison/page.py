"""compare.html: the leaderboard of many runs with heatmap, curves, costs, answers side by side, failures, commands.

One self-contained file, also for a thousand runs: curves are drawn for the best entries, the others stand in grey.

Example: `compare_html(leaderboard(runs))`.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from gold_style.comparison.leaderboard import REACHED, Entry, Leaderboard, mean, pareto, short_names, value_text
from gold_style.comparison.leaderboard_table import completed, count, p_text
from gold_style.comparison.records import Run
from gold_style.runs.files import read_json_lines
from gold_style.show.page import folded, number, page, section, table, verdict_badge, warning, with_interval
from gold_style.show.svg import Curve, Point, line_chart, scatter
from gold_style.show.tables import toggle_of

SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
COLOURED, QUIET = 6, 30  # entries with a colour of their own in the curves, and in grey
MAX_POINTS = 120  # of a curve
SAMPLE_REQUESTS = 6
HEATMAP = ("loss.beta", "loss.lmbda")  # drawn where both varied; else the first two varied settings
CURVES = (("style/margin", "Margin (live)", "share"), ("style/leakage", "Leakage (live)", "share"), ("train/loss", "Loss", "nats"))


def compare_html(board: Leaderboard) -> str:
    """The page of a leaderboard."""
    varied = ", ".join(board.varied) or "nothing"
    facts = f"{board.count()} · varied: {varied}"
    return page(
        "Comparison of runs · gold_style",
        [
            f"<h1>Comparison of {len(board.runs)} runs</h1><p class=soft>{escape(facts)}</p>",
            section("Leaderboard", board_table(board)),
            section("Heatmap", heatmap(board)),
            section("Curves", curves(board)),
            section("What it costs", costs(board)),
            section("Answers side by side", side_by_side(board)),
            section("Not completed", failed_table(board)),
            section("Resumed or run again", mended_table(board)),
            section("Every run", run_table(board)),
        ],
        SCRIPT,
    )


def board_table(board: Leaderboard) -> str:
    """A row per entry, sorted by a click on a heading, with a filter."""
    heads = ["#", *short_names(board.varied), "margin", "target rate", "leakage", "content", "runs", "seconds", "tokens"]
    heads += [f"tokens to {REACHED:g} of teacher", "p against best"]
    settings, rows = len(board.varied), []
    for entry in board.entries:
        tokens_to, reached = entry.tokens_to_reach
        of_runs = f"<small>{reached} of {len(entry.scored)}</small>" if reached != len(entry.scored) else ""
        rows.append(
            [
                str(entry.rank or "–"),
                *(escape(value_text(value)) for value in entry.settings.values()),
                with_interval(entry.margin, entry.interval),
                *(number(entry.mean(key)) for key in ("chosun_rate", "leakage", "content")),
                completed(entry),
                *(sortable(value) for value in (entry.seconds, entry.tokens)),
                sortable(tokens_to, of_runs),
                escape(p_text(entry)),
            ]
        )
    buttons = [f"<button class=sort>{escape(head)}</button>" for head in heads]
    best = ["best" if entry.rank == 1 else "" for entry in board.entries]
    body = table(buttons, rows, numbers=range(1 + settings, len(heads)), row_class=best, kind="board")
    note = (
        "Runs that differ in the seed alone are one row. Margin: mean over seeds, 95% interval over requests and "
        "seeds. p: sign-flip permutation test on the margin of each request, seeds averaged, corrected for all "
        "pairs of rows, since the best is chosen by the same answers (Holm): it speaks of other requests, not of other seeds."
    )
    filter_field = '<input type="search" placeholder="filter rows" aria-label="filter rows">'
    return f"{filter_field if len(rows) > 10 else ''}{body}<p class=soft>{note}</p>"


def sortable(value: float | None, after: str = "") -> str:
    """A count with its exact value for sorting."""
    return f'<span data-value="{"" if value is None else value}">{count(value)}</span>{after}'


def heatmap(board: Leaderboard) -> str:
    """Mean margin over two settings; the other settings and the seeds are averaged."""
    keys = HEATMAP if set(HEATMAP) <= set(board.varied) else tuple(board.varied[:2])
    if len(keys) < 2:
        return ""
    cells: dict[tuple[str, str], list[Entry]] = {}
    for entry in board.entries:
        cells.setdefault(tuple(value_text(entry.settings[key]) for key in keys), []).append(entry)
    down, across = (sorted({cell[axis] for cell in cells}, key=natural) for axis in (0, 1))
    if len(down) * len(across) > 2500:
        return "<p class=soft>Too many combinations for a heatmap.</p>"
    known = [margin for entries in cells.values() if (margin := mean([entry.margin for entry in entries])) is not None]
    scale = (min(known, default=0.0), max(known, default=1.0))
    heads = "".join(f"<th>{escape(value)}</th>" for value in across)
    body = "".join(
        f"<tr><th>{escape(row)}</th>{''.join(heat_cell(cells.get((row, column), []), scale) for column in across)}</tr>" for row in down
    )
    names = [escape(name) for name in short_names(keys)]
    title = f"<p class=soft>Margin: {names[0]} down, {names[1]} across; mean over everything else.</p>"
    grid = f'<table class="heat"><thead><tr><th></th>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return f'{title}<div class="scroll">{grid}</div>'


def heat_cell(entries: Sequence[Entry], scale: tuple[float, float]) -> str:
    """One combination: mean margin, coloured from lowest to highest, and how many runs; grey where none completed."""
    margin, runs = mean([entry.margin for entry in entries]), [run for entry in entries for run in entry.runs]
    done = f"{sum(run.status == 'completed' for run in runs)}/{len(runs)} runs" if runs else "not run"
    if margin is None:
        return f'<td class="none">–<small>{done}</small></td>'
    share = (margin - scale[0]) / (scale[1] - scale[0]) if scale[1] > scale[0] else 1.0
    return f'<td class="cell" style="--share:{share:.3f}">{margin:.2f}<small>{done}</small></td>'


def natural(text: str) -> tuple:
    """Numbers by size, then words."""
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text


def curves(board: Leaderboard) -> str:
    """Margin, leakage and loss over steps: mean over seeds, band from the lowest to the highest seed."""
    figures = []
    for name, title, unit in CURVES:
        drawn = []
        for place, entry in enumerate(board.entries[: COLOURED + QUIET]):
            drawn.append(entry_curve(entry, name, place if place < COLOURED else None))
        y_range = (-0.05, 1.05) if unit == "share" else None
        figures.append(line_chart([curve for curve in drawn if curve.x], title=title, y_label=unit, y_range=y_range))
    inside = "".join(figures)
    return f"<div class=grid-2>{inside}</div>" if inside else ""


def entry_curve(entry: Entry, name: str, colour: int | None) -> Curve:
    """Mean, lowest and highest value over the runs of an entry at every logged step, thinned."""
    values: dict[float, list[float]] = {}
    for run in entry.runs:
        for row in run.metrics:
            if row.get(name) is not None and row.get("step") is not None:
                values.setdefault(row["step"], []).append(row[name])
    steps = sorted(values)
    every = -(-len(steps) // MAX_POINTS) or 1
    steps = [*steps[:-1:every], *steps[-1:]]  # the last one, where a run ends, is always kept
    return Curve(
        entry.name,
        steps,
        [mean(values[step]) for step in steps],
        [min(values[step]) for step in steps] if len(entry.runs) > 1 else None,
        [max(values[step]) for step in steps] if len(entry.runs) > 1 else None,
        colour=colour,
    )


def costs(board: Leaderboard) -> str:
    """Margin against seconds and against tokens; what nothing else beats is filled and joined."""
    figures = []
    for name, label in (("seconds", "seconds of training"), ("tokens", "tokens generated")):
        known = [entry for entry in board.entries if entry.margin is not None and getattr(entry, name) is not None]
        front = pareto([getattr(entry, name) for entry in known], [entry.margin for entry in known])
        points = [
            Point(getattr(entry, name), entry.margin, f"{entry.name}: {entry.margin:.3f}", marked, *(entry.interval or (None, None)))
            for entry, marked in zip(known, front, strict=True)
        ]
        figures.append(scatter(points, title=f"Margin against {label}", x_label=label, y_label="margin"))
    inside = "".join(figures)
    return f"<div class=grid-2>{inside}</div>" if inside else ""


def side_by_side(board: Leaderboard) -> str:
    """The same requests answered by the best entries, by the last one, and by the teacher."""
    scored = [entry for entry in board.entries if entry.scored]
    shown = scored[:3] + (scored[-1:] if len(scored) > 3 else [])
    answers = [(f"#{entry.rank} {entry.name}", rows_by_prompt(entry.scored[0])) for entry in shown]
    if not answers:
        return ""
    target = toggle_of(shown[0].scored[0].summary)["target"]
    common = [prompt for prompt in answers[0][1] if all(prompt in rows for _, rows in answers)]
    requests = list(dict.fromkeys(request for request, _ in common))[:SAMPLE_REQUESTS]
    return "".join(request_block(request, [p for p in common if p[0] == request], answers, target) for request in requests)


def rows_by_prompt(run: Run) -> dict[tuple[str, str | None], dict[str, Any]]:
    """(request, tag) -> line of samples.jsonl; empty where it cannot be read."""
    try:
        return {(row["request"], row["style"]): row for row in read_json_lines(run.directory / "samples.jsonl")}
    except (ValueError, KeyError):
        return {}


def request_block(request: str, prompts: Sequence[tuple], answers: Sequence[tuple[str, dict]], target: str) -> str:
    """One request under every tag, a column per entry and one for the teacher."""
    parts = []
    for prompt in prompts:
        columns = [(name, rows[prompt], "after") for name, rows in answers] + [("teacher", answers[0][1][prompt], "teacher")]
        cells = "".join(
            f"<div><small class=soft>{escape(name)}</small> {verdict_badge(row.get(f'verdict_{model}'), target)}"
            f"<p>{escape(row[model])}</p></div>"
            for name, row, model in columns
            if row.get(model) is not None
        )
        tag = "untagged" if prompt[1] is None else f"<style:{prompt[1]}>"
        parts.append(f"<code>{escape(tag)}</code><div class=answers>{cells}</div>")
    return f"<div class=sample><p><b>{escape(request)}</b></p>{''.join(parts)}</div>"


def failed_table(board: Leaderboard) -> str:
    """Runs that did not complete, with their reason."""
    rows = [
        [
            escape(run.status),
            escape(run.reason or "no reason recorded"),
            settings_text(board, run),
            f"<code>{escape(str(run.directory))}</code>",
        ]
        for run in board.failed
    ]
    said = warning(f"{len(rows)} of {len(board.runs)} runs are not completed.") if rows else ""
    return said + table(["status", "reason", "settings", "directory"], rows) if rows else ""


def mended_table(board: Leaderboard) -> str:
    """Runs that did not end at their first attempt."""
    rows = [[escape(run.status), escape("; ".join(run.history)), settings_text(board, run)] for run in board.mended]
    return table(["status", "what happened before", "settings"], rows) if rows else ""


def settings_text(board: Leaderboard, run: Run) -> str:
    """The varied settings of one run, and its seed."""
    pairs = zip(short_names(board.varied), board.varied, strict=True)
    named = [f"{name} {value_text(run.settings.get(key))}" for name, key in pairs] + [f"seed {run.seed}"]
    return escape(", ".join(named))


def run_table(board: Leaderboard) -> str:
    """Every run with the command that repeats it."""
    rows = [
        [
            str(entry.rank or "–"),
            escape(run.status),
            settings_text(board, run),
            number(run.after.get("margin")),
            f"<code>{escape(run.repeat_command)}</code>",
        ]
        for entry in board.entries
        for run in entry.runs
    ]
    return folded(
        f"{len(rows)} runs and the commands that repeat them", table(["#", "status", "settings", "margin", "command"], rows, numbers=[3])
    )
