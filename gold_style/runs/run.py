"""One run's directory, its run.json, its metrics and its tracker; closed properly however the run ends.

    with open_run(settings, argv=sys.argv) as run:
        run.log({"train/loss": 0.7}, step=1)
        run.write_summary(summary)

Only the main process of a launch writes; in the others `run` has the same paths and does nothing. What run.json says
about the end: `completed`, `interrupted` (a signal), `pruned` (by a search) or `failed` with the exception; `running`
with a free lock was killed. The order on the way out: summary.json of a completed run, status, report.html, then the
tracker, then the lock; the caller prints `run directory: ...` after that.
"""

import contextlib
import math
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gold_style.config.inheritance import INHERITING
from gold_style.config.launch import is_main_process
from gold_style.config.schedule import shortened
from gold_style.runs import trackers
from gold_style.runs.checkpoints import adopt, checkpoints_in, step_of, tidy
from gold_style.runs.files import ASIDE, FileLock, JsonLines, Locked, keep_rows_up_to, plain, read_json, write_json, write_json_lines
from gold_style.runs.naming import group_name, job_overrides, key_of, run_name
from gold_style.runs.provenance import command_line, device_name, differences, now, provenance
from gold_style.runs.ranks import from_main
from gold_style.runs.redact import redact, say
from gold_style.runs.run_directory import CHECKPOINTS, LOCK, STATE, SUMMARY, RunStart, choose, config_hash, template_date, write_config

REASON_CHARACTERS = 2000
Draw = Callable[[Path], object]  # writes report.html into a run directory, from what the directory holds


class Pruned(Exception):
    """A search has seen enough of this run; its run.json says `pruned`."""


class Run:
    """What a run writes. `resumed_from` is the checkpoint it resumes from, None for a new run."""

    tokens_per_microbatch: int | None = None  # what the run that it resumes, extends or repeats had measured

    def __init__(self, directory: Path, resumed_from: Path | None, is_main: bool, template_date: str | None = None):
        self.directory, self.resumed_from, self.is_main, self.template_date = directory, resumed_from, is_main, template_date
        self.student, self.checkpoints = directory / "student", directory / CHECKPOINTS
        self.step = step_of(resumed_from) if resumed_from else 0  # last logged optimizer step
        self.state: dict[str, Any] = {}
        self.summary: dict[str, Any] | None = None  # a file only once the run is completed
        self.tracker = trackers.Tracker()
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

    def write_samples(self, rows: list[dict], name: str = "samples.jsonl") -> None:
        """samples.jsonl, or readings.jsonl, as a whole."""
        if self.is_main:
            write_json_lines(self.directory / name, rows)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Have summary.json and the tracker's summary written once the run is completed."""
        self.summary = summary

    def complete(self, draw: Draw) -> None:
        """summary.json (what is not finite becomes null), status, report.html, the tracker's summary. Raises OSError for a full disk."""
        if self.summary is not None:
            write_json(self.directory / SUMMARY, self.summary)
        self.update(status="completed", reason=None, ended=now())
        draw(self.directory)
        self.tracker.summarize(self.summary or {})

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


@contextlib.contextmanager
def open_run(settings, argv: Sequence[str] = ("train.py",), data: str | None = None, draw: Draw = lambda directory: None) -> Iterator[Run]:
    """The run that `settings` ask for: a new directory, or an interrupted run's. `data` is a hash of the rows, if there are any;
    `draw` writes report.html however the run ends.

    Raises ValueError, before anything is written, for a directory that cannot be used, a resumed run whose config has
    become another experiment, and a tracker that cannot work.
    """
    trackers.check(settings)
    start: RunStart | None = None  # stays None in processes other than the main one
    with contextlib.ExitStack() as locked:

        def take() -> dict:
            nonlocal start
            start = _take(settings, argv, data, locked)
            own = start.directory / CHECKPOINTS
            for checkpoint in start.adopted:  # before run.json is written: a run that has one can be resumed
                adopt(checkpoint, own)
            if start.adopted:
                shutil.copy2(Path(settings.extend) / "metrics.jsonl", start.directory)
            earlier = start.directory if start.continues else settings.reproduce or settings.extend
            size = ((read_json(Path(earlier) / STATE) if earlier else None) or {}).get("tokens_per_microbatch")
            checkpoint = start.checkpoint and str(own / start.checkpoint.name)
            return {"directory": str(start.directory), "checkpoint": checkpoint, "date": template_date(earlier), "size": size}

        taken = from_main(take)
        run = Run(Path(taken["directory"]), taken["checkpoint"] and Path(taken["checkpoint"]), is_main_process(), taken["date"])
        run.tokens_per_microbatch = taken["size"]
        with recorded(run, draw):
            if start is not None:
                _begin(run, start, settings, argv, data)
            yield run


@contextlib.contextmanager
def recorded(run: Run, draw: Draw) -> Iterator[None]:
    """Record how the block ends: where it completes, or `complete` fails, no file says otherwise."""
    try:
        yield
        if run.is_main:
            run.complete(draw)
    except BaseException as error:
        _end(run, draw, *_verdict(error))
        raise
    _close(run, 0)


def _take(settings, argv: Sequence[str], data: str | None, locked: contextlib.ExitStack) -> RunStart:
    """Choose a directory and lock it; with resume=auto, the next one where another process was faster."""
    excluded: set[Path] = set()
    while True:
        start = choose(settings, argv, excluding=excluded, data=data)
        lock = FileLock(start.directory / LOCK)
        key = "resume" if start.continues else "output_dir"
        try:
            start.directory.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Locked as error:
            if settings.resume == "auto" and start.directory not in excluded:
                excluded.add(start.directory)
                continue
            raise ValueError(f"{key}={start.directory}: {error}") from None
        except OSError as error:
            raise ValueError(f"{key}={start.directory}: cannot be written: {error.strerror}") from None
        if read_json(start.directory / STATE) != start.recorded:  # another process came and went in between
            lock.release()
            continue
        locked.callback(lock.release)
        for note in start.notes:
            say(note)
        return start


def first_state(settings, argv: Sequence[str], overrides: Sequence[str]) -> dict[str, Any]:
    """run.json of a run that starts now."""
    return {
        "status": "running",
        "reason": None,
        **redact(provenance(argv)),
        "overrides": redact(list(overrides)),
        "config_hash": config_hash(settings.to_dict()),
        "seed": settings.seed,
        "teachers": redact(settings.model.teachers),
        "started": now(),
        "ended": None,
    }


def _begin(run: Run, start: RunStart, settings, argv: Sequence[str], data: str | None) -> None:
    """Write run.json and config.yaml, clear up after a kill, start the tracker."""
    for path in run.directory.glob(f".*{ASIDE}"):
        path.unlink()
    tidy(run.checkpoints)
    (run.directory / SUMMARY).unlink(missing_ok=True)  # of a run that was killed as it completed
    overrides, recorded = job_overrides(argv), start.recorded or {}
    again = [*(word for word in overrides if key_of(word) not in (*INHERITING, "output_dir")), f"resume={run.directory}"]
    device = device_name(settings.hardware.device)
    run.state = first_state(settings, argv, overrides) | {
        "resume_command": redact(command_line(argv, again)),
        "data": data or recorded.get("data"),
        "template_date": run.template_date,
        "tokens_per_microbatch": run.tokens_per_microbatch,
        "device": device,
        "resumed": None,
        "resumes": [],
        "extends": {"run": settings.extend, "step": step_of(start.checkpoint)} if start.adopted else recorded.get("extends"),
    }
    if start.continues:
        time = run.state["started"]
        resumption = {"at": time, "from_step": run.step, "status": recorded.get("status"), "reason": recorded.get("reason")}
        run.state |= {"started": recorded.get("started") or time, "resumed": time, "resumes": [*recorded.get("resumes", []), resumption]}
    run.update()
    config = plain(redact(settings.to_dict() | {"output_dir": str(run.directory)}))
    write_config(run.directory, config)
    metrics = run.directory / "metrics.jsonl"
    if cut := keep_rows_up_to(metrics, run.step):
        say(f"metrics.jsonl: {cut} rows after step {run.step} are cut; they will be written again")
    run.metrics = JsonLines(metrics)
    for line in _compared(run, start, settings, device):
        say(line)
    previous = recorded.get("tracker") or {}
    words = {"pair": config["model"]["name"], "style": config["styles"]["name"], "loss": config["loss"]["kind"]}
    tracked = trackers.TrackedRun(
        directory=run.directory,
        name=settings.tracker.run_name or run_name(run.directory, overrides, words["pair"]),
        group=settings.tracker.group or group_name(run.directory, f"{words['pair']} {words['style']}"),
        tags=tuple(dict.fromkeys([*settings.tracker.tags, *words.values()])),
        config=shortened(config),
        run_id=previous.get("run_id") if previous.get("name") == settings.tracker.name else None,
        first_step=run.step,
    )
    run.tracker = trackers.open_tracker(settings, tracked)
    run.update()


def _compared(run: Run, start: RunStart, settings, device: str | None) -> Iterator[str]:
    """What differs from the run that is resumed, extended or repeated; its bits may then differ too."""
    if settings.reproduce:
        found = differences(read_json(Path(settings.reproduce) / STATE) or {}, device, run.state)
        ending = "; these differ, and its bits may:" if found else ": same code, packages and device"
        yield f"repeating {settings.reproduce}{ending}"
    else:
        recorded = read_json(Path(settings.extend) / STATE) if start.adopted else start.recorded
        found = differences(recorded, device) if recorded else []
        if found:
            yield "since this run started, these have changed, and its bits may differ:"
    yield from (f"  {line}" for line in found)


def _verdict(error: BaseException) -> tuple[str, str | None]:
    """(status, reason) of a run that `error` ended."""
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return "completed", None
    if isinstance(error, Pruned):
        return "pruned", str(error)
    if isinstance(error, KeyboardInterrupt):  # gold_style.runs.signals.Interrupted is one
        return "interrupted", str(error) or "interrupted from the keyboard"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return "failed", redact(f"{type(error).__name__}: {error}"[:REASON_CHARACTERS] + where)


def _end(run: Run, draw: Draw, status: str, reason: str | None) -> None:
    """Status first, so that a kill while the tracker uploads does not change it; then report.html and the tracker."""
    if not run.is_main:
        return
    forget = [lambda: (run.directory / SUMMARY).unlink(missing_ok=True)] if status != "completed" else []
    record = [*forget, lambda: run.update(status=status, reason=reason, ended=now()), lambda: draw(run.directory)]
    _close(run, 0 if status == "completed" else 1, record)
    if status == "interrupted" and run.state.get("resume_command"):
        say(f"{reason} after step {run.step}; to go on:\n  {run.state['resume_command']}")
    elif status == "failed" and (kept := checkpoints_in(run.checkpoints)):
        say(f"{kept[-1].name} is kept; once the cause is mended, go on with:\n  {run.state.get('resume_command', '')}")


def _close(run: Run, exit_code: int, record: Sequence[Callable[[], object]] = ()) -> None:
    """Do what records the end, close metrics.jsonl and the tracker, and note where the tracker's run is."""
    metrics = [run.metrics.close] if run.metrics is not None else []
    for act in (*record, *metrics, lambda: [say(line) for line in run.tracker.close(exit_code)], run.update):
        try:
            act()
        except Exception as error:  # a full disk, or a file that cannot be read, must not hide why the run ended
            say(f"warning: {run.directory}: {error}")
