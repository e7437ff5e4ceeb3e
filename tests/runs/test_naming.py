"""What a run is called, alone and as a job of a real Hydra sweep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gold_style import PROJECT
from gold_style.runs.naming import run_name

SWEEP = """
import hydra
from gold_style.runs.naming import group_name, in_sweep, job_overrides, run_name
from hydra.core.hydra_config import HydraConfig
from pathlib import Path

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    directory = Path(HydraConfig.get().runtime.output_dir)
    print(run_name(directory, job_overrides(())), "|", group_name(directory), "|", job_overrides(())[-1])

main()
"""


def test_jobs_of_a_sweep_are_named_by_what_varies(tmp_path):
    script = tmp_path / "sweep.py"
    script.write_text(SWEEP)
    overrides = ["+loss.beta={from:0,to:0.3,steps:40},0.3", "+a.seed=1,2", "+b.seed=5,6", "+train.max_steps=50"]
    overrides += [f"hydra.sweep.dir={tmp_path / 'multirun/day/time'}", "hydra.output_subdir=null"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, str(script), "-m", *overrides], capture_output=True, text=True, env=environment, timeout=60)
    lines = [line for line in done.stdout.splitlines() if " | " in line]
    assert len(lines) == 8, done.stderr
    assert lines[0] == "beta=0->0.3/40,a.seed=1,b.seed=5 | day/time | +train.max_steps=50"
    assert lines[-1].startswith("beta=0.3,a.seed=2,b.seed=6 |")


@pytest.mark.parametrize(
    "directory, name", [("/x/multirun/2026-01-01/10-00/0", "2026-01-01/10-00/0"), ("/x/mine", "mine"), ("/x/mine/3", "mine/3")]
)
def test_a_run_of_its_own_is_named_by_its_directory(directory, name):
    assert run_name(Path(directory), ["seed=1"]) == name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "tiny"),
        (["loss.beta=0.5", "seed=1", "model=tiny"], "tiny beta=0.5,seed=1"),
        (
            ["output_dir=/x", "tracker.project=p", "tracker=wandb", "+train.max_steps=5", "model.dtype=bfloat16"],
            "tiny max_steps=5,dtype=bfloat16",
        ),
        (["experiment=bard", "loss.beta={from:0,to:0.3,steps:40}"], "tiny experiment=bard,beta=0->0.3/40"),
    ],
)
def test_a_single_run_is_named_by_its_pair_and_what_its_command_changes(overrides, name):
    assert run_name(Path("/x/multirun/2026-01-01/10-00/0"), overrides, "tiny") == name
