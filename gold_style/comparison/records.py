"""Runs as their files tell them: settings, state, summary, curves, and the verdicts of every request.

Reading a thousand runs takes seconds: the sections of a config.yaml that many runs share are parsed once, and samples
are reduced to their verdicts.

Example: `runs = read_runs([Path("multirun/2026-11-22")])`.
"""

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from gold_style.measure.answers import AMBIGUOUS
from gold_style.runs.attempts import earlier_attempts
from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.run_directory import runs_under, status_of

SEARCH_DEPTH = 6  # levels below a directory named on the command line
METRICS = ("step", "perf/tokens", "perf/seconds", "style/margin", "style/leakage", "train/loss")  # kept of a row
SECTION = re.compile(r"^(?=[^\s#-])", re.MULTILINE)  # a line that begins a top-level key
STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"|null'
SAMPLE_VALUES = [re.compile(rb'"%s":\s*(%s)' % (key, STRING)) for key in (b"request", b"style", b"verdict_after")]
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Run:
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
    def toggle(self) -> dict[str, Any]:
        """First tag, neutral tag and target verdict: as measured, else as configured, else the default pack's."""
        pack = self.settings
        first = next((key.split(".")[2] for key in pack if key.startswith("styles.styles.")), "chosun")
        configured = {
            "first": first,
            "neutral": pack.get("styles.neutral", "none"),
            "target": pack.get(f"styles.styles.{first}.verdict", "joseon"),
        }
        return self.summary.get("details", {}).get("toggle") or configured

    @cached_property
    def hits(self) -> dict[str, tuple[bool | None, bool | None]]:
        """Request -> whether its answer after training is in the target style under (first tag, neutral tag).

        None = ambiguous or not asked. Empty without samples.
        """
        toggle = self.toggle
        place = {toggle["first"]: 0, toggle["neutral"]: 1}
        hits: dict[str, list[bool | None]] = {}
        for request, style, verdict in verdicts(self.directory / "samples.jsonl"):
            if verdict is not None and style in place:
                pair = hits.setdefault(request, [None, None])
                pair[place[style]] = None if verdict == AMBIGUOUS else verdict == toggle["target"]
        return {request: (pair[0], pair[1]) for request, pair in hits.items()}


def verdicts(path: Path) -> list[tuple[str, str | None, str | None]]:
    """(request, tag, verdict after training) of every line of samples.jsonl; empty where it is not there or broken.

    Three values are taken out of each line by patterns that match once in it: quotes inside a JSON string are escaped,
    so that no text can look like a key. This takes a third of the time that parsing all of a line does.
    """
    try:
        data = path.read_bytes()
        columns = [pattern.findall(data) for pattern in SAMPLE_VALUES]
        if {len(column) for column in columns} == {data.count(b"\n")}:
            return [tuple(map(parsed_json, row)) for row in zip(*columns, strict=True)]
        rows = [row for row in read_json_lines(path) if "request" in row]
        return [(row["request"], row.get("style"), row.get("verdict_after")) for row in rows]
    except (OSError, ValueError):
        return []


@lru_cache(maxsize=65536)
def parsed_json(text: bytes) -> Any:
    """A JSON value; requests, tags and verdicts come again in every run."""
    return json.loads(text)


def read_runs(directories: Sequence[Path], tell: Callable[[str], None] = lambda text: None) -> list[Run]:
    """Every training run under `directories`, oldest first; `tell` hears of files that could not be read.

    Raises ValueError, naming all of them, for directories that are not there.
    """
    missing = [str(directory) for directory in directories if not directory.is_dir()]
    if missing:
        raise ValueError("\n".join(f"{directory}: no such directory" for directory in missing))
    found = {path.resolve(): None for directory in directories for path in runs_under(directory, SEARCH_DEPTH)}
    runs = [run for path in found if "target" not in (run := read_run(path, tell)).state]  # evaluate.py's have a target
    return sorted(runs, key=lambda run: (str(run.state.get("started") or ""), run.directory))


def read_run(directory: Path, tell: Callable[[str], None] = lambda text: None) -> Run:
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
    return Run(
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
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    try:
        return {key: value for part in SECTION.split(text) for key, value in parsed_section(part).items()}
    except yaml.YAMLError:
        try:  # anchors, documents and flow mappings reach over sections
            whole = yaml.load(text, Loader)
        except yaml.YAMLError as error:
            tell(f"{path}: {str(error).splitlines()[0]}")
            return {}
    return flattened(whole) if isinstance(whole, dict) else {}


@lru_cache(maxsize=4096)
def parsed_section(text: str) -> dict[str, Any]:
    """A top-level key of a YAML mapping, with what is under it, as dotted keys; empty for comments alone.

    The dict is shared and must not be changed. Raises YAMLError for anything else.
    """
    section = yaml.load(text, Loader)
    if section is not None and not isinstance(section, dict):
        raise yaml.YAMLError("not a mapping")
    return flattened(section or {})


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists and empty mappings are values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
