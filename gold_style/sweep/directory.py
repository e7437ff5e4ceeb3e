"""Where a sweep is, how the same command finds it again, and which directory each of its jobs gets.

A sweep's directory is dated, so `resume=auto` looks for the newest one under multirun/ that was started with the same overrides
(in any order; SAME_SWEEP_WITHOUT may differ); `output_dir=PATH` names it. Inside, jobs are recognised by their resolved config,
never by their number, so a sweep may also be widened: `loss.beta=0,1` -> `loss.beta=0,0.5,1` runs only what is missing.

    multirun/<date>/<time>/sweep.json      the command, the number of jobs
    multirun/<date>/<time>/<n>/            run directories
    multirun/<date>/<time>/console/<n>.txt what each job printed
    multirun/<date>/<time>/.failed/<n>.<k> earlier attempts of a job that failed and was run again
    multirun/<date>/<time>/.cache/         what jobs share
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gold_style.config.check.overrides import CommandLine
from gold_style.config.mirror import is_below
from gold_style.config.settings import BESIDE, default_directory
from gold_style.runs.attempts import put_aside
from gold_style.runs.files import lock_is_held, read_json
from gold_style.runs.run_directory import LOCK, STATE, config_hash, is_empty, status_of

SWEEP, CONSOLE, CACHE = "sweep.json", "console", ".cache"
SAME_SWEEP_WITHOUT = ({*BESIDE} - {"reproduce"}) | {"hydra", "hardware.threads"}  # which runs are repeated is what such a sweep varies
RUN_AGAIN = ("failed", "pruned", "unreadable")


def identity(line: CommandLine) -> list[str]:
    """What makes two command lines the same sweep."""
    kept = (text.lstrip("+") for text in line.texts)
    return sorted(text for text in kept if not is_below(text.partition("=")[0].replace("/", "."), SAME_SWEEP_WITHOUT))


def find_sweep(line: CommandLine, given: dict[str, Any], root: Path = Path("multirun")) -> Path:
    """The absolute directory of a command's sweep: the one it names, with resume=auto that of the same sweep, else a new dated one.

    `given` has the values of the keys that are not swept.
    """
    if given.get("output_dir"):
        return Path(os.path.abspath(str(given["output_dir"])))
    if given.get("resume") == "auto":
        own = identity(line)
        for path in sorted(root.glob(f"*/*/{SWEEP}"), reverse=True):  # dated names: the newest first
            if (read_json(path) or {}).get("identity") == own and not lock_is_held(path.parent / LOCK):
                return Path(os.path.abspath(path.parent))
    return Path(os.path.abspath(default_directory()))


def job_directories(sweep: Path) -> Iterator[Path]:
    """The run directories of a sweep, by number."""
    found = [path for path in sweep.iterdir() if path.name.isdigit() and path.is_dir()] if sweep.is_dir() else []
    yield from sorted(found, key=lambda path: int(path.name))


def place_job(sweep: Path, number: int, settings) -> tuple[Path, str]:
    """The run directory of job `number` with these settings, and new, resume or skip (it is completed).

    A failed attempt is put aside; nothing else is touched. Raises ValueError where another process runs this very job.
    """
    own = sweep / str(number)
    if settings.resume != "auto":
        return own, "new"
    wanted = config_hash(settings.to_dict())
    found = {path: state for path in job_directories(sweep) if (state := read_json(path / STATE) or {}).get("config_hash") == wanted}
    statuses = {path: status_of(path, state) for path, state in found.items()}
    for status, action in (("completed", "skip"), ("interrupted", "resume")):
        if done := [path for path, own_status in statuses.items() if own_status == status]:
            return done[0], action
    if running := [path for path, status in statuses.items() if status == "running"]:
        raise ValueError(f"{running[0]}: another process runs this job")
    for path, status in statuses.items():
        if status in RUN_AGAIN:
            put_aside(path)
            return path, "new"
    if (own / STATE).is_file() and read_json(own / STATE) is None:  # killed before its first word was on the disk
        put_aside(own)
    return own if is_empty(own) else _next_free(sweep), "new"


def _next_free(sweep: Path) -> Path:
    for number in itertools.count():
        with contextlib.suppress(FileExistsError):
            (path := sweep / str(number)).mkdir()  # the process that makes it has it
            return path
