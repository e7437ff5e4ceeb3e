"""A W&B server on loopback that refuses, hangs, answers 500, rejects the key or dies half-way: the run must not notice.

Beside the weights and the metrics, three things are held: training is not slower, the end of the run says how to sync, and the
key stands in no file and no output. A run that is killed while it uploads is whole already.
"""

import json
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gold_style.runs.files import read_json_lines
from gold_style.runs.run_directory import status_of
from tests.helpers.wandb_file import read_wandb_file, wandb_files
from tests.helpers.wandb_server import WandbServer
from tests.torture.runs import TINY, Result, clock, differences, good_steps, launch, make_plan, untimed

KEY = "0123456789abcdef0123456789abcdef01234567"
CONFIG = (*TINY, "tracker=wandb")
SLOWER = 1.5  # times the seconds of the same steps without a tracker, at most, plus SLACK_S for a busy machine
SLACK_S = 3.0
BEHAVIOURS = ("works", "refuses", "hangs", "500", "401", "dies: hangs", "dies: 500", "dies: refuses")


def closed_port() -> str:
    """An address on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"


def once_rows(run: Path, number: int, then: Callable[[], None]) -> threading.Thread:
    """Calls `then` when metrics.jsonl has that many rows."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            path = run / "metrics.jsonl"
            if path.exists() and path.read_bytes().count(b"\n") >= number:
                return then()
            time.sleep(0.02)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def steps_s(run: Path) -> float:
    """Seconds that the steps took, by the run's own clock."""
    last = list(read_json_lines(run / "metrics.jsonl"))[-1]
    return sum(value for key, value in last.items() if key.startswith("perf/") and key.endswith("_s"))


def sick_server(directory: Path, seed: int, behaviours=BEHAVIOURS) -> Result:
    """One run per behaviour, against a run without a tracker."""
    result = Result("W&B server fails", "tracker", " ".join(CONFIG))
    directory.mkdir(parents=True, exist_ok=True)
    with clock(result):
        done = launch([*TINY, "output_dir=whole"], directory)
        assert done.code == 0, done.stderr[-1500:]
        for number, behaviour in enumerate(behaviours):
            first, _, later = behaviour.partition(": ")
            run = directory / f"{number}"
            with WandbServer("works" if first in ("dies", "refuses") else first) as server:
                url = closed_port() if first == "refuses" else server.url
                if first == "dies":
                    once_rows(run, 2, server.close if later == "refuses" else lambda sick=later, of=server: setattr(of, "behaviour", sick))
                started = time.monotonic()
                done = launch([*CONFIG, f"output_dir={run}"], directory, WANDB_BASE_URL=url, WANDB_API_KEY=KEY)
                seconds = time.monotonic() - started
            event = {"server": behaviour, "code": done.code, "steps_s": round(steps_s(run), 2), "seconds": round(seconds, 1)}
            result.events.append(event)
            if done.code != 0:
                result.lost.append(f"{behaviour}: exit {done.code}: {done.stderr[-1000:]}")
            result.lost += [f"{behaviour}: {fault}" for fault in differences(directory / "whole", run)]
            if steps_s(run) > SLOWER * steps_s(directory / "whole") + SLACK_S:
                result.lost.append(f"{behaviour}: the steps took {steps_s(run):.1f} s instead of {steps_s(directory / 'whole'):.1f}")
            if behaviour != "works" and "wandb sync" not in done.stderr:
                result.lost.append(f"{behaviour}: nothing says how to sync: {done.stderr[-1000:]}")
            result.lost += [f"{behaviour}: {fault}" for fault in [*missing_rows(run), *leaks(run, done.stdout + done.stderr)]]
    return result


def missing_rows(run: Path) -> list[str]:
    """What the W&B files lack of metrics.jsonl: what `wandb sync` would upload."""
    told = [row for path in wandb_files(run) for row in read_wandb_file(path).history]
    steps = {row["train/global_step"] for row in told if "train/loss" in row}
    missing = {row["step"] for row in read_json_lines(run / "metrics.jsonl")} - steps
    return [f"W&B's files lack steps {sorted(missing)}"] if missing else []


def leaks(run: Path, printed: str) -> list[str]:
    """Files, and output, in which the key stands."""
    found = [path.name for path in run.rglob("*") if path.is_file() and not path.is_symlink() and KEY.encode() in path.read_bytes()]
    return [f"the key stands in {name}" for name in [*found, *(["the output"] if KEY in printed else [])]]


def killed_upload(directory: Path, seed: int, kills: int = 2) -> Result:
    """Killed while it waits for a server that hangs; and, before that, in the middle of training."""
    result = Result("killed during the W&B upload", "kills", " ".join(CONFIG))
    directory.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{seed} upload")
    with clock(result):
        done = launch([*TINY, "output_dir=whole"], directory)
        assert done.code == 0, done.stderr[-1500:]
        for number in range(kills):
            run = directory / f"{number}"
            for phase in (*(["backward"] if number == 0 else []), "upload"):
                with WandbServer("hangs" if number else "works") as server:
                    if phase == "upload":
                        once_rows(run, 6, lambda of=server: setattr(of, "behaviour", "hangs"))
                    place = f"resume={run}" if (run / "run.json").exists() else f"output_dir={run}"
                    plan = make_plan(phase, rng, directory, chance=0.02)
                    done = launch([*CONFIG, place], directory, plan=plan, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
                note = directory / "note.json"
                found = json.loads(note.read_text()) | {"killed": True} if note.exists() else {"where": "ended before its moment came"}
                result.events.append({"phase": phase, "code": done.code, "checkpoint": max(good_steps(run), default=0), **found})
            if status_of(run) != "completed":
                result.lost.append(f"status {status_of(run)} after a kill in the upload")
            result.lost += [*differences(directory / "whole", run), *leaks(run, done.stdout + done.stderr)]
            rows = [untimed(row)["step"] for row in read_json_lines(run / "metrics.jsonl")]
            axis = [row["train/global_step"] for row in read_wandb_file(wandb_files(run)[-1]).history if "train/loss" in row]
            if axis and axis != rows[-len(axis) :]:
                result.lost.append(f"W&B's axis goes {axis}, metrics.jsonl {rows}")
    return result
