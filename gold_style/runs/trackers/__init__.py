"""Who draws the curves: what a tracker does, and what it knows of its run.

A tracker never stops or slows a run: its methods do not raise for its own troubles and return at once; metrics.jsonl
holds everything anyway. A new one is one module here, with `check` and `open_tracker`, and one YAML in conf/tracker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

STEP_KEY = "train/global_step"  # the x-axis; the HF callback's name for it


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker knows of the run."""

    directory: Path
    name: str
    group: str | None
    config: dict  # resolved, redacted
    tags: tuple[str, ...] = ()  # the settings' own and those of pair, style and loss
    run_id: str | None = None  # of the tracker's own run, if one is resumed
    first_step: int = 0  # the step after which this process starts; above 0 in a resumed run

    @property
    def metrics(self) -> Path:
        """metrics.jsonl: what can be logged again after a breakdown."""
        return self.directory / "metrics.jsonl"


class Tracker:
    """What every tracker offers; this one keeps nothing."""

    def log(self, row: dict[str, float], step: int) -> None:
        """One row of numbers at an optimizer step."""

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
        """A table of texts and numbers; what models wrote is escaped."""

    def summarize(self, summary: dict) -> None:
        """The run's final numbers."""

    def save_model(self, directory: Path, name: str) -> None:
        """Keep a model directory with the run."""

    def describe(self) -> dict:
        """{"name", "run_id", "mode", "url"} for run.json; None where not known (yet)."""
        return {"name": "none", "run_id": None, "mode": None, "url": None}

    def close(self, exit_code: int) -> list[str]:
        """End the tracker's run, non-zero for one that failed; lines for the user, for instance how to sync."""
        return []


def check(settings) -> None:
    """Raises ValueError where settings.tracker cannot work here; opens nothing."""
    _module(settings).check(settings.tracker)


def open_tracker(settings, run: TrackedRun) -> Tracker:
    """The tracker that settings.tracker names: the module gold_style.runs.trackers.<name>."""
    return _module(settings).open_tracker(settings.tracker, run)


def _module(settings):
    return import_module(f"gold_style.runs.trackers.{settings.tracker.name}")
