"""Result files of benchmarks/step.py: rows that count, and beside them what they were measured on and how the rounds went.

`step_<device>.json` is a list of rows with exactly the keys of KEYS; `step_<device>_rounds.json` has, for each of them, machine, versions,
date, seconds of every round and where our own time went. A row is written after every round, so a run that is cut short keeps what it
has; measuring a row again replaces it.
"""

import json
import os
import platform
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from stepping.shapes import Shape

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
KEYS = (
    "vocab",
    "system_tokens",
    "window",
    "new_tokens",
    "threads",
    "rounds",
    "stock_s",
    "stable_s",
    "ours_s",
    "ratio_stock",
    "ratio_stable",
    "stock_peak_mb",
    "ours_peak_mb",
    "floor_fraction",
)
SIDES = ("stock", "stable", "ours")


def summarise(shape: Shape, threads: int, rounds: list[dict[str, float]], peaks: dict[str, float], floor_s: float) -> dict:
    """One row: medians of the rounds, and medians of the rounds' own ratios."""

    def median(values: list) -> float | None:
        known = [value for value in values if value is not None]
        return round(statistics.median(known), 4) if known else None

    def ratio(side: str) -> float | None:
        return median([one[side] / one["ours"] for one in rounds if one.get(side) is not None])

    ours = median([one["ours"] for one in rounds])
    row = {**vars(shape), "threads": threads, "rounds": len(rounds)}
    row |= {f"{side}_s": median([one.get(side) for one in rounds]) for side in SIDES}
    row |= {"ratio_stock": ratio("stock"), "ratio_stable": ratio("stable")}
    row |= {f"{side}_peak_mb": peaks.get(side) for side in ("stock", "ours")}
    row["floor_fraction"] = round(floor_s / ours, 4)
    return {key: row[key] for key in KEYS}


def provenance(device: str, threads: int) -> dict:
    """Machine, versions and date of one row."""
    try:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git there
        commit = ""
    return {
        "device": device,
        "machine": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "accelerate")},
        "commit": commit,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "load_average": round(os.getloadavg()[0], 2),
    }


def write(path: Path, row: dict, details: dict) -> None:
    """Put `row` and its `details` into the two files in place of an older row of the same shape."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f"{path.stem}_rounds.json")
    _put(path, row, row)
    _put(beside, row, {**{key: row[key] for key in KEYS[:5]}, **details})


def _put(path: Path, like: dict, entry: dict) -> None:
    entries = json.loads(path.read_text()) if path.exists() else []
    identity = [like[key] for key in KEYS[:5]]
    kept = [old for old in entries if [old[key] for key in KEYS[:5]] != identity]
    kept.append(entry)
    kept.sort(key=lambda e: [e[key] for key in KEYS[:5]])
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(kept, indent=1) + "\n")
    partial.replace(path)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
