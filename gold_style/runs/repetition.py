"""Whether a repeated run is the run that it repeats, bit for bit: metrics without clocks, answers, weights.

Example: `first_difference(original, again)` is None, or the first thing that differs, in words.
"""

from itertools import zip_longest
from pathlib import Path

from gold_style.runs.files import read_json_lines

COMPARED = ("train/", "style/")  # perf/ holds clocks
CLOCKS = ("_s", "_per_second")
BLOCK_BYTES = 1 << 22


def first_difference(original: Path, again: Path) -> str | None:
    """None where `again` has the numbers, answers and weights of `original`; else what differs first."""
    return different_metrics(original, again) or different_files(original, again)


def different_metrics(original: Path, again: Path) -> str | None:
    pairs = zip_longest(*(list(read_json_lines(run / "metrics.jsonl")) for run in (original, again)), fillvalue={})
    for then, now in pairs:
        for name in sorted(then.keys() | now.keys()):
            if name.startswith(COMPARED) and not name.endswith(CLOCKS) and then.get(name) != now.get(name):
                step = then.get("step", now.get("step"))
                return f"{name} at step {step} was {then.get(name)} and is {now.get(name)}"
    return None


def different_files(original: Path, again: Path) -> str | None:
    weights = sorted(path.relative_to(original) for path in (original / "student").glob("*.safetensors"))
    for name in (Path("samples.jsonl"), *weights):
        if (original / name).is_file() and not same_bytes(original / name, again / name):
            return f"{name} is not the same"
    return None


def same_bytes(one: Path, other: Path) -> bool:
    if not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(BLOCK_BYTES):
            if block != right.read(BLOCK_BYTES):
                return False
    return True
