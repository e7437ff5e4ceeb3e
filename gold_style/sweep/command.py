"""What `python train.py -m ...` does around Hydra: finds the directory, watches, reports, sets the exit code once.

Exit code: 0 where every job of the sweep is completed (or, in a search, pruned), 1 where one failed or was killed, 128 + signal
where the sweep itself was asked to end. The same command with `resume=auto` resumes it.
"""

import contextlib
import math
import os
import shlex
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gold_style import PACKAGE
from gold_style.config.check.overrides import CommandLine, choices_of, groups_of, read_arguments
from gold_style.config.check.presets import SWEEPER
from gold_style.config.launch import is_main_process
from gold_style.config.settings import CONF
from gold_style.config.yaml_file import mapping_in
from gold_style.runs.files import FileLock, Locked, read_json, write_json
from gold_style.runs.provenance import now, script_words
from gold_style.runs.redact import redact, say
from gold_style.runs.run_directory import LOCK, STATE, status_of
from gold_style.runs.signals import Interrupted
from gold_style.sweep.directory import SWEEP, find_sweep, identity, job_directories
from gold_style.sweep.isolation import JobFailed
from gold_style.sweep.status_line import StatusLine

GOOD = ("completed", "pruned")


def sweep(arguments: Sequence[str], start: Callable[[list[str]], None]) -> None:
    """Run a checked command line with -m; `start(arguments)` hands it to Hydra. Ends the process with the sweep's exit code."""
    line = read_arguments(arguments)
    given = {override.key_or_group: override.value() for override in line.overrides if not override.is_sweep_override()}
    if line.only_shows or "--cfg" in line.options:
        return start(list(arguments))
    if given.get("dry_run") or given.get("plan"):
        with TemporaryDirectory() as nowhere:  # Hydra makes directories of its own
            return start([sweep_directory_override(Path(nowhere)), *arguments])
    directory, number = find_sweep(line, given), num_jobs(line, given)
    lock = FileLock(directory / LOCK)
    if is_main_process():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (Locked, OSError) as error:
            print(f"{Path(sys.argv[0]).name}: output_dir={directory}: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        if given.get("resume") == "auto":
            found = tally(directory)
            say(f"resuming {directory}: {found}" if found else f"resume=auto: no earlier sweep of these jobs; a new one: {directory}")
        _write_down(directory, line, number)
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))  # for the processes that launchers start
    os.environ.update(HYDRA_FULL_ERROR="1", PYTHONPATH=path)  # Hydra passes on a failed job's exception, instead of exiting
    code = 0
    try:
        with StatusLine(directory, number) if is_main_process() else contextlib.nullcontext():
            start([sweep_directory_override(directory), *arguments])  # before flags: Hydra's parser wants overrides together
    except Interrupted as interruption:
        code = interruption.exit_code
    except JobFailed:  # reported already
        code = 1
    except Exception as error:
        code = 1
        say(str(error) if isinstance(error, ValueError) else traceback.format_exc())
    finally:
        lock.release()
    if is_main_process():
        link_offline_runs(directory)
        code = code or int(any(status not in GOOD for status in _statuses(directory)))
        _report(directory, code)
    raise SystemExit(code)


def sweep_directory_override(directory: Path) -> str:
    """In Hydra's grammar; given to launchers that start other processes, too, where a resolver would choose anew."""
    escaped = str(directory).replace("'", "\\'")
    return f"hydra.sweep.dir='{escaped}'"


def num_jobs(line: CommandLine, given: dict[str, Any]) -> int:
    """Jobs of a grid, or trials of a search."""
    if SWEEPER in given:
        preset = mapping_in(CONF / "sweep" / f"{given.get('sweep')}.yaml").get("search") or {}
        return int(given.get("sweep.search.trials") or preset.get("trials") or 1)
    groups = groups_of([CONF])
    return math.prod(len(choices_of(override, groups)) for override in line.overrides)


def _write_down(directory: Path, line: CommandLine, number: int) -> None:
    """sweep.json: what a later `resume=auto` recognises it by, and when it ran."""
    record = read_json(directory / SWEEP) or {"started": now(), "sessions": []}
    record |= {"argv": redact(list(sys.argv)), "identity": redact(identity(line)), "jobs": number}
    write_json(directory / SWEEP, record | {"sessions": [*record["sessions"], now()]})


def _statuses(directory: Path) -> list[str | None]:
    return [status_of(path, state) for path in job_directories(directory) if (state := read_json(path / STATE)) is not None]


def link_offline_runs(directory: Path) -> None:
    """Link to what W&B logged offline from where `wandb sync <sweep>` looks: one level below the sweep."""
    for path in (path for job in job_directories(directory) for path in job.glob("wandb/offline-run-*")):
        link = directory / f".wandb-{path.parts[-3]}-{path.name}"
        if not path.is_symlink() and not link.is_symlink():
            link.symlink_to(path.relative_to(directory), target_is_directory=True)


def tally(directory: Path) -> str:
    """ "10 completed, 1 failed"; empty where there is no job."""
    return ", ".join(f"{number} {status}" for status, number in Counter(_statuses(directory)).most_common())


def _report(directory: Path, code: int) -> None:
    """How it went, on stderr; stdout has the run directories."""
    say(f"sweep directory: {directory}\n{tally(directory) or 'no job was started'}")
    if code:
        again = [word for word in sys.argv[1:] if not word.startswith(("hydra.sweep.dir=", "resume="))]
        say(f"to go on:   python {shlex.join([*script_words(sys.argv[0]), *again])} resume=auto")
    if any(directory.glob(".wandb-*")):
        say(f"to upload:  wandb sync {shlex.quote(os.path.relpath(directory))}")
    if "completed" in _statuses(directory):  # leader and page; in a process of its own, so that nothing in it ends this one
        compared = subprocess.run([sys.executable, "-m", "gold_style.compare", str(directory)], capture_output=True, text=True)
        say(compared.stdout.rstrip() or compared.stderr.rstrip())
    say(f"to compare: python -m gold_style.compare {shlex.quote(os.path.relpath(directory))}")
