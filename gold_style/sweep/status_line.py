"""One line for a whole sweep: jobs done, those running, ETA; a line above it for each job that ends.

It reads run files, so any launcher may run the jobs, on any machine of the same file system.

    with StatusLine(directory, num_jobs=12):
        ...
"""

import functools
import threading
from pathlib import Path

from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.naming import varied_keys, varied_name
from gold_style.runs.progress import Progress
from gold_style.runs.run_directory import STATE, read_config, status_of
from gold_style.runs.summary_number import summary_number
from gold_style.sweep.directory import job_directories

LOOK_EVERY_S, LINE_EVERY_S = 1.0, 30.0  # seconds; the second where there is no terminal
DONE = ("completed", "failed", "pruned")


class StatusLine:
    """The line on stderr."""

    def __init__(self, directory: Path, num_jobs: int):
        self.directory, self.num_jobs = directory, num_jobs
        self.progress = Progress(line_every_s=LINE_EVERY_S)
        self.known: dict[Path, tuple] = {}  # run directory -> (status, ended) when last looked at
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="status line")

    def __enter__(self) -> "StatusLine":
        for path in job_directories(self.directory):  # jobs of earlier sessions are not reported again
            state = read_json(path / STATE) or {}
            self.known[path] = (status_of(path, state), state.get("ended"))
        self.progress.__enter__()
        self._tick = self.progress.phase("sweep", self.num_jobs, self._num_done())
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._over.set()
        self._thread.join()
        self._look(last=True)
        self.progress.__exit__()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            try:
                self._look()
            except (OSError, ValueError):  # a file was replaced in between: next time
                continue

    def _look(self, last: bool = False) -> None:
        shares = {}
        for path in job_directories(self.directory):
            before = self.known.get(path)
            if before and before[0] == "completed":
                continue
            state = read_json(path / STATE)
            if state is None:
                continue
            status, ended = seen = status_of(path, state), state.get("ended")
            if status == "running":
                shares[path.name] = share_done(path)
            elif status in (*DONE, "interrupted") and seen != before and (ended or last):
                self._report(path, status, state)
            self.known[path] = seen
        running = {f"job {name}": f"{share:.0%}" for name, share in list(shares.items())[:3]}  # that fit into 80 columns
        done = self._num_done()
        self._tick(done + sum(shares.values()), max(self.num_jobs, done), **running)

    def _num_done(self) -> int:
        return sum(status in DONE for status, _ in self.known.values())

    def _report(self, path: Path, status: str, state: dict) -> None:
        name = varied_name(state.get("overrides") or [], varied_keys(self.directory))
        margin = summary_number(read_json(path / "summary.json") or {}, "after.margin")
        seconds = f", {state['train_seconds']:.0f} s of training" if state.get("train_seconds") else ""
        how = f"completed, margin {margin:.3f}{seconds}" if status == "completed" else f"{status}: {state.get('reason') or 'no reason'}"
        self.progress.say(f"job {path.name} ({name}): {how}")


def share_done(run: Path) -> float:
    """How much of a running job is done, in [0, 1]: its optimizer steps."""
    try:
        max_steps = max_steps_of(run)
    except (ValueError, KeyError, TypeError):  # its config is not there yet
        return 0.0
    steps = [row.get("step", 0) for row in read_json_lines(run / "metrics.jsonl")]
    return min(1.0, steps[-1] / max_steps) if steps and max_steps > 0 else 0.0


@functools.cache  # reading YAML every second would take time from the jobs
def max_steps_of(run: Path) -> int:
    return int(read_config(run)["train"]["max_steps"])
