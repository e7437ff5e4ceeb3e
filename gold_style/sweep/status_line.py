"""One line for a whole sweep: jobs done, the one at work, ETA; a line above it for each job that ends.

It reads run files, so it does not matter which launcher runs the jobs, or where.

    with StatusLine(directory, num_jobs=12):
        ...
"""

import threading
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.naming import varied_keys, varied_name
from gold_style.runs.run_directory import CONFIG, STATE, status_of
from gold_style.runs.summary_number import summary_number
from gold_style.sweep.directory import job_directories

LOOK_EVERY_S, LINE_EVERY_S = 1.0, 30.0  # seconds; the second where there is no terminal
ENDED = ("completed", "failed", "interrupted", "pruned")


class StatusLine:
    """The line on stderr; nothing where `is_shown` is False. `ended` counts the jobs that this session saw end, by status."""

    def __init__(self, directory: Path, num_jobs: int, is_shown: bool = True):
        self.directory, self.num_jobs, self.is_shown = directory, num_jobs, is_shown
        self.console = Console(stderr=True)
        self.start = self.last_line = time.monotonic()
        self.known: dict[Path, tuple] = {}  # run directory -> (status, ended) when last looked at
        self.max_steps: dict[Path, int] = {}
        self.done_before = 0.0
        self.varied: set[str] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="progress")
        columns = TextColumn("sweep"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}")
        self._bar = Progress(*columns, console=self.console, disable=not (is_shown and self.console.is_terminal))
        self._task = self._bar.add_task("sweep", total=num_jobs, note="")

    def __enter__(self) -> "StatusLine":
        for path in job_directories(self.directory):  # of earlier sessions: not told again
            state = read_json(path / STATE) or {}
            self.known[path] = (status_of(path, state), state.get("ended"))
        self.done_before = self._done()
        self._bar.start()
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._over.set()
        self._thread.join()
        self._look(last=True)
        self._bar.stop()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            try:
                self._look()
            except (OSError, ValueError):  # a file was replaced in between: next time
                continue

    def _look(self, last: bool = False) -> None:
        running = {}
        for path in job_directories(self.directory):
            before = self.known.get(path)
            if before and before[0] == "completed":
                continue
            state = read_json(path / STATE)
            if state is None:
                continue
            seen = status_of(path, state), state.get("ended")
            if seen[0] == "running":
                running[path] = state
            elif seen[0] in ENDED and seen != before and (seen[1] or last):
                self._tell(path, seen[0], state)
            self.known[path] = seen
        self._show(running, last)

    def _done(self) -> float:
        return sum(status in ("completed", "failed", "pruned") for status, _ in self.known.values())

    def _show(self, running: dict[Path, dict], last: bool) -> None:
        done = self._done()
        parts = {path: self._share(path) for path in running}
        elapsed, worked = time.monotonic() - self.start, done + sum(parts.values()) - self.done_before
        left = max(0.0, self.num_jobs - done - sum(parts.values()))
        eta = "–" if worked <= 0 else duration(elapsed / worked * left)
        at_work = ", ".join(f"{path.name} at {share:.0%}" for path, share in list(parts.items())[:4])
        note = f"ETA {eta}" + (f"  job {at_work}" if at_work else "")
        self._bar.update(self._task, completed=done, total=max(self.num_jobs, done), note=note)
        if self.is_shown and not self.console.is_terminal and (last or time.monotonic() - self.last_line > LINE_EVERY_S):
            self.last_line = time.monotonic()
            self.console.print(f"sweep: {done:.0f}/{self.num_jobs}  {duration(elapsed)}  {note}", highlight=False, soft_wrap=True)

    def _share(self, path: Path) -> float:
        """How much of a running job is done, in [0, 1]: its optimizer steps."""
        if path not in self.max_steps:
            try:
                config = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
                self.max_steps[path] = int(config["train"]["max_steps"])
            except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
                return 0.0
        steps = [row.get("step", 0) for row in read_json_lines(path / "metrics.jsonl")]
        return min(1.0, steps[-1] / self.max_steps[path]) if steps and self.max_steps[path] > 0 else 0.0

    def _tell(self, path: Path, status: str, state: dict) -> None:
        if not self.is_shown:
            return
        if self.varied is None:
            self.varied = varied_keys(self.directory)
        name = varied_name(state.get("overrides") or [], self.varied)
        margin = summary_number(read_json(path / "summary.json") or {}, "after.margin")
        seconds = f", {state['train_seconds']:.0f} s of training" if state.get("train_seconds") else ""
        how = f"completed, margin {margin:.3f}{seconds}" if status == "completed" else f"{status}: {state.get('reason') or 'no reason'}"
        self._bar.console.print(f"job {path.name} ({name}): {how}", highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
