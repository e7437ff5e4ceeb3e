"""Ask people: `python -m gold_style.annotate RUN` writes a blind sheet, `... RUN --read FILE [FILE ...]` reads it back.

Without --read: writes a blind sheet for raters, as an HTML page and as a CSV for a spreadsheet, and annotation_key.json,
which says whose answer each item is and stays in the run's directory. With --read: reads filled sheets and writes
annotations.json: rates per model and tag, agreement between raters and with our own verdicts. docs/judges.md says more.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from gold_style.opinions.annotation_summary import annotation_lines, annotation_summary
from gold_style.opinions.filled_sheets import read_sheets
from gold_style.opinions.labels import rater_labels
from gold_style.opinions.rated_run import RatedRun, run_parser, whole
from gold_style.opinions.sheets import KEY_FILE, draw_sheet, read_key, sheet_csv, sheet_html
from gold_style.runs.files import write_json, write_text
from gold_style.runs.redact import say

NUMBER = 120  # answers on a sheet: about an hour


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0. Raises ValueError and OSError for mistakes of the user, each named on a line."""
    asked = parse(arguments)
    run = RatedRun.read(asked.run, asked.config)
    if asked.read:
        read(run, asked.read)
    else:
        write(run, asked.output or asked.run / "annotation.html", asked.number, asked.seed)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = run_parser("annotate", __doc__.split("\n\n")[1])
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page (default: RUN/annotation.html); the CSV has the same name")
    parser.add_argument("--number", type=whole(1), default=NUMBER, help=f"answers on the sheet (default: {NUMBER})")
    parser.add_argument("--read", nargs="+", type=Path, metavar="FILE", help="filled sheets to read, JSON or CSV, one per rater")
    asked = parser.parse_args(arguments)
    if asked.output and asked.output.suffix.lower() not in (".html", ".htm"):
        parser.error(f"argument --output: {asked.output} does not end in .html")
    return asked


def write(run: RatedRun, output: Path, number: int, seed: int) -> None:
    """Write page, CSV and key, and print the paths. Earlier sheets keep their place in the key."""
    sheet, labels, key = draw_sheet(run.samples, run.pack, number, seed), rater_labels(run.pack), read_key(run.directory)
    key["sheets"][sheet.name] = sheet.key()
    write_json(run.directory / KEY_FILE, key)  # first: a sheet without its key is lost work
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, sheet_html(sheet, labels))
    write_text(output.with_suffix(".csv"), sheet_csv(sheet, labels))
    if len(sheet.answers) < number:
        say(f"samples.jsonl has only {len(sheet.answers)} different answers, {number} were asked for")
    say(f"{len(sheet.answers)} answers; give raters one of these files, and keep {run.directory / KEY_FILE} to yourself:")
    print(output, output.with_suffix(".csv"), sep="\n")


def read(run: RatedRun, files: Sequence[Path]) -> None:
    """Write annotations.json and print what it says. Raises ValueError with every mistake in the files."""
    key, output = read_key(run.directory), run.directory / "annotations.json"
    if not key["sheets"]:
        raise ValueError(f"{run.directory / KEY_FILE}: not there, and only it knows whose answers the sheets show")
    ratings = read_sheets(files, key["sheets"], rater_labels(run.pack))
    summary = annotation_summary(ratings, key["sheets"], run.samples, run.toggle)
    write_json(output, summary | {"files": [str(path) for path in files]})
    print(*annotation_lines(summary), output, sep="\n")
