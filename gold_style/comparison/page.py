"""compare.html: the leaderboard of many runs with heatmap, curves, costs, answers side by side, failures, commands.

One self-contained file, also for a thousand runs: curves are drawn for the best entries only, and most of those in grey.

Example: `compare_html(leaderboard(runs))`.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from gold_style.comparison.charts import costs, curves, heatmap
from gold_style.comparison.leaderboard import Leaderboard, settings_text
from gold_style.comparison.leaderboard_table import TEXTS, leaderboard_columns, run_link
from gold_style.comparison.records import RunRecord
from gold_style.comparison.verdict import sentence
from gold_style.measure.rates import mean
from gold_style.show import page as pages
from gold_style.show.answers import tag_text
from gold_style.show.page import contents, folded, grid, html, page, section, warning
from gold_style.show.summary_table import toggle_of, without_misspelt
from gold_style.show.tables import Cell, Column, code, html_table, share
from gold_style.show.words import both, language

SCRIPT = pages.SCRIPT + Path(__file__).with_name("page.js").read_text(encoding="utf-8")
SAMPLE_REQUESTS = 6
FEW_ROWS = 10  # of the leaderboard, which need no filter
FILTER = '<input type="search" placeholder="filter rows" aria-label="filter rows">'


def compare_html(board: Leaderboard, base: Path | None = None) -> str:
    """The page of a leaderboard; a page in the directory `base` links to the reports of the runs."""
    drawn = heatmap(board)
    runs = [run for entry in board.entries for run in entry.runs]
    every = runs_html(board, runs, base, "#", "status", "settings", "margin", "command")
    failed = warning(f"{len(board.failed)} of {len(board.runs)} runs are not completed.") if board.failed else ""
    facts = f"{board.outcome} · varied: {', '.join(board.varied) or 'nothing'}"
    sections = [
        section("Leaderboard", leaderboard_html(board, base)),
        section("What it costs", grid(costs(board))),
        section("Heatmap", drawn.figure() if drawn else ""),
        section("Curves", grid(curves(board))),
        section("Answers side by side", side_by_side(board)),
        section("Not completed", failed + runs_html(board, board.failed, base, "status", "reason", "settings", "directory")),
        section("Resumed or run again", runs_html(board, board.mended, base, "status", "what happened before", "settings")),
        section("Every run", folded(f"{len(runs)} runs and the commands that repeat them", every)),
    ]
    first = f"<h1>{both(f'Comparison of {len(board.runs)} runs')}</h1>{leader(board)}<p class=soft>{escape(facts)}</p>"
    return page("Comparison of runs · gold_style", [contents(sections), first, *sections], SCRIPT, language())


def leader(board: Leaderboard) -> str:
    """What the comparison concludes, and the best entry's three numbers."""
    best = board.best
    if best is None:
        return html("conclusion", board.entries[0].code if board.entries else "unknown", sentence(board))
    after = {name: best.mean(name) for name in ("margin", "leakage", "untagged")}
    teacher = {"margin": mean([run.teacher_margin for run in best.scored])}
    neutral = tag_text(toggle_of(best.scored[0].summary)["neutral"])
    name = f"<p>{both(f'leader: {best.name}')}</p>"
    return "".join(
        [html("conclusion", best.code, sentence(board)), name, html("numbers", after, {"margin": best.interval}, teacher, neutral)]
    )


def leaderboard_html(board: Leaderboard, base: Path | None) -> str:
    """A row per entry, sorted by a click on a heading, with a filter."""
    body = html_table(leaderboard_columns(board.varied, base), board.entries, kind="board", best=lambda entry: entry is board.best)
    return f"{FILTER if len(board.entries) > FEW_ROWS else ''}{body}<p class=soft>{TEXTS['note']}</p>"


def side_by_side(board: Leaderboard) -> str:
    """The same requests answered by the best entries, by the last one, and by the teacher."""
    scored = [entry for entry in board.entries if entry.scored]
    shown = scored[:3] + scored[3:][-1:]
    if not shown:
        return ""
    runs = [entry.scored[0] for entry in shown]
    read = [{(row["request"], row["style"]): row for row in without_misspelt(run.samples, run.summary)} for run in runs]
    answers = [(f"#{entry.rank or '–'} {entry.name}", rows, "after") for entry, rows in zip(shown, read, strict=True)]
    answers.append(("teacher", read[0], "teacher"))
    requests: dict[str, list[str | None]] = {}  # in common -> their tags
    for request, tag in read[0]:
        if all((request, tag) in rows for rows in read):
            requests.setdefault(request, []).append(tag)
    target = toggle_of(runs[0].summary)["target"]
    blocks = []
    for request, tags in list(requests.items())[:SAMPLE_REQUESTS]:
        columns = [(tag, [(who, rows[request, tag], model) for who, rows, model in answers], False) for tag in tags]
        blocks.append(html("sample", request, columns, target))
    return "".join(blocks)


def runs_html(board: Leaderboard, runs: Sequence[RunRecord], base: Path | None, *shown: str) -> str:
    """A row per run, with the columns of these headings. Settings: those that varied, and the seed."""
    ranks = {run.directory: entry.rank for entry in board.entries for run in entry.runs}
    columns = [
        Column("#", lambda run: ranks[run.directory], right=True),
        Column("status", lambda run: run.status),
        Column("reason", lambda run: run.reason or "no reason recorded"),
        Column("what happened before", lambda run: "; ".join(run.history)),
        Column("settings", lambda run: settings_text({**{key: run.settings.get(key) for key in board.varied}, "seed": run.seed})),
        Column("margin", lambda run: share(run.after.get("margin")), right=True),
        Column("directory", lambda run: Cell("", run_link(run, base, str(run.directory)), "")),
        Column("command", lambda run: code(run.repeat_command)),
    ]
    return html_table([column for column in columns if column.heading in shown], runs)
