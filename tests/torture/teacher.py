"""A teacher behind Ray that dies again and again while two runs ask it, and a run that is killed while it asks.

The runs must end as with a teacher of their own, the killed one once it is resumed, and afterwards no process of Ray may be left.
Needs the extra `ray`.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.helpers.commands import PROJECT, environment
from tests.helpers.ray_teachers import actor_of, cluster
from tests.torture.runs import TINY, Result, clock, differences, launch

CONFIG = (*TINY, "tracker=none", "teacher_backend=ray", "cache.dir=null")
RUNS = 3  # the last one is killed


def wait_for_rows(run: Path, number: int) -> None:
    """Until metrics.jsonl has that many rows."""
    deadline = time.monotonic() + 300
    while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").read_bytes().count(b"\n") < number:
        assert time.monotonic() < deadline, f"{run.name} is not getting on"
        time.sleep(0.02)


def dying_teacher(directory: Path, seed: int, kills: int = 3) -> Result:
    """SIGKILL of the teacher's process `kills` times, and of one run."""
    result = Result("teacher behind Ray, asked by three runs", "teacher", " ".join(CONFIG))
    directory.mkdir(parents=True, exist_ok=True)
    rng, home = random.Random(f"{seed} teacher"), Path(tempfile.mkdtemp(prefix="ray-"))
    extra = {"GOLD_STYLE_RAY": str(home)}
    with clock(result), ThreadPoolExecutor(RUNS) as pool:
        for number in range(RUNS):
            done = launch([*TINY, "tracker=none", f"seed={number}", f"output_dir=whole-{number}"], directory)
            assert done.code == 0, done.stderr[-1500:]
        words = [sys.executable, str(PROJECT / "train.py"), *CONFIG, f"seed={RUNS - 1}", f"output_dir=run-{RUNS - 1}"]
        with open(directory / "killed.txt", "w") as log:
            killed = subprocess.Popen(words, cwd=directory, env=environment(**extra), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        asked = [([*CONFIG, f"seed={number}", f"output_dir=run-{number}"], directory) for number in range(RUNS - 1)]
        running = [pool.submit(launch, *given, fresh=True, **extra) for given in asked]
        for number in range(kills):
            wait_for_rows(directory / f"run-{rng.randrange(RUNS - 1)}", 1 + number)
            time.sleep(rng.uniform(0, 0.5))
            if all(run.done() for run in running):
                break
            os.kill(actor_of(home), signal.SIGKILL)
            result.events.append({"phase": "the teacher's process", "killed": True, "row": 1 + number})
            if number == 0:
                killed.kill()
                killed.wait()
                result.events.append({"phase": "a run that asks", "killed": True})
        for number, run in enumerate(running):
            done = run.result()
            if done.code:
                result.lost.append(f"run-{number}: exit {done.code}: {done.stderr[-1000:]}")
        place = f"resume=run-{RUNS - 1}" if (directory / f"run-{RUNS - 1}" / "run.json").exists() else words[-1]
        left = cluster(home)
        done = launch([*CONFIG, f"seed={RUNS - 1}", place], directory, fresh=True, **extra)
        if done.code:
            result.lost.append(f"resumed: exit {done.code}: {done.stderr[-1000:]}")
        for number in range(RUNS):
            result.lost += [f"run-{number}: {fault}" for fault in differences(directory / f"whole-{number}", directory / f"run-{number}")]
        alive = psutil.wait_procs([*left, *cluster(home)], timeout=60)[1]
        result.lost += [f"left behind: {process}" for process in alive]
    return result
