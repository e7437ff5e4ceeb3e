"""A sweep of eight runs to compare."""

from pathlib import Path

import pytest

from tests.helpers.run_files import write_run

GRID = [(beta, lmbda, seed) for beta in (0.3, 1.0) for lmbda in (0.0, 1.0) for seed in (0, 1)]


@pytest.fixture(scope="session")
def sweep(tmp_path_factory) -> Path:
    """A grid of 2 x 2 settings over 2 seeds; one run failed, one was killed, one goes by another day."""
    root = tmp_path_factory.mktemp("sweep")
    for number, (beta, lmbda, seed) in enumerate(GRID):
        status, reason = "completed", None
        if number == 5:
            status, reason = "failed", "NonFinite: loss is nan at step 31"
        if number == 7:
            status = "running"  # nobody holds its lock: it was killed
        day = "2026-11-21" if number == 0 else "2026-11-22"
        write_run(
            root / day / "10-00-00" / str(number),
            config={"loss": {"beta": beta, "lmbda": lmbda}, "model": {"name": "tiny"}},
            seed=seed,
            status=status,
            reason=reason,
            after=(0.98 - 0.3 * (beta - 0.3), 0.02 + 0.2 * lmbda),
            started=f"{day}T10:00:0{number}",
            steps=40 + 10 * number,
            command="train.py -m loss.beta=0.3,1 loss.lmbda=0,1 seed=0,1",
        )
    return root


@pytest.fixture(scope="session")
def scheduled_sweep(tmp_path_factory) -> Path:
    """Four runs, of which two move beta during training."""
    root = tmp_path_factory.mktemp("scheduled")
    schedule = {"from": 0.0, "to": 0.3, "steps": 40}
    for number, (beta, lmbda) in enumerate([(schedule, 1.0), (0.3, 1.0), (schedule, 0.0), (0.3, 0.0)]):
        write_run(root / str(number), config={"loss": {"beta": beta, "lmbda": lmbda}}, command="train.py -m loss.lmbda=0,1")
    return root
