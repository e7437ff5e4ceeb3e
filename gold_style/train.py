"""Distil a style toggle, as `python train.py`: `python -m gold_style.train`, `accelerate launch -m gold_style.train`."""

from gold_style.cli import run_script

if __name__ == "__main__":
    run_script("train")
