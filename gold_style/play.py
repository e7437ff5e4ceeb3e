"""Ask finished runs: `python -m gold_style.play [RUN ...] [--terminal]`.

Opens a page on this machine where you ask finished runs: one request under every tag and without one, answered by the student
before and after training and by the teacher. Without RUN: the newest finished run under multirun/. Several runs answer side by side.
"""

import argparse
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from gold_style.config.settings import EvaluateSettings, find_directory
from gold_style.config.target import Target
from gold_style.measure.samples import MODELS
from gold_style.runs.run_directory import STATE, finished_student, runs_under, status_of
from gold_style.runs.terminal import run_command

ROOT = Path("multirun")
SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}  # read as Gradio is imported


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0. Raises ValueError for what is no finished run, and for a page without Gradio, before a model is loaded."""
    parser = argparse.ArgumentParser(prog="python -m gold_style.play", description=__doc__.split("\n\n")[1])
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a finished run, or a checkpoint in a run")
    parser.add_argument("--terminal", action="store_true", help="answer the lines of the standard input in the terminal")
    parser.add_argument("--teacher", action="store_true", help="the teacher answers, too; in the page it can be chosen later")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 to 2; 0, the default, takes the likeliest token")
    parser.add_argument("--length", type=int, help="tokens of an answer (default: as in the run's own evaluation)")
    asked = parser.parse_args(arguments)
    if not 0 <= asked.temperature <= 2 or (asked.length is not None and asked.length < 1):
        parser.error("--temperature goes from 0 to 2, and --length begins at 1")
    if not asked.terminal and not find_spec("gradio"):
        raise ValueError("the page needs Gradio: pip install 'gold-style[play]'; --terminal does without")
    targets = [found(name) for name in asked.runs or [None]]
    # no proxy knows our loopback
    os.environ |= SILENT | {"no_proxy": f"127.0.0.1,{os.environ.get('no_proxy') or os.environ.get('NO_PROXY', '')}"}
    from gold_style.job.playground import AskedRun, converse, serve  # torch and transformers: only now, when nothing is wrong

    runs = [AskedRun(*target) for target in targets]
    show = converse if asked.terminal else serve
    show(runs, models=MODELS if asked.teacher else MODELS[:2], temperature=asked.temperature, length=asked.length or runs[0].length)
    return 0


def found(name: str | None) -> tuple[EvaluateSettings, Target]:
    """The run, or the checkpoint in one; None: the newest that is finished. Raises ValueError for what cannot be asked."""
    finished = [run for run in runs_under(ROOT) if status_of(run) == "completed" and (run / "student").is_dir()]
    if name is None and not finished:
        raise ValueError(f"no finished run under {ROOT.absolute()}: make one with python train.py, or name one")
    path = find_directory(name) if name else max(finished, key=lambda run: (run / STATE).stat().st_mtime)
    if not path.exists() or not any((parent / STATE).is_file() for parent in path.parents[:2]):  # student/ or a checkpoint of a run
        finished_student(Path(name or path))
    asked = replace(EvaluateSettings.compose("target=RUN", "request=-"), target=str(path), request=None)
    return asked, Target.find(asked)


if __name__ == "__main__":
    run_command(main)
