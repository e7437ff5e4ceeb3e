"""What is printed ends no command; what could not be printed is an error where it is the result."""

import os
import subprocess
import sys

import pytest

from gold_style import PROJECT


@pytest.mark.parametrize("reader", ["/dev/full", "gone"])
def test_a_terminal_that_takes_nothing_ends_no_command(reader):
    code = "from gold_style.runs.terminal import keep_printing\nkeep_printing()\nprint('봄' * 99999, flush=True)\nprint('on')"
    read, write = os.pipe()
    os.close(read)
    with open(reader if reader == "/dev/full" else write, "wb") as stdout:
        done = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, cwd=PROJECT)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_korean_gets_escapes():
    code = "from gold_style.runs.terminal import keep_printing\nkeep_printing()\nprint('봄')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, cwd=PROJECT)
    assert done.stdout == b"\\ubd04\n"


def test_the_last_line_of_a_command_that_failed_is_its_message():
    code = "import sys\nfrom gold_style.runs.terminal import exit_code\nsys.exit(exit_code(lambda: print('x', flush=True) or 0))"
    with open("/dev/full", "wb") as stdout:
        done = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, cwd=PROJECT)
    assert (done.returncode, done.stderr) == (2, b"[Errno 28] No space left on device\n")


def test_ctrl_c_before_a_run_is_there_is_one_line():
    code = "import sys\nfrom gold_style.runs.terminal import exit_code\ndef main():\n raise KeyboardInterrupt\nsys.exit(exit_code(main))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=PROJECT)
    assert (done.returncode, done.stderr) == (130, b"interrupted\n")
