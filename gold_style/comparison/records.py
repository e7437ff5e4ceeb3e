"""Runs as their files tell them: settings, state, summary, curves, and the verdicts of every request.

Reading a thousand runs takes seconds: the sections of a config.yaml that many runs share are parsed once, and samples
are reduced to their verdicts.

Example: `runs = read_runs([Path("multirun/2026-11-22")])`.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from gold_style.measure.answers import AMBIGUOUS
from gold_style.runs.attempts import earlier_attempts
from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.run_directory import runs_under, status_of
from gold_style.show.summary_table import toggle_of

REACHED = 0.9  # of the teacher's margin, a goal of `tokens_to_reach`
SEARCH_DEPTH = 6  # levels below a directory named on the command line
METRICS = ("step", "perf/tokens", "perf/seconds", "style/margin", "style/leakage", "train/loss")  # kept of a row
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class RunRecord:
    """One run directory. `settings`: dotted key -> value; `summary` and `metrics` are empty until they were written."""

    directory: Path
    status: str  # running | completed | failed | interrupted | pruned | unreadable
    reason: str | None
    state: dict[str, Any]  # run.json
    settings: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[dict[str, Any]] = field(repr=False)  # rows of metrics.jsonl, reduced to METRICS
    earlier: list[dict[str, Any]] = field(default_factory=list, repr=False)  # run.json of failed attempts

    @property
    def seed(self) -> Any:
        """Seed of the run; None where the config is not known."""
        return self.settings.get("seed", self.state.get("seed"))

    @property
    def after(self) -> dict[str, Any]:
        """S of the trained student; empty where it was not scored."""
        return self.summary.get("after") or {}

    @property
    def teacher_margin(self) -> float | None:
        """Margin of the teacher with its system prompt."""
        return (self.summary.get("teacher") or {}).get("margin")

    @property
    def seconds(self) -> float | None:
        """Seconds of training, so far where it is not over."""
        return self.summary.get("train_seconds", self.state.get("train_seconds")) or self.last("perf/seconds")

    @property
    def tokens(self) -> float | None:
        """Tokens generated in training, so far."""
        return self.last("perf/tokens")

    @property
    def steps(self) -> int | None:
        """Optimizer steps, so far."""
        return self.summary.get("steps", self.last("step"))

    @property
    def overridden(self) -> set[str]:
        """Keys that the command line set, `loss.beta` or a group such as `model`."""
        words = [*(self.state.get("overrides") or ()), *str(self.state.get("command") or "").split()]
        return {word.split("=")[0].lstrip("+~'\"") for word in words if "=" in word and not word.startswith("-")}

    @property
    def history(self) -> list[str]:
        """What happened to this run before it ended as it did: attempts that failed, interruptions that it went on from."""
        failed = [f"failed and run again: {state.get('reason') or 'no reason recorded'}" for state in self.earlier]
        resumed = [
            f"{entry.get('status')}, went on from step {entry.get('from_step')}: {entry.get('reason') or 'no reason recorded'}"
            for entry in self.state.get("resumes") or ()
        ]
        return failed + resumed

    @property
    def repeat_command(self) -> str:
        """The command that repeats this run in a new directory, every setting taken over."""
        return shlex.join(["python", "train.py", f"reproduce={self.directory}"])

    def last(self, name: str) -> float | None:
        """The last logged value of a metric."""
        return next((row[name] for row in reversed(self.metrics) if row.get(name) is not None), None)

    def tokens_to(self, margin: float) -> float | None:
        """Tokens generated when the live margin first reached `margin`; None if it never did."""
        tokens = None
        for row in self.metrics:
            tokens = row.get("perf/tokens", tokens)
            if row.get("style/margin") is not None and row["style/margin"] >= margin:
                return tokens
        return None

    @property
    def tokens_to_reach(self) -> float | None:
        """Tokens generated until the live margin was REACHED of the teacher's; None where there is no such goal."""
        goal = self.teacher_margin
        return self.tokens_to(REACHED * goal) if goal is not None and goal > 0 else None

    @property
    def toggle(self) -> dict[str, Any]:
        """First tag, neutral tag and target verdict."""
        return toggle_of(self.summary)

    @cached_property
    def hits(self) -> dict[str, tuple[bool | None, bool | None]]:
        """Request -> whether its answer after training is in the target style under (first tag, neutral tag).

        None = ambiguous or not asked. Empty without samples that can be read.
        """
        toggle = self.toggle
        place = {toggle["first"]: 0, toggle["neutral"]: 1}
        hits: dict[str, list[bool | None]] = {}
        for request, style, verdict in verdicts(self.directory / "samples.jsonl"):
            if verdict is not None and style in place:
                hits.setdefault(request, [None, None])[place[style]] = None if verdict == AMBIGUOUS else verdict == toggle["target"]
        return {request: (first, neutral) for request, (first, neutral) in hits.items()}


def verdicts(path: Path) -> list[tuple[str, str | None, str | None]]:
    """(request, tag, verdict after training) of every line of samples.jsonl; empty where it is not there or broken."""
    try:
        return [(row["request"], row.get("style"), row.get("verdict_after")) for row in read_json_lines(path) if "request" in row]
    except (OSError, ValueError):
        return []


def read_runs(directories: Sequence[Path], tell: Callable[[str], None] = lambda text: None) -> list[RunRecord]:
    """Every training run under `directories`, oldest first; `tell` hears of files that could not be read.

    Raises ValueError, naming all of them, for directories that are not there.
    """
    missing = [str(directory) for directory in directories if not directory.is_dir()]
    if missing:
        raise ValueError("\n".join(f"{directory}: no such directory" for directory in missing))
    found = {path.resolve(): None for directory in directories for path in runs_under(directory, SEARCH_DEPTH)}
    runs = [run for path in found if "target" not in (run := read_run(path, tell)).state]  # evaluate.py's have a target
    return sorted(runs, key=lambda run: (str(run.state.get("started") or ""), run.directory))


def read_run(directory: Path, tell: Callable[[str], None] = lambda text: None) -> RunRecord:
    """One run; what cannot be read is left empty and told."""
    state = read_json(directory / "run.json")
    status = status_of(directory, state) if state is not None else "unreadable"
    reason = (state or {}).get("reason") or (state or {}).get("error")
    if state is not None and status == "interrupted" and state.get("status") == "running":
        reason = "its process ended without a word (killed, or the machine went down)"
    try:
        rows = read_json_lines(directory / "metrics.jsonl")
        metrics = [{name: row[name] for name in METRICS if name in row} for row in rows]
    except ValueError as error:
        tell(str(error))
        metrics = []
    return RunRecord(
        directory=directory,
        status=str(status),
        reason="run.json cannot be read" if state is None else str(reason) if reason else None,
        state=state or {},
        settings=read_settings(directory / "config.yaml", tell),
        summary=read_json(directory / "summary.json") or {},
        metrics=metrics,
        earlier=earlier_attempts(directory),
    )


def read_settings(path: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """A config.yaml as dotted keys; empty where there is none, or none that can be read."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader)
        return flattened(values) if isinstance(values, dict) else {}
    except OSError:
        return {}
    except yaml.YAMLError as error:
        tell(f"{path}: {str(error).splitlines()[0]}")
        return {}


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists and empty mappings are values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
