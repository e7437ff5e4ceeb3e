"""Put a student on the model hub: `python -m gold_style.publish RUN ORG/NAME [--private] [--dry-run]`."""

from gold_style.job.handover import publish
from gold_style.runs.terminal import run_command

if __name__ == "__main__":
    run_command(publish)
