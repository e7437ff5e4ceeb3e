"""Earlier attempts of a sweep's jobs: kept in <sweep>/.failed/<n>.<k>, where searches for runs do not look.

Example: `earlier_attempts(Path("multirun/x/y/4"))` is the run.json of each failed attempt of job 4, oldest first.
"""

import os
from pathlib import Path

from gold_style.runs.files import read_json
from gold_style.runs.run_directory import STATE

FAILED = ".failed"


def put_aside(directory: Path) -> None:
    """Move a failed attempt out of the sweep; what it left can still be read."""
    aside = directory.parent / FAILED
    aside.mkdir(exist_ok=True)
    os.rename(directory, next(path for k in range(1, 10**6) if not (path := aside / f"{directory.name}.{k}").exists()))


def earlier_attempts(directory: Path) -> list[dict]:
    """run.json of the failed attempts of a job, oldest first."""
    aside = directory.parent / FAILED
    if not aside.is_dir():
        return []
    found = sorted(aside.glob(f"{directory.name}.*"), key=lambda path: int(path.suffix[1:]))
    return [state for path in found if (state := read_json(path / STATE))]
