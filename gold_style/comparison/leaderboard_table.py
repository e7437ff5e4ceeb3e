"""The columns of a leaderboard, in the terminal and in compare.html, and leaderboard.csv with a row per run."""

import csv
import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from rich.console import Console
from rich.text import Text

from gold_style.comparison.leaderboard import Entry, Leaderboard, completed, p_text, short_names, value_text
from gold_style.comparison.records import REACHED, RunRecord
from gold_style.comparison.verdict import sentence
from gold_style.show.tables import Cell, Column, amount, interval_text, share, terminal_table

TEXTS = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
SHOWN_ENTRIES, SHOWN_FAILED = 20, 10  # in the terminal; the csv and the page hold all
SCORES = ("margin", "chosun_rate", "leakage", "untagged", "content", "degenerate", "ambiguous", "prompts", *TEXTS["retention"])


def leaderboard_columns(varied: Sequence[str], base: Path | None = None) -> list[Column]:
    """The columns over entries of a leaderboard; in HTML with links from a page in `base` to the reports of the runs."""
    settings = zip(short_names(varied), varied, strict=True)
    return [
        Column("#", lambda entry: entry.rank, "#", right=True),
        *(Column(name, lambda entry, key=key: value_text(entry.settings[key]), name) for name, key in settings),
        Column("verdict", lambda entry: entry.code.replace("_", " ") if entry.scored else None),
        Column("margin", lambda entry: share(entry.margin, entry.interval), "margin", right=True),
        Column(None, lambda entry: Text(interval_text(entry.interval), style="dim"), "95%", right=True),
        Column("target rate", lambda entry: share(entry.mean("chosun_rate")), right=True),
        Column("leakage", lambda entry: share(entry.mean("leakage")), "leak", right=True),
        Column("untagged", lambda entry: share(entry.mean("untagged")), "untag", right=True),
        Column("content", lambda entry: share(entry.mean("content")), "cont.", right=True),
        *(Column(heading, lambda entry, key=key: share(entry.mean(key)), right=True) for key, heading in TEXTS["retention"].items()),
        Column("runs", lambda entry: runs_cell(entry, base), "runs", right=True),
        Column("seconds", lambda entry: amount(entry.mean("seconds")), "secs", right=True),
        Column("tokens", lambda entry: amount(entry.mean("tokens")), "tokens", right=True),
        Column(f"tokens to {REACHED:g} of teacher", tokens_to_reach, f"to {REACHED:g}", right=True),
        Column("p against best", lambda entry: p_text(entry.p_corrected) if entry.p_corrected is not None else "", "p", right=True),
    ]


def runs_cell(entry: Entry, base: Path | None) -> Cell:
    """How many runs completed, and where their reports are."""
    links = " ".join(run_link(run, base, run.directory.name) for run in entry.runs)
    return Cell(completed(entry.runs), f"{completed(entry.runs)}<small>{links}</small>", completed(entry.runs))


def run_link(run: RunRecord, base: Path | None, text: str) -> str:
    """HTML of a link from `base` to a run's report; only the text where there is none."""
    page = run.directory / "report.html"
    address = quote(os.path.relpath(page, base or "."))
    return f'<a href="{address}">{escape(text)}</a>' if base and page.is_file() else escape(text)


def tokens_to_reach(entry: Entry) -> Cell:
    """Tokens until a share of the teacher's margin, and how many runs got there where not all did."""
    tokens, reached = entry.tokens_to_reach
    return amount(tokens, f"{reached} of {len(entry.scored)}" if reached != len(entry.scored) else "")


def print_leaderboard(board: Leaderboard, console: Console) -> None:
    """Print how the runs ended, the best entries, what the columns mean, and the failed runs with their reasons."""
    console.print(
        f"{len(board.runs)} run{'s' * (len(board.runs) != 1)}: {board.outcome}. Varied: {', '.join(board.varied) or 'nothing'}.",
        highlight=False,
    )
    console.print(Text(sentence(board), style="bold"))
    console.print(terminal_table(leaderboard_columns(board.varied), board.entries[:SHOWN_ENTRIES], best=lambda entry: entry is board.best))
    if len(board.entries) > SHOWN_ENTRIES:
        console.print(f"... and {len(board.entries) - SHOWN_ENTRIES} more in leaderboard.csv", style="dim")
    console.print(TEXTS["legend"].format(reached=REACHED), style="dim", highlight=False)
    for run in board.failed[:SHOWN_FAILED]:
        console.print(Text(f"{run.status}: {run.directory}: {run.reason or 'no reason recorded'}", style="yellow"))
    for run in [run for run in board.mended if run.status == "completed"][:SHOWN_FAILED]:
        console.print(Text(f"completed: {run.directory}: {'; '.join(run.history)}", style="dim"))
    if len(board.failed) > SHOWN_FAILED:
        console.print(f"... and {len(board.failed) - SHOWN_FAILED} more that are not completed, in leaderboard.csv", style="dim")


def leaderboard_rows(board: Leaderboard) -> list[dict[str, Any]]:
    """A row per run, best entry first, with the entry's own numbers under `entry_...`; None where nothing is known."""
    return [csv_row(entry, run) for entry in board.entries for run in entry.runs]


def csv_row(entry: Entry, run: RunRecord) -> dict[str, Any]:
    low, high = entry.interval or (None, None)
    return {
        "rank": entry.rank,
        "status": run.status,
        **{key: value_text(value) for key, value in entry.settings.items()},
        "seed": run.seed,
        **{name: run.numbers.get(name) for name in SCORES},
        "verdict": run.code,
        "teacher_margin": run.teacher_margin,
        "gap_closed": run.summary.get("gap_closed"),
        **{name: run.numbers[name] for name in ("steps", "seconds", "tokens")},
        f"tokens_to_{REACHED:g}_of_teacher": run.tokens_to_reach,
        "entry_margin": entry.margin,
        "entry_margin_low": low,
        "entry_margin_high": high,
        "entry_seeds": len(entry.scored),
        "entry_p": entry.p_value,
        "entry_p_holm": entry.p_corrected,
        "reason": run.reason,
        "history": "; ".join(run.history),
        "directory": str(run.directory),
        "command": run.repeat_command,
    }


def leaderboard_csv(board: Leaderboard) -> str:
    """The rows as leaderboard.csv."""
    text, rows = io.StringIO(), leaderboard_rows(board)
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["rank"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
