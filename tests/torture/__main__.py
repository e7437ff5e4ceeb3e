"""make torture: every trial, two at a time, and the table of docs/reliability.md with its figures.

    PYTHONPATH=tests python -m torture                      all of it, under 25 minutes on two cores
    PYTHONPATH=tests python -m torture --only kills         one part: kills, signals, disk, tracker, fuzz
    PYTHONPATH=tests python -m torture --seed 1 --keep DIR  other moments; the runs stay in DIR

Exit code 1 where anything was lost. With --only the lines of those parts alone are written anew.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from commands import PROJECT, environment

from gold_style.runs.provenance import git_state
from torture import disk, kills, uploads
from torture.runs import Result, clock
from torture.table import write_table

RESULTS = PROJECT / "docs" / "reliability.json"
PARTS = ("kills", "signals", "disk", "tracker", "fuzz")


def fuzz(directory: Path, seed: int) -> Result:
    """Thousands of configs, command lines, damaged runs, rows and files of rows."""
    result = Result("bad input", "fuzz", "tests/test_fuzz.py --hypothesis-profile=torture")
    directory.mkdir(parents=True, exist_ok=True)
    counts = directory / "counts.json"
    options = ["-p", "no:cacheprovider", f"--hypothesis-seed={seed}", "--hypothesis-profile=torture"]
    with clock(result):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", str(PROJECT / "tests/test_fuzz.py"), *options],
            cwd=PROJECT, env=environment(FUZZ_COUNTS=str(counts)), capture_output=True, text=True, timeout=1200,
        )  # fmt: skip
        result.events = [{"kind": kind, "cases": cases} for kind, cases in sorted(json.loads(counts.read_text()).items())]
        if done.returncode:
            result.lost.append(done.stdout[-3000:])
    return result


def jobs(only: list[str]) -> list[tuple[str, Callable[[Path, int], Result]]]:
    """(directory, job), the longest first."""
    found: list[tuple[str, str, Callable]] = [
        ("tracker", "tracker", uploads.sick_server),
        ("fuzz", "fuzz", fuzz),
        ("disk", "disk", disk.full_disk),
        ("signals", "signals", lambda place, seed: kills.interrupt(kills.SIGNALLED, place, seed)),
        ("kills", "upload", uploads.killed_upload),
        ("kills", "writer", kills.kill_writer),
    ]
    by_cost = sorted(kills.TRIALS, key=lambda trial: -len(trial.phases) * trial.processes)
    found[1:1] = [
        ("kills", f"trial-{n}", lambda place, seed, trial=trial: kills.torture(trial, place, seed)) for n, trial in enumerate(by_cost)
    ]
    return [(name, job) for part, name, job in found if part in only]


def record(report: dict, only: list[str]) -> None:
    """Write the figures and the table. Of a run of some parts, their lines take the place of the older ones."""
    if set(only) != set(PARTS):
        if not RESULTS.exists():
            return
        whole = json.loads(RESULTS.read_text(encoding="utf-8"))
        again = {part: f"{report['date']}, seed {report['seed']}" for part in only}
        kept = [result for result in whole["results"] if result["part"] not in only]
        report = whole | {"again": whole.get("again", {}) | again, "results": [*kept, *report["results"]]}
    RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    write_table(report, PROJECT / "docs" / "reliability.md")


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture", description="Real faults against real runs.")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="trials side by side")
    parser.add_argument("--keep", type=Path, help="a new directory for the runs; without it they are deleted")
    asked = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(asked.workers) as pool:
        root = asked.keep.absolute() if asked.keep else Path(temporary)
        futures = [pool.submit(job, root / name, asked.seed) for name, job in jobs(asked.only)]
        results = []
        for future in futures:
            results.append(result := future.result())
            print(f"{'LOST' if result.lost else 'ok':4} {result.seconds:6.0f} s  {result.part}: {result.name}", flush=True)
            for line in result.lost:
                print(f"     {line}", flush=True)
    report = {
        "command": "make torture",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": len(os.sched_getaffinity(0)),
        "workers": asked.workers,
        "seed": asked.seed,
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])),
        "commit": git_state(PROJECT)["commit"],
        "results": [result.to_json() for result in results],
    }
    record(report, asked.only)
    lost = sum(len(result.lost) for result in results)
    print(f"{len(results)} trials in {report['seconds']} s: {f'{lost} things lost' if lost else 'nothing lost'}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
