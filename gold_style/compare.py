"""Compare runs by their files: `python -m gold_style.compare DIR [DIR ...] [--output DIR]`."""

import sys

from gold_style.comparison.command import main
from gold_style.runs.terminal import exit_code

if __name__ == "__main__":
    sys.exit(exit_code(main))
