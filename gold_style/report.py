"""Draw report.html of a run again, from its files: `python -m gold_style.report RUN [RUN ...]`."""

import argparse
import sys
from pathlib import Path

from gold_style.show.report import write_report


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 for a directory that holds no run."""
    parser = argparse.ArgumentParser(prog="python -m gold_style.report", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run directory (with run.json or summary.json)"
    )
    runs = parser.parse_args(arguments).runs
    wrong = [run for run in runs if not any((run / name).is_file() for name in ("run.json", "summary.json"))]
    if wrong:
        for run in wrong:
            print(f"{run}: no run directory (neither run.json nor summary.json in it)", file=sys.stderr)
        return 2
    for run in runs:
        print(write_report(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
