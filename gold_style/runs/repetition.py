"""Whether a repeated run is the original again, bit for bit: metrics without clocks, answers, weights.

Example: `first_difference(original, again)` is None, or says what differs first.
"""

import filecmp
from itertools import zip_longest
from pathlib import Path

from gold_style.runs.files import read_json_lines
from gold_style.runs.run_directory import status_of

COMPARED = ("train/", "style/")  # perf/ holds clocks
CLOCKS = ("_s", "_per_second")


def first_difference(original: Path, again: Path) -> str | None:
    """None where `again` has the numbers, answers and weights of `original`; else what differs first, or cannot be compared.

    An original that did not complete is compared as far as it went.
    """
    status = status_of(original)
    before, after = (list(read_json_lines(run / "metrics.jsonl")) for run in (original, again))
    for then, now in zip_longest(before, after if status == "completed" else after[: len(before)], fillvalue={}):
        for name in sorted(then.keys() | now.keys()):
            if name.startswith(COMPARED) and not name.endswith(CLOCKS) and then.get(name) != now.get(name):
                return f"{name} at step {then.get('step', now.get('step'))} was {then.get(name)} and is {now.get(name)}"
    if status != "completed":
        return None if before else f"nothing can be compared: {original} is {status or 'no run'} and has no metrics"
    weights = {path.relative_to(run) for run in (original, again) for path in (run / "student").glob("*.safetensors")}
    for name in (Path("samples.jsonl"), *sorted(weights)):
        if not (original / name).is_file():
            return f"{name} cannot be compared: {original} no longer has it"
        if not ((again / name).is_file() and filecmp.cmp(original / name, again / name, shallow=False)):
            return f"{name} is not the same"
    return None
