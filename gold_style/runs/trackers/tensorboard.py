"""TensorBoard: curves, samples and config as event files in <run>/tensorboard (`tensorboard --logdir multirun`)."""

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from gold_style.runs.files import plain
from gold_style.runs.redact import say
from gold_style.runs.trackers import TrackedRun, Tracker


def check(settings) -> None:
    if find_spec("tensorboard") is None:
        raise ValueError("tracker=tensorboard: not installed: pip install tensorboard, or choose tracker=none")


def open_tracker(settings, run: TrackedRun) -> Tracker:
    return TensorBoard(run)


class TensorBoard(Tracker):
    """One event file per process of a run; a resumed run hides what was logged after its checkpoint."""

    def __init__(self, run: TrackedRun):
        from torch.utils.tensorboard import SummaryWriter  # imports torch

        self.directory = run.directory / "tensorboard"
        self.fault: str | None = None
        self.step = run.first_step
        self.writer = SummaryWriter(str(self.directory), purge_step=run.first_step + 1 if run.first_step else None)
        if not run.first_step:
            self._attempt(lambda: self.writer.add_text("config", _code(run.config), 0))

    def log(self, row: dict[str, float], step: int) -> None:
        self.step = step
        self._attempt(lambda: [self.writer.add_scalar(key, value, step) for key, value in row.items()])

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
        self._attempt(lambda: self.writer.add_text(name, text, self.step))

    def summarize(self, summary: dict) -> None:
        self._attempt(lambda: self.writer.add_text("summary", _code(plain(summary)), self.step))

    def save_model(self, directory: Path, name: str) -> None:
        say(f"TensorBoard keeps no models; the student is in {directory}")

    def describe(self) -> dict:
        return {"name": "tensorboard", "run_id": None, "mode": "offline", "url": None}

    def close(self, exit_code: int) -> list[str]:
        self._attempt(lambda: self.writer.add_text("status", "failed" if exit_code else "completed", self.step))
        self._attempt(self.writer.close)
        return [f"TensorBoard misses something ({self.fault}); metrics.jsonl is complete"] if self.fault else []

    def _attempt(self, call: Callable) -> None:
        if self.fault:
            return
        try:
            call()
        except Exception as error:  # no trouble of the tracker ends the run
            self.fault = f"{type(error).__name__}: {error}"
            say(f"warning: TensorBoard has failed ({self.fault}); the run continues, and metrics.jsonl is complete")


def _code(value) -> str:
    return "\n".join(f"    {line}" for line in json.dumps(value, ensure_ascii=False, indent=2).splitlines())


def _cell(value) -> str:
    """Text that neither ends its cell nor is read as markdown or HTML."""
    text = "" if value is None else str(value)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
    return "".join(f"\\{character}" if character in "\\`*_{}[]()#+!|" else character for character in text)
