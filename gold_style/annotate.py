"""Ask people: `python -m gold_style.annotate RUN` writes a blind sheet, `... RUN --read FILE [FILE ...]` reads it back."""

import sys

from gold_style.opinions.annotate_command import main
from gold_style.runs.terminal import exit_code

if __name__ == "__main__":
    sys.exit(exit_code(main))
