"""Hand a student on as files: `python -m gold_style.export RUN --format merged|gguf|ollama`."""

from gold_style.job.handover import export
from gold_style.runs.terminal import run_command

if __name__ == "__main__":
    run_command(export)
