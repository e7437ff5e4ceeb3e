"""Distil a style toggle: config -> one run directory.

python train.py                                            the embedded pair, two minutes on two cores
python train.py model=qwen3b_to_1p5b prompts=dynamic       Qwen2.5 3B -> 1.5B, on a GPU
python train.py -m loss.beta=0,0.3,1 seed=0,1,2            a sweep of nine
python train.py extend=RUN train.max_steps=320             train a completed run further, in a new directory
python train.py model=qwen3b_to_1p5b plan=h100              memory, seconds and disk on that card, before it is paid for
python train.py dry_run=true                               check everything, show what each model reads, stop
"""

import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from gold_style.config.check.command_line import hydra_main
from gold_style.config.check.rules import rule_mistakes
from gold_style.config.settings import Settings
from gold_style.runs.naming import in_sweep
from gold_style.runs.summary_number import summary_number
from gold_style.runs.terminal import run_main
from gold_style.sweep.command import sweep
from gold_style.sweep.jobs import run_in_sweep


@hydra_main("config", sweep)
def main(cfg: DictConfig) -> float:
    settings = Settings.from_config(cfg)  # the last line to see a DictConfig; typos stopped before main, ranges and files here
    return run_in_sweep(settings, train) if in_sweep() else train(settings, sys.argv)


def train(settings: Settings, argv: Sequence[str]) -> float:
    """One run. Returns a number of its summary, which a Hydra sweeper maximises; NaN for null."""
    from gold_style.job.obstacles import refuse
    from gold_style.job.page import print_forecast
    from gold_style.job.plan import dry_run

    if settings.plan:
        return print_forecast(settings, rule_mistakes)
    if settings.dry_run:
        return dry_run(settings, argv, rule_mistakes)
    refuse(settings, argv)
    from gold_style.job.training import open_job  # torch and transformers: only now, when nothing is against the run

    with open_job(settings, argv) as job:  # a run directory, and a trainer with both models; closed however the run ends
        before, teacher = job.ask_student("before"), job.ask_teacher()
        job.train()
        after = job.ask_student("after")
        summary = job.write_up(before, after, teacher)
    return summary_number(summary, settings.objective)


if __name__ == "__main__":
    run_main(main)
