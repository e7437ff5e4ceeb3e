"""What the per-style metrics cost: a training step of the embedded pair with them and without, alternating in one process.

    python benchmarks/metrics_cost.py [--rounds 12]

Writes benchmarks/results/metrics_cost_cpu.json: medians of CPU seconds per step, and the median of the per-round ratios.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from gold_style.config.settings import Settings  # noqa: E402
from gold_style.distil import trainer as trainer_module  # noqa: E402
from gold_style.job.build import build_trainer  # noqa: E402
from gold_style.job.inputs import Inputs  # noqa: E402


class NoRun:
    """Where the trainer would write."""

    def __init__(self, directory: Path):
        self.checkpoints = directory


def step_seconds(trainer, measured_tokens: int) -> float:
    """CPU seconds of one window, forward to backward, on the first window's rows."""
    trainer_module.MEASURED_TOKENS = measured_tokens
    start = time.process_time()
    trainer.training_step(trainer.model, None)
    if measured_tokens:
        trainer.meters.pop([trainer.meters.export()], {})
    elapsed = time.process_time() - start
    trainer.model.zero_grad(set_to_none=True)
    return elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    settings = Settings.compose("hardware=cpu", "tracker=none")
    with tempfile.TemporaryDirectory() as directory:
        trainer = build_trainer(settings, Inputs.load(settings), NoRun(Path(directory)))
        trainer.create_optimizer()
        trainer.model.train()
        measured = trainer_module.MEASURED_TOKENS
        step_seconds(trainer, measured)
        pairs = [(step_seconds(trainer, measured), step_seconds(trainer, 0)) for _ in range(rounds)]
    result = {
        "step_with_s": statistics.median(on for on, _ in pairs),
        "step_without_s": statistics.median(off for _, off in pairs),
        "ratio": statistics.median(on / off for on, off in pairs),
        "rounds": rounds,
        "threads": 1,
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }
    path = ROOT / "benchmarks" / "results" / "metrics_cost_cpu.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
