"""leaderboard.csv and the terminal."""

import csv
import io
import shlex

from rich.console import Console

from gold_style.comparison.leaderboard import leaderboard
from gold_style.comparison.leaderboard_table import leaderboard_csv, print_leaderboard
from gold_style.comparison.records import read_runs


def test_csv_has_a_row_per_run_with_its_command(sweep):
    board = leaderboard(read_runs([sweep]))
    rows = list(csv.DictReader(leaderboard_csv(board).splitlines()))
    assert len(rows) == 8 and list(rows[0])[:5] == ["rank", "status", "loss.beta", "loss.lmbda", "seed"]
    by_directory = {row["directory"]: row for row in rows}
    for run in board.runs:
        row = by_directory[str(run.directory)]
        assert shlex.split(row["command"]) == ["python", "train.py", f"reproduce={run.directory}"]
        assert row["margin"] == ("" if run.status != "completed" else str(run.after["margin"]))
        assert row["reason"] == (run.reason or "")


def test_terminal_says_how_the_sweep_ended(sweep):
    console = Console(width=80, record=True, file=io.StringIO())
    print_leaderboard(leaderboard(read_runs([sweep])), console)
    text = " ".join(console.export_text().split())
    assert "8 runs: 6 completed, 1 failed, 1 interrupted. Varied: loss.beta, loss.lmbda." in text
    assert "NonFinite: loss is nan at step 31" in text and "# beta lmbda margin" in text
