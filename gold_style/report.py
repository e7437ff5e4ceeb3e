"""Draw report.html of a run again, from its files: `python -m gold_style.report RUN [RUN ...]`."""

from gold_style.runs.terminal import run_command
from gold_style.show.command import main

if __name__ == "__main__":
    run_command(main)
