"""Draw report.html again: `python -m gold_style.report RUN [RUN ...]`.

Draws report.html of runs again, from their files. With --markdown, prints table and some answers instead, as in the README.
"""

import argparse
from pathlib import Path

from gold_style.runs.files import read_json, read_json_lines
from gold_style.show.answers import answers_markdown
from gold_style.show.report import write_report
from gold_style.show.summary_table import summary_markdown, without_misspelt


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0. Raises ValueError for directories that hold no run, naming all of them."""
    parser = argparse.ArgumentParser(prog="python -m gold_style.report", description=__doc__.split("\n\n")[1])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run directory (with run.json or summary.json)")
    parser.add_argument("--markdown", action="store_true", help="print the summary and some answers as Markdown; write nothing")
    asked = parser.parse_args(arguments)
    wrong = [run for run in asked.runs if not any((run / name).is_file() for name in ("run.json", "summary.json"))]
    if wrong:
        raise ValueError("\n".join(f"{run}: no run directory (neither run.json nor summary.json in it)" for run in wrong))
    for run in asked.runs:
        print(markdown(run) if asked.markdown else write_report(run))
    return 0


def markdown(run: Path) -> str:
    """The table of a finished run and the answers to two requests; says so where the run has no summary.

    Raises ValueError for a summary that cannot be read.
    """
    if not (run / "summary.json").is_file():
        return f"{run}: not finished, no summary.json"
    summary = read_json(run / "summary.json")
    if summary is None:
        raise ValueError(f"{run / 'summary.json'}: not a JSON object")
    rows = without_misspelt(list(read_json_lines(run / "samples.jsonl")), summary)
    return f"{summary_markdown(summary)}\n{answers_markdown(rows)}"
