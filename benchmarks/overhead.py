"""Where the wall time of the default run goes: start-up, and what the training loop spends outside the work itself.

    python benchmarks/overhead.py                 # `python train.py`, whole: about two minutes; writes benchmarks/results/overhead_cpu.json

Work is rollouts, teacher, student with loss (their own clocks, `perf/*_s` of metrics.jsonl) and the optimizer's step; the live evaluation
that the default run makes every so many steps is shown beside them. What is left of the loop's wall time is overhead: logging, W&B,
progress bar, checkpoints, callbacks, clipping, the loop itself.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


class Clock:
    """Seconds by name, added up."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function):
        """`function`, with its wall time added under `name`."""

        def call(*args, **kwargs):
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

        return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of the default run, e.g. train.max_steps=20")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "overhead_cpu.json")
    asked = parser.parse_args()
    import psutil

    from gold_style.config.settings import Settings
    from gold_style.job import training

    imported = time.time() - psutil.Process().create_time()
    from stepping.results import provenance
    from transformers import TrainerCallback

    from train import train

    clock, trainers = Clock(), []

    class Loop(TrainerCallback):
        """The loop's own wall time, and the optimizer's."""

        def on_train_begin(self, *args, **kwargs):
            self.begun = time.perf_counter()

        def on_train_end(self, *args, **kwargs):
            clock.seconds["loop"] = time.perf_counter() - self.begun

    def build(*args, **kwargs):
        trainer = build_trainer(*args, **kwargs)
        create = trainer.create_optimizer

        def create_optimizer(*args, **kwargs):
            optimizer = create(*args, **kwargs)
            optimizer.step = clock.timed("optimizer", optimizer.step)
            return optimizer

        trainer.create_optimizer = create_optimizer
        trainer.add_callback(Loop())
        trainers.append(trainer)
        return trainer

    build_trainer = clock.timed("models and trainer", training.build_trainer)
    training.build_trainer = build
    training.Job.live_numbers = clock.timed("live evaluation", training.Job.live_numbers)
    training.Inputs.load = clock.timed("tokenizers and prompts", training.Inputs.load)
    with tempfile.TemporaryDirectory() as directory:
        settings = clock.timed("config", Settings.compose)(f"output_dir={directory}/run", *asked.overrides)
        train(settings, sys.argv)
    write(asked.out, summarise(imported, clock.seconds, trainers[0].meters.seconds, trainers[0].state.global_step) | provenance("cpu", 1))


def summarise(imported: float, seconds: dict[str, float], work: dict[str, float], steps: int) -> dict:
    start_up = {"imports": imported, **{name: seconds[name] for name in ("config", "tokenizers and prompts", "models and trainer")}}
    known = {**work, "optimizer": seconds["optimizer"], "live evaluation": seconds.get("live evaluation", 0.0)}
    outside = seconds["loop"] - sum(known.values())
    return {
        "start_up_s": {name: round(value, 3) for name, value in start_up.items()},
        "start_up_total_s": round(sum(start_up.values()), 3),
        "steps": steps,
        "loop_s": round(seconds["loop"], 3),
        "loop_parts_s": {name: round(value, 3) for name, value in known.items()},
        "outside_s": round(outside, 3),
        "outside_share": round(outside / seconds["loop"], 4),
        "outside_share_without_live_evaluation": round(outside / (seconds["loop"] - known["live evaluation"]), 4),
    }


def write(path: Path, result: dict) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
