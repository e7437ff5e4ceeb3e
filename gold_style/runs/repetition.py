"""Whether a repeated run is the original again, bit for bit: metrics without clocks, answers, weights.

Example: `first_difference(original, again)` is None, or says what differs first.
"""

import filecmp
from itertools import zip_longest
from pathlib import Path

from gold_style.runs.files import read_json_lines

COMPARED = ("train/", "style/")  # perf/ holds clocks
CLOCKS = ("_s", "_per_second")


def first_difference(original: Path, again: Path) -> str | None:
    """None where `again` has the numbers, answers and weights of `original`; else what differs first."""
    rows = zip_longest(*(read_json_lines(run / "metrics.jsonl") for run in (original, again)), fillvalue={})
    for then, now in rows:
        for name in sorted(then.keys() | now.keys()):
            if name.startswith(COMPARED) and not name.endswith(CLOCKS) and then.get(name) != now.get(name):
                return f"{name} at step {then.get('step', now.get('step'))} was {then.get(name)} and is {now.get(name)}"
    weights = sorted(path.relative_to(original) for path in (original / "student").glob("*.safetensors"))
    for name in (Path("samples.jsonl"), *weights):
        before, after = original / name, again / name
        if before.is_file() and not (after.is_file() and filecmp.cmp(before, after, shallow=False)):
            return f"{name} is not the same"
    return None
