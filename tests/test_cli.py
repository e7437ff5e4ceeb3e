"""The console command, in the checkout; tests/wheel runs it out of the wheel."""

import subprocess
import sys

import pytest

from gold_style import PROJECT
from gold_style.cli import COMMANDS

CODE = "from gold_style.cli import main; main()"


def gold_style(*arguments: str, cwd) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--help",), 0), (("tain",), 2)])
def test_without_a_command_it_names_them(tmp_path, arguments, code):
    done = gold_style(*arguments, cwd=tmp_path)
    assert done.returncode == code and (done.stderr if code else done.stdout).startswith("usage: gold-style COMMAND")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_there(tmp_path, command):
    done = gold_style(command, "--help", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr and len(done.stdout.splitlines()) > 5


def test_a_mistake_is_refused_as_by_the_script(tmp_path):
    done = gold_style("train", "loss.bta=1", cwd=tmp_path)
    script = subprocess.run([sys.executable, str(PROJECT / "train.py"), "loss.bta=1"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == script.returncode == 2 and done.stderr == script.stderr
