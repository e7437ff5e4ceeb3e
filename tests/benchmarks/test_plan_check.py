"""Planned against measured memory of a real run, as benchmarks/plan_check.py compares them."""

import json
import subprocess
import sys

import pytest

from tests.helpers.commands import PROJECT, environment


@pytest.mark.slow
def test_the_plan_of_the_embedded_pair_is_what_a_run_needs():
    command = [sys.executable, "benchmarks/plan_check.py", "--only", "checkpointing,tiny"]
    done = subprocess.run(command, cwd=PROJECT, env=environment(), text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads(line)["case"] for line in done.stdout.splitlines()] == ["checkpointing", "tiny"]
