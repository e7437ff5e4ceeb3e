"""What is printed never costs what was computed (a terminal without Korean, a reader that has gone, a full disk) and tells no secret.

run_main(main)                 # train.py, evaluate.py: their results are files, so a lost line ends nothing
run_command(main)              # python -m gold_style.<name>: what they print is the result, so a lost line is an error
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable

from gold_style.runs.redact import redact, say
from gold_style.runs.signals import Interrupted


class _Discreet(io.FileIO):
    """A file that takes secrets out of what is written, tracebacks of libraries included, and drops writes that cannot be made: EPIPE
    after `| head`, ENOSPC, a terminal that was closed."""

    def write(self, data) -> int:
        rest = memoryview(redact(bytes(data).decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape"))
        with contextlib.suppress(OSError):
            while rest and (written := super().write(rest)):
                rest = rest[written:]
        return len(data)


def keep_printing() -> None:
    """From now on stdout and stderr escape what their encoding lacks, drop what cannot be written, and redact secrets."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # closed, or somebody captures it
            continue
        file = io.BufferedWriter(_Discreet(stream.fileno(), "w", closefd=False))
        options = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
        setattr(sys, name, io.TextIOWrapper(file, encoding=stream.encoding, errors="backslashreplace", **options))


def run_main(main: Callable[[], object]) -> None:
    """Run a script whose results are files. A signal ends the process with 128 + its number."""
    keep_printing()
    try:
        main()
    except Interrupted as interruption:
        sys.exit(interruption.exit_code)
    except KeyboardInterrupt:  # before a run was there to be interrupted
        sys.exit(_say_interrupted())


def run_command(main: Callable[[], int]) -> None:
    """Run a command whose result is what it prints, and end the process with its exit code."""
    sys.exit(exit_code(main))


def exit_code(main: Callable[[], int]) -> int:
    """What `main` returns; 2 with one line for a mistake of the user (ValueError, OSError), 130 for Ctrl-C, 0 where the reader left."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _without_stdout(0)
    except KeyboardInterrupt:
        return _say_interrupted()
    except (ValueError, OSError) as error:
        say(str(error))
        return _without_stdout(2)


def _say_interrupted() -> int:
    """The exit code that shells know for Ctrl-C."""
    say("interrupted")
    return 130


def _without_stdout(code: int) -> int:
    """`code`, and stdout leads nowhere if it cannot be written: the interpreter's last flush would fail once more."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
