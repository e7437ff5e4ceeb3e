"""The study of the cold start: what its results say, from the lines that it keeps; runs are the command's own affair."""

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "benchmarks"))

from cold_start import OTHERS, PAIRS, PLAIN, SEEDS  # noqa: E402

from gold_style.config.yaml_file import read_mapping  # noqa: E402

TINY = PAIRS["tiny"]
RATES = TINY.tried


def of_tiny(text: str) -> str:
    return text.replace("{ramp}", str(TINY.ramp)).replace("{warm}", str(TINY.warm)).replace("{beta}", "0")  # beta 0 is the better


def line(variant: str, overrides: list[str], rate: float, seed: int, margin: float) -> str:
    """A run of 64 requests: so many toggle as the margin says, others are plain under both tags."""
    hits = {f"{request:08x}": [request < 64 * margin, False] for request in range(64)}
    cell = {"variant": variant, "overrides": overrides, "rate": rate, "seed": seed}
    numbers = {"margin": margin, "leakage": 0.0, "content": 1.0, "degenerate": 0.0, "teacher": 1.0, "seconds": 40}
    return json.dumps(cell | numbers | {"date": "2026-11-28", "machine": "some CPU", "commit": "abc", "hits": hits})


def written(tmp_path: Path, lines: list[str]) -> tuple[str, Path]:
    """What the command prints that runs nothing, and its page."""
    (tmp_path / "cold_start_tiny.jsonl").write_text("\n".join(lines) + "\n")
    places = [f"--{name}={tmp_path / name}" for name in ("root", "page")]
    command = [sys.executable, "benchmarks/cold_start.py", "--only-write", *places, f"--results={tmp_path}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, tmp_path / "page"


def test_the_text_says_what_beats_the_better_plain_one_at_each_ones_best_rate(tmp_path):
    margins = {**dict(zip(PLAIN, (0.5, 0.25), strict=True)), **dict(zip(OTHERS, (0.5, 0.9, 0.1, 0.55), strict=True))}
    lines = []
    for variant, overrides in {**PLAIN, **OTHERS}.items():
        overrides, name = [of_tiny(text) for text in overrides], of_tiny(variant)
        lines += [line(name, overrides, rate, 0, margins[variant] * (1 if rate == RATES[-1] else 0.1)) for rate in RATES]
        lines += [line(name, overrides, RATES[-1], seed, margins[variant]) for seed in SEEDS[1:]]
    out, page = written(tmp_path, lines)
    plain, names = next(iter(PLAIN)), [of_tiny(name) for name in OTHERS]
    assert f"- {names[1]} beats {plain}" in out and f"- {names[2]} is worse than {plain}" in out
    assert f"- {names[0]} cannot be told apart from {plain}" in out and f"- {names[3]} cannot be told apart" in out
    assert f"x {RATES[-1]:g}" in out and out in page.read_text()
    assert (
        "29 runs are done, others are missing: `python benchmarks/cold_start.py --pair tiny` continues" in written(tmp_path, lines[:-1])[0]
    )


def test_the_rates_are_multiples_of_those_of_the_pair():
    recipe = read_mapping(PROJECT / "conf/model/tiny.yaml")["recipe"]
    assert TINY.rates == {"train.learning_rate": recipe["learning_rate"], "model.recipe.muon_learning_rate": recipe["muon_learning_rate"]}
