"""benchmarks/gpu.py, rehearsed on the CPU; parts that end badly cost nobody else; the page shows what the lines hold."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from card import page
from card.case import Case
from card.parts import Part, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_sections_run_on_the_smallest_pair(tmp_path):
    """Machine, correctness and our step: every check passes, and each line holds what the page reads."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "gpu.py"),
        "--pair=smallest",
        "--device=cpu",
        "--only=0,1,4",
        f"--output={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "sections.jsonl").read_text().splitlines()]
    assert [(line["section"], line["status"], line["errors"]) for line in lines] == [(0, "ok", []), (1, "ok", []), (4, "ok", [])]
    machine, correctness, steps = lines
    assert machine["facts"]["card"] == "cpu" and machine["facts"]["bandwidth_gb_s"] > 0
    checks = correctness["tables"]["checks"]
    assert {row["dtype"] for row in checks} == {"float32", "bfloat16"} and all(row["passed"] in (True, None) for row in checks)
    kinds = (
        "decode step",
        "graph against its steps",
        "graph against the loop",
        "prefix cache",
        "packed reading",
        "fused loss",
        "micro-batch of 1 row",
        "same seed twice",
    )
    for kind in kinds:
        assert any(row["check"].startswith(kind) and row["passed"] for row in checks), kind
    ours = steps["tables"]["ours"]
    assert [row["microbatch"] for row in ours] == ["1 row", "768 tokens", "whole window", "whole window"]
    for row in ours:
        phases = sum(row[f"{phase}_s"] for phase in ("rollout", "teacher", "student", "optimizer"))
        assert 0 < phases <= 1.5 * row["seconds"] and row["tokens_s"] > 0
    text = page.block(lines)
    assert "### 4. Our step (cpu)" in text and "| whole window |" in text
    assert page.write_page(tmp_path) == 1  # figures of a CPU do not reach the page


@pytest.mark.slow
@pytest.mark.parametrize("seconds, limit_s, status", [(0.0, 300, "ok"), (600.0, 30, "deadline")])
def test_a_part_is_ended_at_its_deadline_and_what_it_found_stays(tmp_path, seconds, limit_s, status):
    from card import decoding  # noqa: F401  forked processes find it loaded

    case, report = Case("cpu", "smallest", tmp_path, threads=1), tmp_path / "report.json"
    start = time.monotonic()
    ended = run(Part("decoding", "sleep", 60, (seconds,)), case, report, tmp_path / "log", "fork", limit_s)
    assert ended.status == status and time.monotonic() - start < 300
    assert json.loads(report.read_text())["facts"] == {"began": True}


@pytest.mark.slow
def test_a_part_that_fails_says_why(tmp_path):
    case = Case("cpu", "smallest", tmp_path, threads=1)
    ended = run(Part("decoding", "no_such_function", 60), case, tmp_path / "report.json", tmp_path / "log", "fork", 300)
    assert ended.status == "failed" and "no_such_function" in ended.error


def test_the_page_takes_the_latest_line_of_each_section_and_names_the_card(tmp_path):
    line = {"title": "Our step", "status": "ok", "seconds": 3.0, "facts": {}, "tables": {}, "errors": []}
    lines = [line | {"section": 0, "title": "The machine", "facts": {"card": "NVIDIA H100"}}]
    lines += [line | {"section": 4, "tables": {"ours": [{"microbatch": "1 row", "seconds": seconds}]}} for seconds in (2.5, 1.25)]
    error = {"part": "7.1 our_memory", "status": "deadline", "seconds": 45.0, "said": "first\nlast words"}
    lines += [line | {"section": 7, "title": "Memory", "status": "deadline", "errors": [error]}]
    (tmp_path / "sections.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = tmp_path / "gpu.md"
    shown.write_text("# On a GPU\n\n<!-- gpu -->\nold\n<!-- /gpu -->\nafter\n")
    assert page.write_page(tmp_path, shown, tmp_path) == 0
    text = shown.read_text()
    assert "old" not in text and text.endswith("<!-- /gpu -->\nafter\n")
    assert "### 4. Our step (NVIDIA H100)" in text and "| 1 row | 1.25 |" in text and "2.5" not in text
    assert "**deadline**" in text and "`last words`" in text
    assert len((tmp_path / "gpu_NVIDIA_H100.jsonl").read_text().splitlines()) == 3
