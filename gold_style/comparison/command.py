"""Compare runs by their files: `python -m gold_style.compare DIR [DIR ...] [--output DIR]`.

Compares runs by their files. Every run in or below the directories counts, whatever its date or status. Prints a
leaderboard, and writes leaderboard.csv and compare.html. Nothing is sent anywhere without --wandb.
"""

import argparse
import shlex
from pathlib import Path

from rich.console import Console

from gold_style.comparison.leaderboard import Leaderboard, leaderboard
from gold_style.comparison.leaderboard_table import leaderboard_csv, print_leaderboard
from gold_style.comparison.page import compare_html
from gold_style.comparison.records import read_runs
from gold_style.comparison.verdict import sentence
from gold_style.comparison.wandb_board import publish
from gold_style.runs.files import write_text
from gold_style.runs.redact import say
from gold_style.show.tables import interval_text


def compare(directories: list[Path], output: Path) -> Leaderboard:
    """Read the runs, write both files into `output` (made if need be), return the leaderboard.

    Raises ValueError for directories that are not there or hold no run, and for an output that cannot be made.
    """
    board = leaderboard(read_runs(directories, lambda text: say(f"warning: {text}")))
    if not board.runs:
        raise ValueError(f"no run (a directory with run.json) in {', '.join(map(str, directories))}")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output {output}: cannot be made: {error.strerror}") from None
    write_text(output / "leaderboard.csv", leaderboard_csv(board))
    write_text(output / "compare.html", compare_html(board, output))
    return board


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0. Raises ValueError where there is nothing to compare."""
    parser = argparse.ArgumentParser(prog="python -m gold_style.compare", description=__doc__.split("\n\n")[1])
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="a run, a sweep, or a directory above them")
    parser.add_argument("--output", type=Path, help="directory for leaderboard.csv and compare.html (default: the first DIR)")
    parser.add_argument("--wandb", action="store_true", help="also publish table, heatmap and page as one W&B run (offline without a key)")
    given = parser.parse_args(arguments)
    output = given.output or given.directories[0]
    board = compare(given.directories, output)
    lines = publish(board, output, given.directories) if given.wandb else []
    print_leaderboard(board, Console())
    page = (output / "compare.html").resolve()
    best = board.best
    leader = f"{best.name}: margin {best.margin:.2f} {interval_text(best.interval)}".rstrip() if best else f"none, {sentence(board)}"
    opened = shlex.join(["python", "-m", "webbrowser", page.as_uri()])
    print(output / "leaderboard.csv", output / "compare.html", *lines, f"leader: {leader}", f"open the page: {opened}", sep="\n")
    return 0
