"""The console command; `gold-style COMMAND` is `python -m gold_style.COMMAND`.

usage: gold-style COMMAND ARGUMENTS
  train     distil a style toggle; with -m a sweep
  evaluate  score a run, a checkpoint or a model, or ask it one request
  play      ask a finished run, in a page or in the terminal
  compare   compare many runs
  report    draw report.html of a run again, or print its table
  export    write a student as a folder, as GGUF or for Ollama
  publish   put a student on the model hub
  judge     ask a language model about the answers of a run
  annotate  ask people about the answers of a run, with blind sheets
  new       begin a style of your own
gold-style COMMAND --help says more
"""

import runpy
import sys

from gold_style import PROJECT

USAGE = __doc__.partition("\n\n")[2].rstrip()
COMMANDS = [line.split()[0] for line in USAGE.splitlines()[1:-1]]


def main() -> None:
    """Runs the command that sys.argv names, as `python -m gold_style.<command>` would. Exit code 2 without one."""
    command = sys.argv[1] if len(sys.argv) > 1 else None
    if command not in COMMANDS:
        asked_for_help = command in ("-h", "--help")
        print(USAGE, file=sys.stdout if asked_for_help else sys.stderr)
        sys.exit(0 if asked_for_help else 2)
    del sys.argv[1]
    runpy.run_module(f"gold_style.{command}", run_name="__main__", alter_sys=True)


def run_script(name: str) -> None:
    """Runs train.py or evaluate.py, of the checkout or out of the wheel, as if it had been started by its path."""
    script = str(PROJECT / f"{name}.py")
    sys.argv[0] = script
    runpy.run_path(script, run_name="__main__")
