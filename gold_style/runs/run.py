"""One run's directory, its run.json, its metrics and its tracker; closed properly however the run ends.

    with open_run(settings, argv=sys.argv) as run:
        run.log({"train/loss": 0.7}, step=1)
        run.write_summary(summary)

Only the main process of a launch writes; in the others `run` has the same paths and does nothing. What run.json says
about the end: `completed`, `interrupted` (a signal) or `failed` with the exception; `running` with a free lock was
killed. The order on the way out: status, then the tracker, then the lock; the caller prints `run directory: ...`
after that.
"""

import contextlib
import math
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from gold_style.config.launch import is_main_process
from gold_style.runs import trackers
from gold_style.runs.checkpoints import checkpoints_in, step_of, tidy
from gold_style.runs.files import (
    ASIDE,
    FileLock,
    JsonLines,
    Locked,
    keep_rows_up_to,
    plain,
    read_json,
    write_json,
    write_json_lines,
    write_text,
)
from gold_style.runs.naming import group_name, job_overrides, run_name
from gold_style.runs.provenance import command_line, device_name, differences, now, provenance
from gold_style.runs.ranks import from_main
from gold_style.runs.redact import redact, say
from gold_style.runs.run_directory import CHECKPOINTS, CONFIG, LOCK, STATE, RunStart, choose, config_hash
from gold_style.runs.trackers.none import NoTracker

REASON_CHARACTERS = 2000


class Pruned(Exception):
    """A search has seen enough of this run; its run.json says `pruned`."""


class Run:
    """What a run writes. `resumed_from` is the checkpoint it goes on from, None for a new one."""

    def __init__(self, directory: Path, resumed_from: Path | None, is_main: bool):
        self.directory, self.resumed_from, self.is_main = directory, resumed_from, is_main
        self.student, self.checkpoints = directory / "student", directory / CHECKPOINTS
        self.step = step_of(resumed_from) if resumed_from else 0  # last logged optimizer step
        self.state: dict[str, Any] = {}
        self.tracker: trackers.Tracker = NoTracker()
        self.metrics: JsonLines | None = None

    def log(self, row: dict[str, Any], step: int) -> None:
        """A row of metrics.jsonl and the tracker; numbers that JSON lacks become null and are named under `nonfinite`.

        Raises OSError where the disk is full; never because of the tracker.
        """
        self.step = step
        if not self.is_main:
            return
        scalars = {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
        numbers = {key: value for key, value in scalars.items() if isinstance(value, (int, float))}
        odd = {key: str(value) for key, value in numbers.items() if not math.isfinite(value)}
        self.metrics.append({"step": step, **scalars, **({"nonfinite": odd} if odd else {})})
        self.tracker.log(numbers, step)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
        """A table for the tracker; it escapes what models wrote."""
        if self.is_main:
            self.tracker.log_table(name, columns, rows)

    def write_samples(self, rows: list[dict]) -> None:
        """samples.jsonl, as a whole."""
        if self.is_main:
            write_json_lines(self.directory / "samples.jsonl", rows)

    def write_summary(self, summary: dict) -> None:
        """summary.json, as a whole, and the tracker's summary; what is not finite becomes null."""
        if self.is_main:
            write_json(self.directory / "summary.json", summary)
            self.tracker.summarize(summary)

    def update(self, **fields: Any) -> None:
        """Set fields of run.json, for instance device."""
        self.state |= redact(plain(fields))
        if self.is_main:
            write_json(self.directory / STATE, self.state | {"tracker": self.tracker.describe(), "step": self.step})

    def save_student_artifact(self) -> None:
        """Hand student/ to the tracker, under the run's name."""
        if self.is_main:
            self.tracker.save_model(self.student, f"student-{self.tracker.describe()['run_id'] or self.directory.name}")

    def sync(self) -> None:
        """Make the metrics last through a power cut; before a checkpoint that counts on them."""
        if self.metrics is not None:
            self.metrics.sync()

    def interrupted_at_once(self, signum: int) -> None:
        """What a second signal leaves time for (see gold_style.runs.signals)."""
        self.update(status="interrupted", reason=f"signal {signum}, twice", ended=now())

    @property
    def resume_command(self) -> str:
        return self.state.get("resume_command", "")


@contextlib.contextmanager
def open_run(settings, argv: Sequence[str] = ("train.py",), data: str | None = None) -> Iterator[Run]:
    """The run that `settings` ask for: a new directory, or an interrupted run's. `data` is a hash of the rows, where there are any.

    Raises ValueError, before anything is written, for a directory that cannot be used, a resumed run whose config has
    become another experiment, and a tracker that cannot work.
    """
    trackers.check(settings)
    lock: list[FileLock] = []
    places: list[RunStart] = []

    def take() -> dict:
        place = _take(settings, argv, lock, data)
        places.append(place)
        return {"directory": str(place.directory), "checkpoint": place.checkpoint and str(place.checkpoint)}

    try:
        told = from_main(take)
        checkpoint = told["checkpoint"] and Path(told["checkpoint"])
        run = Run(Path(told["directory"]), checkpoint, is_main_process())
        try:
            if run.is_main:
                _begin(run, places[0], settings, argv, data)
            yield run
        except BaseException as error:
            _end(run, *_verdict(error))
            raise
        _end(run, "completed", None)
    finally:
        for held in lock:
            held.release()


def _take(settings, argv: Sequence[str], lock: list[FileLock], data: str | None) -> RunStart:
    """Choose a directory and lock it; with resume=auto, the next one where somebody was faster."""
    taken: set[Path] = set()
    while True:
        place = choose(settings, argv, excluding=taken, data=data)
        held = FileLock(place.directory / LOCK)
        key = "resume" if place.continues else "output_dir"
        try:
            place.directory.mkdir(parents=True, exist_ok=True)
            held.acquire()
        except Locked as error:
            if settings.resume == "auto" and place.directory not in taken:
                taken.add(place.directory)
                continue
            raise ValueError(f"{key}={place.directory}: {error}") from None
        except OSError as error:
            raise ValueError(f"{key}={place.directory}: cannot be written: {error.strerror}") from None
        if read_json(place.directory / STATE) != place.recorded:  # somebody came and went in between
            held.release()
            continue
        lock.append(held)
        for note in place.notes:
            say(note)
        return place


def _begin(run: Run, place: RunStart, settings, argv: Sequence[str], data: str | None) -> None:
    """Write run.json and config.yaml, put what a kill left in order, start the tracker."""
    config = plain(redact(settings.to_dict() | {"output_dir": str(run.directory)}))
    for path in run.directory.glob(f".*{ASIDE}"):
        path.unlink()
    tidy(run.checkpoints)
    overrides = job_overrides(argv)
    again = [*(word for word in overrides if _key(word) not in ("resume", "output_dir")), f"resume={run.directory}"]
    recorded = place.recorded or {}
    device = _device(settings)
    history = [*recorded.get("resumes", []), _resumption(recorded, place)] if place.continues else []
    time = now()
    run.state = {
        "status": "running",
        "reason": None,
        **redact(provenance(argv)),
        "overrides": redact(overrides),
        "resume_command": redact(command_line(argv, again)),
        "config_hash": config_hash(settings.to_dict()),
        "data": data or recorded.get("data"),
        "seed": settings.seed,
        "device": device,
        "started": recorded.get("started") or time,
        "resumed": time if place.continues else None,
        "resumes": history,
        "ended": None,
    }
    metrics = run.directory / "metrics.jsonl"
    run.update()
    write_text(run.directory / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1000))
    if metrics.exists():
        cut = keep_rows_up_to(metrics, run.step)
        if cut:
            say(f"metrics.jsonl: {cut} rows after step {run.step} are cut; they will be written again")
    run.metrics = JsonLines(metrics)
    for line in _compared(place, settings, device):
        say(line)
    previous = recorded.get("tracker") or {}
    run.tracker = trackers.open_tracker(
        settings,
        trackers.TrackedRun(
            directory=run.directory,
            name=settings.tracker.run_name or run_name(run.directory, overrides),
            group=settings.tracker.group or group_name(run.directory),
            config=config,
            run_id=previous.get("run_id") if previous.get("name") == settings.tracker.name else None,
            first_step=run.step,
            metrics=metrics,
        ),
    )
    run.update()


def _device(settings) -> str | None:
    """The device in words, once torch is there to ask; it is not imported for this."""
    return device_name(settings.hardware.device) if "torch" in sys.modules else None


def _compared(place: RunStart, settings, device: str | None) -> Iterator[str]:
    """What differs from the run that goes on or is repeated; its bits may then differ too."""
    if settings.reproduce:
        found = differences(read_json(Path(settings.reproduce) / STATE) or {}, device)
        ending = "; these differ, and its bits may:" if found else ": same code, packages and device"
        yield f"repeating {settings.reproduce}{ending}"
    else:
        found = differences(place.recorded, device) if place.recorded else []
        if found:
            yield "since this run started, these have changed, and its bits may differ:"
    yield from (f"  {line}" for line in found)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _resumption(recorded: dict, place: RunStart) -> dict:
    step = step_of(place.checkpoint) if place.checkpoint else 0
    return {"at": now(), "from_step": step, "status": recorded.get("status"), "reason": recorded.get("reason")}


def _verdict(error: BaseException) -> tuple[str, str | None]:
    """(status, reason) of a run that `error` ended."""
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return "completed", None
    if isinstance(error, Pruned):
        return "pruned", str(error)
    if isinstance(error, KeyboardInterrupt):  # gold_style.runs.signals.Interrupted is one
        return "interrupted", str(error) or "interrupted from the keyboard"
    place = traceback.extract_tb(error.__traceback__)[-1:] if error.__traceback__ else []
    where = f" ({Path(place[0].filename).name}:{place[0].lineno})" if place else ""
    return "failed", redact(f"{type(error).__name__}: {error}"[:REASON_CHARACTERS] + where)


def _end(run: Run, status: str, reason: str | None) -> None:
    """Status first, so that a kill while the tracker uploads changes nothing about it; then the tracker."""
    if not run.is_main:
        return
    with _keeping_on(run):
        run.update(status=status, reason=reason, ended=now())
    with _keeping_on(run):
        if run.metrics is not None:
            run.metrics.sync()
            run.metrics.close()
    with _keeping_on(run):
        for line in run.tracker.close(0 if status == "completed" else 1):
            say(line)
    with _keeping_on(run):
        run.update()
    if status == "interrupted":
        say(f"{reason} after step {run.step}; to go on:\n  {run.resume_command}")
    elif status == "failed" and (kept := checkpoints_in(run.checkpoints)):
        say(f"{kept[-1].name} is kept; once the cause is mended, go on with:\n  {run.resume_command}")


@contextlib.contextmanager
def _keeping_on(run: Run) -> Iterator[None]:
    """A full disk on the way out must not hide why the run ended."""
    try:
        yield
    except OSError as error:
        say(f"warning: {run.directory}: {error}")
