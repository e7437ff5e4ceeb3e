"""make torture: every trial, two at a time, and the table of docs/reliability.md with its figures.

    python -m tests.torture                      all of it, under 25 minutes on two cores
    python -m tests.torture --only kills         one part: kills, signals, disk, tracker, teacher, fuzz
    python -m tests.torture --seed 1             other moments
    python -m tests.torture --missing            goes on where an earlier call was ended

Exit code 1 where anything was lost. Every trial's line is written as soon as it is over, in the place of its older one.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from gold_style.runs.provenance import git_state
from tests.helpers.commands import PROJECT, environment
from tests.torture import disk, kills, teacher, uploads
from tests.torture.runs import Result, clock
from tests.torture.table import write_table

RESULTS = PROJECT / "docs" / "reliability.json"
WRITING = threading.Lock()
COMMIT = git_state(PROJECT)["commit"]
PARTS = ("kills", "signals", "disk", "tracker", "teacher", "fuzz")


def fuzz(directory: Path, seed: int) -> Result:
    """Thousands of configs, command lines, damaged runs, rows and files of rows."""
    result = Result("bad input", "fuzz", "tests/test_fuzz.py --hypothesis-profile=torture")
    directory.mkdir(parents=True, exist_ok=True)
    counts = directory / "counts.json"
    options = ["-p", "no:cacheprovider", f"--hypothesis-seed={seed}", "--hypothesis-profile=torture"]
    with clock(result):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", str(PROJECT / "tests/test_fuzz.py"), *options],
            cwd=PROJECT,
            env=environment(FUZZ_COUNTS=str(counts)),
            capture_output=True,
            text=True,
            timeout=1200,
        )
        result.events = [{"kind": kind, "cases": cases} for kind, cases in sorted(json.loads(counts.read_text()).items())]
        if done.returncode:
            result.lost.append(done.stdout[-3000:])
    return result


def jobs(only: list[str]) -> list[tuple[str, Callable[[Path, int], Result]]]:
    """(directory, job), the longest first."""
    by_cost = sorted(enumerate(kills.TRIALS), key=lambda pair: -len(pair[1].phases) * pair[1].processes)
    found: list[tuple[str, str, Callable]] = [
        ("kills", f"trial-{n}", lambda place, seed, trial=trial: kills.torture(trial, place, seed)) for n, trial in by_cost
    ]
    found += [
        ("tracker", "tracker", uploads.sick_server),
        ("disk", "disk", disk.full_disk),
        ("teacher", "teacher", teacher.dying_teacher),
        ("kills", "upload", uploads.killed_upload),
        ("signals", "signals", lambda place, seed: kills.interrupt(kills.SIGNALLED, place, seed)),
        ("fuzz", "fuzz", fuzz),
        ("kills", "writer", kills.kill_writer),
    ]
    return [(name, job) for part, name, job in found if part in only]


def read_report() -> dict:
    """What stands in docs/reliability.json; an empty report where there is none."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"command": "make torture", "results": []}


def record(result: Result, facts: dict) -> None:
    """Put one trial's line in the place of its older one, in the figures and in the table."""
    with WRITING:
        report = read_report()
        lines = {line["name"]: line for line in report["results"]} | {result.name: result.to_json() | facts}
        report["results"] = sorted(lines.values(), key=lambda line: (PARTS.index(line["part"]), line["name"]))
        RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        write_table(report, PROJECT / "docs" / "reliability.md")


def run(name: str, job: Callable[[Path, int], Result], place: Path, seed: int) -> Result:
    """One trial, told and recorded as soon as it is over."""
    try:
        result = job(place, seed)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"{'LOST' if result.lost else 'ok':4} {result.seconds:6.0f} s  {result.part}: {result.name}", flush=True)
    for line in result.lost:
        print(f"     {line}", flush=True)
    record(result, {"job": name, "seed": seed, "date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": COMMIT})
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture", description="Real faults against real runs.")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--missing", action="store_true", help="only trials that docs/reliability.json has no line of")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="trials side by side")
    asked = parser.parse_args()
    known = {line["job"] for line in read_report()["results"]} if asked.missing else set()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(asked.workers) as pool:
        futures = [pool.submit(run, name, job, Path(temporary, name), asked.seed) for name, job in jobs(asked.only) if name not in known]
        results = [future.result() for future in futures]
    seconds = round(time.monotonic() - started)
    lost = sum(len(result.lost) for result in results)
    print(f"{len(results)} trials in {seconds} s: {f'{lost} things lost' if lost else 'nothing lost'}")
    if not asked.missing and set(asked.only) == set(PARTS):
        cores = len(os.sched_getaffinity(0))
        whole = {"seconds": seconds, "cores": cores, "workers": asked.workers}
        RESULTS.write_text(json.dumps(read_report() | {"whole": whole}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        write_table(read_report(), PROJECT / "docs" / "reliability.md")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
