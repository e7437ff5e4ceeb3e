"""What a sweep of n small jobs costs against the same n runs, in CPU seconds of all processes (imports, evaluations, everything).

    python benchmarks/sweep_cost.py [--jobs 6]

Each job trains ten steps of the embedded pair and is scored on 128 requests under two tags; half of the rows are the teacher's.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PR_SET_CHILD_SUBREAPER = 36
SETTINGS = (
    "tracker=none",
    "hardware=cpu",
    "hardware.threads=1",
    "train.max_steps=10",
    "evaluation.every_steps=10",
    "evaluation.live_samples=4",
    "loss.seq_kd=true",
    "loss.lmbda=0.5",
)


def cpu_seconds(*commands: list[str], cwd: str) -> float:
    """CPU seconds of the commands and of everything they start, also of what outlives them for a moment."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in commands:
        subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:  # a sweep's server of processes ends after it and is ours to wait for
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=6)
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ["OMP_NUM_THREADS"] = "1"
    betas = [f"{index / max(1, given.jobs - 1):.3g}" for index in range(given.jobs)]
    train = [sys.executable, str(ROOT / "train.py")]
    with tempfile.TemporaryDirectory() as place:
        single = cpu_seconds(*([*train, *SETTINGS, f"loss.beta={beta}", f"output_dir=run{beta}"] for beta in betas), cwd=place)
        sweep = cpu_seconds([*train, "-m", *SETTINGS, f"loss.beta={','.join(betas)}", "output_dir=sweep"], cwd=place)
        off = cpu_seconds([*train, "-m", *SETTINGS, f"loss.beta={','.join(betas)}", "output_dir=off", "cache.dir=null"], cwd=place)
    print(f"{given.jobs} runs {single:.0f} s; a sweep of {given.jobs} jobs {sweep:.0f} s; without the cache {off:.0f} s (CPU)")


if __name__ == "__main__":
    main()
