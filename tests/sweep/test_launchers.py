"""Hydra's launchers that start other processes: the same directories, the same records, one cache."""

import json

import pytest

from tests.helpers.commands import SMALL, python

LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "ray": ("hydra/launcher=ray", "+hydra.launcher.ray.init.include_dashboard=false"),
    "submitit": ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"),
}


@pytest.mark.parametrize(
    "launcher", [pytest.param(name, marks=pytest.mark.ray if name == "ray" else pytest.mark.slow) for name in LAUNCHERS]
)
def test_a_launcher_runs_a_sweep_and_tells_of_what_failed(tmp_path, launcher):
    """The second job's prompts do not fit, which only its tokenizer shows; the first completes, and the sweep says so."""
    line = ("-m", *SMALL, "hardware.threads=1", "prompts.max_prompt_tokens=null,2", *LAUNCHERS[launcher])
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    done = python("train.py", *line, cwd=tmp_path, **quiet)
    assert done.code == 1, done.stderr[-3000:]
    (sweep,) = (path for path in (tmp_path / "multirun").glob("*/*") if (path / "sweep.json").is_file())
    states = {path.parent.name: json.loads(path.read_text()) for path in sweep.glob("*/run.json")}
    assert {name: state["status"] for name, state in states.items()} == {"0": "completed", "1": "failed"}
    assert "2 fit" in states["1"]["reason"] and "1 completed, 1 failed" in done.stderr
    assert (sweep / "console" / "0.txt").read_text().count("run directory: ") == 1

    again = python("train.py", *line, "resume=auto", cwd=tmp_path, **quiet)  # finds the same dated directory
    assert again.code == 1 and len(list((tmp_path / "multirun").glob("*/*"))) == 1, again.stderr[-3000:]
    assert json.loads((sweep / "0" / "run.json").read_text()) == states["0"]
    assert json.loads((sweep / ".failed" / "1.1" / "run.json").read_text())["reason"] == states["1"]["reason"]
