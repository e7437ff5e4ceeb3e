"""Score a student, or answer one request with it.

python evaluate.py multirun/2026-11-22/15-04-05-123456/0                            a run directory, or a checkpoint or adapter in one
python evaluate.py Qwen/Qwen2.5-1.5B-Instruct                                        a bare model, on data/'s requests
python evaluate.py RUN request="봄 축제를 알려 줘."                                    one request of your own, under every tag
"""

import sys

from omegaconf import DictConfig

from gold_style.config.check.command_line import hydra_main
from gold_style.config.settings import EvaluateSettings
from gold_style.config.target import Target
from gold_style.runs.terminal import run_main


@hydra_main("evaluate")
def main(cfg: DictConfig) -> float:
    settings = EvaluateSettings.from_config(cfg)
    Target.find(settings)  # says what is wrong with it
    from gold_style.job.evaluation import evaluate  # torch and transformers: only now, when nothing is wrong with the settings

    return evaluate(settings, sys.argv)


if __name__ == "__main__":
    run_main(main)
