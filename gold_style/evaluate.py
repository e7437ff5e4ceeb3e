"""Score a student, as `python evaluate.py`: `python -m gold_style.evaluate target=RUN`."""

from gold_style.cli import run_script

if __name__ == "__main__":
    run_script("evaluate")
