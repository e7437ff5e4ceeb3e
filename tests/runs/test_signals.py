"""Real signals to real processes."""

import signal
import subprocess
import sys
import time

import pytest

from gold_style.runs.signals import SIGNALS, Interrupted, listen

TRAINS = """
import os, sys, time
from pathlib import Path
from gold_style.runs.signals import Interrupted, listen
grace_s, step_s = float(sys.argv[1]), float(sys.argv[2])
try:
    with listen(grace_s, at_once=lambda signum: os.write(1, b"at once\\n")) as stop:
        os.write(1, b"ready\\n")
        for step in range(1000):
            time.sleep(step_s)
            if stop.requested:
                os.write(1, b"saved\\n")
                raise Interrupted(stop.requested)
except Interrupted as interrupted:
    os.write(1, f"{interrupted}\\n".encode())
    sys.exit(interrupted.exit_code)
"""


def train(grace_s: float, step_s: float) -> subprocess.Popen:
    command = [sys.executable, "-c", TRAINS, str(grace_s), str(step_s)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_lets_the_step_finish_and_save(signum, code):
    child = train(grace_s=20, step_s=0.1)
    child.send_signal(signum)
    out, err = child.communicate(timeout=10)
    assert out.split("\n")[:2] == ["saved", f"interrupted by {signum.name}"]
    assert child.returncode == code
    assert err.count("\n") == 1 and f"{signum.name}: finishing this step" in err


def test_past_the_grace_period_the_step_is_dropped():
    child = train(grace_s=0.3, step_s=60)
    start = time.monotonic()
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=10)
    assert 0.2 < time.monotonic() - start < 5
    assert out == "interrupted by SIGTERM\n" and child.returncode == 143


def test_a_second_signal_ends_at_once_and_an_echo_does_not():
    child = train(grace_s=60, step_s=60)
    child.send_signal(signal.SIGINT)
    time.sleep(0.2)
    child.send_signal(signal.SIGTERM)  # a launcher passing the first one on
    time.sleep(1.0)
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=5)
    assert out == "at once\n" and child.returncode == 143


def test_afterwards_signals_mean_what_they_meant_before():
    before = {signum: signal.getsignal(signum) for signum in (*SIGNALS, signal.SIGALRM)}
    with pytest.raises(Interrupted) as caught, listen(grace_s=60) as stop:
        signal.raise_signal(signal.SIGUSR1)
        assert stop.requested == signal.SIGUSR1
        raise Interrupted(stop.requested)
    assert caught.value.exit_code == 138 and isinstance(caught.value, KeyboardInterrupt)
    assert {signum: signal.getsignal(signum) for signum in before} == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
