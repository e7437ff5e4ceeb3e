"""A completed run to hand on, without training one: the embedded student as student/, made-up answers, a real config."""

import shutil
from pathlib import Path

from gold_style.config.settings import Settings
from tests.helpers.commands import PROJECT
from tests.helpers.run_files import write_run

TINY = PROJECT / "gold_style" / "pairs" / "tiny" / "student"


def finished_run(directory: Path, *overrides: str, student: Path | None = TINY, requests: int = 16, **run) -> Path:
    """`overrides` as on the command line; `student` None: without student/; `run` is what else run.json says, such as its status."""
    config = Settings.compose("tracker=none", *overrides).to_dict()
    write_run(directory, config=config, requests=requests, bootstrap_samples=20, **run)
    if student is not None:
        shutil.copytree(student, directory / "student")
    return directory
