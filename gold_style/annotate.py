"""Ask people: `python -m gold_style.annotate RUN` writes a blind sheet, `... RUN --read FILE [FILE ...]` reads it back."""

from gold_style.opinions.annotate_command import main
from gold_style.runs.terminal import run_command

if __name__ == "__main__":
    run_command(main)
