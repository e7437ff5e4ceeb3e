"""No tracker: a run's own files are all there is."""

from collections.abc import Sequence
from pathlib import Path

from gold_style.runs.trackers import TrackedRun


class NoTracker:
    def log(self, row: dict[str, float], step: int) -> None:
        pass

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
        pass

    def summarize(self, summary: dict) -> None:
        pass

    def save_model(self, directory: Path, name: str) -> None:
        pass

    def describe(self) -> dict:
        return {"name": "none", "run_id": None, "mode": None, "url": None}

    def close(self, exit_code: int) -> list[str]:
        return []


def check(settings) -> None:
    pass


def open_tracker(settings, run: TrackedRun) -> NoTracker:
    return NoTracker()
