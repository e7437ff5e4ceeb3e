"""Starts train.py, kills it as a plan says, and compares what is left with a run that nothing happened to."""

import hashlib
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gold_style.runs.checkpoints import checkpoint_fault, checkpoints_in, step_of
from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.run_directory import status_of
from tests.helpers.commands import PROJECT, Done, environment, finish
from tests.torture.starter import Starter

PROBE = Path(__file__).with_name("probe.py")
TINY = (
    "experiment=smoke",
    "prompts.eval_samples=1",
    "prompts.selection_samples=1",
    "evaluation.live_samples=1",
    "evaluation.bootstrap_samples=10",
    "train.max_steps=6",
    "train.save_steps=1",
    "train.per_device_train_batch_size=2",
    "train.max_completion_length=16",
    "grace_s=20",
)
BRIEF = ("teacher", "logging", "sealing", "pruning", "writing the student", "writing the summary")  # phases of milliseconds
TIMED = ("_s",)  # endings of metrics that are clock times: the only ones that may differ


@dataclass
class Result:
    """What became of one trial. `lost` says, in words, what was not as promised; empty is good."""

    name: str
    part: str
    setup: str = ""
    events: list[dict] = field(default_factory=list)  # kills, signals, full disks: what was done to the run, and where
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict:
        return asdict(self)


def launch(overrides, directory: Path, *, plan: dict | None = None, processes: int = 1, fresh: bool = False, **extra: str) -> Done:
    """`train.py OVERRIDES` in `directory`, under the probe where there is a plan, over `processes` processes.

    One process is forked from a starter, unless it is to be `fresh`; several are started by torchrun.
    """
    plan_file = None
    if plan is not None:
        plan_file = directory / "plan.json"
        Path(plan["note"]).unlink(missing_ok=True)
        plan_file.write_text(json.dumps(plan))
    if processes == 1 and not fresh:
        starter = Starter.of_this_thread(environment())
        return Done(*starter.run("train.py", list(overrides), directory, environment(**extra), plan_file))
    script = [str(PROBE), str(plan_file), "train.py"] if plan else [str(PROJECT / "train.py")]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), *script, *overrides]
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment(**extra),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return finish(process, timeout_s=600)


def make_plan(phase: str, rng: random.Random, directory: Path, **changes) -> dict:
    """A moment of `phase`, drawn from `rng`."""
    plan = {
        "phase": phase,
        "entry": rng.randint(1, 2) if phase in ("generation", "teacher", "backward", "optimizer", "logging", "saving", "sealing") else 1,
        "chance": rng.uniform(0.5, 1) if phase in BRIEF else 10 ** rng.uniform(-1.3, -0.3),
        "seed": rng.randrange(10**6),
        "after_s": rng.uniform(1, 15),
        "note": str(directory / "note.json"),
    }
    return plan | changes


def good_steps(run: Path) -> list[int]:
    """Steps of the checkpoints that can be resumed from."""
    return [step_of(path) for path in checkpoints_in(run / "checkpoints") if checkpoint_fault(path) is None]


def faults_of_remains(run: Path, best_before: int) -> list[str]:
    """What is wrong with a run directory after a kill; it has to be resumable from a checkpoint at least as good as before."""
    found, state = [], read_json(run / "run.json")
    if state is None:
        return ["run.json cannot be read"] if best_before else []
    if (status := status_of(run)) not in ("interrupted", "failed", "completed"):
        found.append(f"status {status}")
    if max(good_steps(run), default=0) < best_before:
        found.append(f"the checkpoint of step {best_before} is gone")
    try:
        list(read_json_lines(run / "metrics.jsonl"))
    except ValueError as error:
        found.append(str(error))
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def untimed(row: dict) -> dict:
    return {key: value for key, value in row.items() if not key.endswith(TIMED)}


def differences(expected: Path, found: Path) -> list[str]:
    """What differs between two finished runs: status, weights, metrics, samples and summary, all but clock times."""
    lines = []
    if status_of(found) != "completed":
        lines.append(f"status {status_of(found)}: {(read_json(found / 'run.json') or {}).get('reason')}")
    for name in ("student/model.safetensors", "samples.jsonl"):
        if digest(expected / name) != digest(found / name):
            lines.append(f"{name} differs")
    rows = [[untimed(row) for row in read_json_lines(run / "metrics.jsonl")] for run in (expected, found)]
    if rows[0] != rows[1]:
        steps = [row["step"] for row in rows[1]]
        keys = sorted({k for a, b in zip(*rows, strict=False) for k in a.keys() | b.keys() if a.get(k) != b.get(k)})
        lines.append(f"metrics.jsonl differs (steps {steps}; {', '.join(keys[:6])})")
    summaries = [untimed_summary(read_json(run / "summary.json") or {}) for run in (expected, found)]
    if summaries[0] != summaries[1]:
        lines.append("summary.json differs")
    return lines


def untimed_summary(summary: dict) -> dict:
    return {key: value for key, value in summary.items() if "second" not in key}


def clock(result: Result):
    """Context that adds its seconds to `result` and turns an unexpected error into something lost."""

    class Clock:
        def __enter__(self):
            self.started = time.monotonic()

        def __exit__(self, kind, error, traceback):
            result.seconds = round(time.monotonic() - self.started, 1)
            if isinstance(error, (AssertionError, OSError, subprocess.SubprocessError)):
                result.lost.append(f"{type(error).__name__}: {str(error)[:1500]}")
                return True
            return False

    return Clock()
