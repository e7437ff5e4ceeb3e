"""A language model as judge of a run: `python -m gold_style.judge RUN --url http://127.0.0.1:8000/v1 --model NAME`."""

from gold_style.opinions.judge_command import main
from gold_style.runs.terminal import run_command

if __name__ == "__main__":
    run_command(main)
