"""Distil a style toggle: config -> one run directory.

python train.py                                            the embedded pair, two minutes on two cores
python train.py model=qwen3b_to_1p5b prompts=dynamic       Qwen2.5 3B -> 1.5B, on a GPU
python train.py -m loss.beta=0,0.3,1 seed=0,1,2            a sweep of nine
python train.py dry_run=true                               check everything, show what each model reads, stop
"""

import sys

from omegaconf import DictConfig

from gold_style.config.check.command_line import hydra_main
from gold_style.runs.naming import in_sweep
from gold_style.runs.signals import Interrupted
from gold_style.runs.terminal import keep_printing, told_interrupted
from gold_style.sweep.command import sweep
from gold_style.sweep.jobs import run_in_sweep


@hydra_main("config", sweep)
def main(cfg: DictConfig) -> float:
    from gold_style.config.settings import Settings

    settings = Settings.from_config(cfg)  # the last line to see a DictConfig; typos stopped before main, ranges and files here
    if in_sweep() and not settings.dry_run:
        return run_in_sweep(settings, sys.argv)  # what a Hydra sweeper optimises
    from gold_style.job.training import run_job  # torch and transformers: not before the settings are checked

    return run_job(settings, sys.argv)


if __name__ == "__main__":
    keep_printing()
    try:
        main()
    except Interrupted as interruption:
        sys.exit(interruption.exit_code)
    except KeyboardInterrupt:  # before a run was there to be interrupted
        sys.exit(told_interrupted())
