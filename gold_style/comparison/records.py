"""Runs read from their files: settings, state, summary, curves, and whether each answer hit the target style.

Example: `runs = read_runs([Path("multirun/2026-11-22")])`.
"""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from gold_style.measure.answers import AMBIGUOUS
from gold_style.measure.retention import retention_numbers
from gold_style.measure.verdict import verdict_of
from gold_style.runs.attempts import earlier_attempts
from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.run_directory import AS_BEFORE, flattened, runs_under, status_of
from gold_style.show.summary_table import toggle_of

REACHED = 0.9  # of the teacher's margin, the goal of `tokens_to_reach`
SEARCH_DEPTH = 6  # levels below a directory named on the command line
METRICS = ("step", "perf/tokens", "perf/seconds", "style/margin", "style/leakage", "style/untagged", "train/loss")  # kept of a row
SECTION = re.compile(r"^(?=[^\s#-])", re.MULTILINE)  # a line that begins a top-level key
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
    def code(self) -> str:
        """Whether the student has learned the style: learned | partly | not_learned | unknown."""
        return verdict_of(self.summary)["code"]

    @property
    def numbers(self) -> dict[str, float | None]:
        """S of the trained student, what it has kept, and what training took so far: `steps`, `seconds`, and `tokens` generated."""
        seconds = self.summary.get("train_seconds", self.state.get("train_seconds")) or self.last("perf/seconds")
        steps = self.summary.get("steps", self.last("step"))
        return {**self.after, **retention_numbers(self.summary), "steps": steps, "seconds": seconds, "tokens": self.last("perf/tokens")}

    @property
    def overridden(self) -> set[str]:
        """Keys that the command line set, `loss.beta` or a group such as `model`."""
        words = [*(self.state.get("overrides") or ()), *str(self.state.get("command") or "").split()]
        return {word.split("=")[0].lstrip("+~'\"") for word in words if "=" in word and not word.startswith("-")}

    @property
    def history(self) -> list[str]:
        """What happened before the run ended: attempts that failed, interruptions after which it was resumed."""
        failed = [f"failed and run again: {state.get('reason') or 'no reason recorded'}" for state in self.earlier]
        resumed = [
            f"{entry.get('status')}, resumed from step {entry.get('from_step')}: {entry.get('reason') or 'no reason recorded'}"
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
    def samples(self) -> list[dict[str, Any]]:
        """The lines of samples.jsonl; empty where they cannot be read."""
        try:
            return [row for row in read_json_lines(self.directory / "samples.jsonl") if {"request", "style"} <= row.keys()]
        except (OSError, ValueError):
            return []

    @cached_property
    def hits(self) -> dict[str, tuple[bool | None, bool | None]]:
        """Request -> whether its answer after training is in the target style under (first tag, neutral tag).

        None = ambiguous or not asked. Empty without samples.
        """
        toggle = toggle_of(self.summary)
        place = {toggle["first"]: 0, toggle["neutral"]: 1}
        hits: dict[str, list[bool | None]] = {}
        for row in self.samples:
            verdict = row.get("verdict_after")
            if verdict is not None and row["style"] in place:
                hit = None if verdict == AMBIGUOUS else verdict == toggle["target"]
                hits.setdefault(row["request"], [None, None])[place[row["style"]]] = hit
        return {request: (first, neutral) for request, (first, neutral) in hits.items()}


def read_runs(directories: Sequence[Path], tell: Callable[[str], None] = lambda text: None) -> list[RunRecord]:
    """Every training run under `directories`, oldest first; files that cannot be read are reported to `tell`.

    Raises ValueError, naming all of them, for directories that are not there.
    """
    missing = [str(directory) for directory in directories if not directory.is_dir()]
    if missing:
        raise ValueError("\n".join(f"{directory}: no such directory" for directory in missing))
    found = {path.resolve(): None for directory in directories for path in runs_under(directory, SEARCH_DEPTH)}
    runs = [run for path in found if "target" not in (run := read_run(path, tell)).state]  # evaluate.py's have a target
    return sorted(runs, key=lambda run: (str(run.state.get("started") or ""), run.directory))


def read_run(directory: Path, tell: Callable[[str], None] = lambda text: None) -> RunRecord:
    """One run; what cannot be read is left empty and reported to `tell`."""
    state = read_json(directory / "run.json")
    status = status_of(directory, state) if state is not None else "unreadable"
    reason = (state or {}).get("reason") or (state or {}).get("error")
    if state is not None and status == "interrupted" and state.get("status") == "running":
        reason = "its process ended without a word (killed, or the machine went down)"
    try:
        metrics = [{name: row[name] for name in METRICS if name in row} for row in read_json_lines(directory / "metrics.jsonl")]
    except ValueError as error:
        tell(str(error))
        metrics = []
    return RunRecord(
        directory=directory,
        status=str(status),
        reason="run.json cannot be read" if state is None else str(reason) if reason else None,
        state=state or {},
        settings=read_settings(directory / "config.yaml", tell),
        summary=read_json(directory / "summary.json") or {} if status in ("completed", "unreadable") else {},
        metrics=metrics,
        earlier=earlier_attempts(directory),
    )


def read_settings(path: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """A config.yaml as dotted keys, with AS_BEFORE; empty where there is none, or none that can be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    for sections in (SECTION.split(text), [text]):  # anchors, documents and flow mappings need the whole text
        try:
            found = {key: value for section in sections for key, value in parsed(section).items()}
            return {**AS_BEFORE, **found} if found else {}
        except yaml.YAMLError as error:
            reason = str(error).splitlines()[0]
    tell(f"{path}: {reason}")
    return {}


@lru_cache(maxsize=4096)
def parsed(section: str) -> dict[str, Any]:
    """A YAML mapping as dotted keys, not to be changed: a sweep's runs share most of their sections. Raises YAMLError for anything else."""
    values = yaml.load(section, Loader) or {}
    if not isinstance(values, dict):
        raise yaml.YAMLError("not a mapping")
    return flattened(values)
