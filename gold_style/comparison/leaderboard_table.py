"""The leaderboard of many runs: for the terminal, and as leaderboard.csv with a row per run."""

import csv
import io
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gold_style.comparison.leaderboard import REACHED, Entry, Leaderboard, short_names, value_text
from gold_style.comparison.records import Run
from gold_style.show.tables import interval_text, share

SHOWN_ENTRIES, SHOWN_FAILED = 20, 10  # in the terminal; the csv and the page hold all
WIDEST_VALUE = 18  # characters of a setting in the terminal
SHARES = ("margin", "chosun_rate", "leakage", "content", "degenerate", "ambiguous")


def count(value: float | None) -> str:
    """A number of tokens or seconds in few characters; a dash where it is not known."""
    if value is None:
        return "–"
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if suffix == 'k' else size):.3g}{suffix}"
    return f"{value:.0f}"


def p_text(entry: Entry) -> str:
    """Corrected p against the best entry: empty for the best itself, a dash where it was not tested."""
    if entry.rank in (1, None):
        return ""
    return "–" if entry.p_corrected is None else "<.001" if entry.p_corrected < 0.001 else f"{entry.p_corrected:.3f}"


def completed(entry: Entry) -> str:
    """Completed runs of an entry, of how many."""
    return f"{sum(run.status == 'completed' for run in entry.runs)}/{len(entry.runs)}"


def leaderboard_table(board: Leaderboard) -> Table:
    """The best entries, a row each."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("#", justify="right")
    for name in short_names(board.varied):
        table.add_column(name, overflow="fold", min_width=min(len(name), 8), max_width=WIDEST_VALUE)
    headings = ["margin", "95%", "leak", "cont.", "runs", "secs", "tokens", f"to {REACHED:g}", "p"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in board.entries[:SHOWN_ENTRIES]:
        tokens_to, _ = entry.tokens_to_reach
        table.add_row(
            str(entry.rank or "–"),
            *(value_text(value) for value in entry.settings.values()),
            share(entry.margin),
            Text(interval_text(entry.interval), style="dim"),
            share(entry.mean("leakage")),
            share(entry.mean("content")),
            completed(entry),
            count(entry.seconds),
            count(entry.tokens),
            count(tokens_to),
            p_text(entry),
            style="bold" if entry.rank == 1 else "",
        )
    return table


def print_leaderboard(board: Leaderboard, console: Console) -> None:
    """Print how the runs ended, the best entries, what the columns mean, and the failed runs with their reasons."""
    console.print(f"{len(board.runs)} runs: {board.count()}. Varied: {', '.join(board.varied) or 'nothing'}.", highlight=False)
    console.print(leaderboard_table(board))
    if len(board.entries) > SHOWN_ENTRIES:
        console.print(f"... and {len(board.entries) - SHOWN_ENTRIES} more in leaderboard.csv", style="dim")
    console.print(
        "margin: mean over seeds, with its interval over requests and seeds; leak: leakage; cont.: content kept; "
        "runs: completed of all; "
        f"to {REACHED:g}: tokens until {REACHED:g} of the teacher's margin; p: against the best, over requests, Holm",
        style="dim",
        highlight=False,
    )
    for run in board.failed[:SHOWN_FAILED]:
        console.print(Text(f"{run.status}: {run.directory}: {run.reason or 'no reason recorded'}", style="yellow"))
    for run in [run for run in board.mended if run.status == "completed"][:SHOWN_FAILED]:
        console.print(Text(f"completed: {run.directory}: {'; '.join(run.history)}", style="dim"))
    if len(board.failed) > SHOWN_FAILED:
        console.print(f"... and {len(board.failed) - SHOWN_FAILED} more that are not completed, in leaderboard.csv", style="dim")


def leaderboard_csv(board: Leaderboard) -> str:
    """leaderboard.csv: a row per run, best entry first, with the entry's own numbers under `entry_...`."""
    text = io.StringIO()
    rows = [csv_row(run, before, behind) for before, behind, runs in map(entry_columns, board.entries) for run in runs]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["rank"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def entry_columns(entry: Entry) -> tuple[dict[str, Any], dict[str, Any], list[Run]]:
    """What all runs of an entry share: the columns before and behind their own, and the runs."""
    low, high = entry.interval or (None, None)
    behind = {
        "entry_margin": entry.margin,
        "entry_margin_low": low,
        "entry_margin_high": high,
        "entry_seeds": len(entry.scored),
        "entry_p": entry.p_value,
        "entry_p_holm": entry.p_corrected,
    }
    return {key: value_text(value) for key, value in entry.settings.items()} | {"rank": entry.rank}, behind, entry.runs


def csv_row(run: Run, before: dict[str, Any], behind: dict[str, Any]) -> dict[str, Any]:
    """One run as columns; empty where nothing is known."""
    goal = run.teacher_margin
    return {
        "rank": before["rank"],
        "status": run.status,
        **before,
        "seed": run.seed,
        **{name: run.after.get(name) for name in SHARES},
        "prompts": run.after.get("prompts"),
        "teacher_margin": goal,
        "gap_closed": run.summary.get("gap_closed"),
        "steps": run.steps,
        "seconds": run.seconds,
        "tokens": run.tokens,
        "tokens_to_0.9_of_teacher": run.tokens_to(REACHED * goal) if goal is not None and goal > 0 else None,
        **behind,
        "reason": run.reason,
        "history": "; ".join(run.history),
        "directory": str(run.directory),
        "command": run.repeat_command,
    }
