"""Draw report.html of a run again, from its files: `python -m gold_style.report RUN [RUN ...]`."""

import sys

from gold_style.runs.terminal import exit_code
from gold_style.show.command import main

if __name__ == "__main__":
    sys.exit(exit_code(main))
