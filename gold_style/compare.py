"""Compare runs by their files: `python -m gold_style.compare DIR [DIR ...] [--output DIR]`."""

from gold_style.comparison.command import main
from gold_style.runs.terminal import run_command

if __name__ == "__main__":
    run_command(main)
