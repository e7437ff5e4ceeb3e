"""The table of the real model: from what its runs have left to docs/real.md; runs are the command's own affair."""

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "benchmarks"))

from real import ANSWERS, PAGE, RESULTS, text_of  # noqa: E402

from gold_style.runs.files import read_json_lines  # noqa: E402


def row(seed: int, margin: float) -> dict:
    """A run of 128 requests whose first ones toggle."""
    measured = {"margin": margin, "leakage": 0.0, "untagged": 0.0, "content": 0.8, "degenerate": 0.05}
    retention = {"bits_per_byte": {"before": 2.0, "change": 0.02}, "choice": {"before": 0.85, "after": 0.9}}
    return {
        **{"seed": seed, "minutes": 15.0, "peak_gb": 5.5, "date": "2026-11-28", "device": "cpu", "commit": "abc", "steps": 40},
        **{"before": measured | {"margin": 0.0}, "after": measured, "teacher": measured | {"margin": 0.875}, "retention": retention},
        "hits": {f"{request:08x}": [request < 128 * margin, False] for request in range(128)},
    }


def test_the_table_has_a_line_a_seed_and_one_for_all_and_says_which_are_missing():
    text = text_of([row(0, 0.75), row(2, 0.5)])
    lines = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    by_seed = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in lines[2:5]}
    assert list(by_seed) == ["0", "2", "all"]
    assert [cells[0].split()[0] for cells in by_seed.values()] == ["0.75", "0.50", "0.62"]
    assert by_seed["all"][1] == "0.88" and "+1.0%" in by_seed["0"] and by_seed["2"][-2:] == ["15", "5.5"]
    assert "Seeds that are missing: 1." in text


def test_the_page_is_that_of_the_committed_results():
    rows = list(read_json_lines(RESULTS))
    assert text_of(rows) in PAGE.read_text(encoding="utf-8")
    assert ANSWERS.read_text(encoding="utf-8").rstrip() in PAGE.read_text(encoding="utf-8")
    assert len({row["seed"] for row in rows}) == len(rows)
