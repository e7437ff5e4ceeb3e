"""An orderly end after SIGINT, SIGTERM or SIGUSR1 (SLURM's usual notice of preemption).

The first signal asks: the trainer looks at `stop.requested` between steps, saves and ends. If that takes longer than
the grace period, `Interrupted` breaks into the step, which is dropped; the last checkpoint stays. A second signal ends
the process at once. Launchers may pass on a signal that their workers have received already (torchrun after Ctrl-C),
so one that arrives within ECHO_S of the first counts as the same request.

Example:
    with listen(settings.grace_s, at_once=run.interrupted_at_once) as stop:
        train(is_requested=lambda: stop.requested is not None)
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gold_style.runs.redact import say

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
ECHO_S = 1.0


class Interrupted(KeyboardInterrupt):
    """The run was asked to end. Not an Exception: libraries that survive those must not survive this."""

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(f"interrupted by {signal.Signals(signum).name}")

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells have it: 130 for SIGINT, 143 for SIGTERM, 138 for SIGUSR1."""
        return 128 + self.signum


@dataclass
class StopRequest:
    """What the trainer asks between steps."""

    requested: int | None = None  # the first signal's number
    requested_at: float = 0.0  # seconds of the monotonic clock


@contextlib.contextmanager
def listen(grace_s: float, at_once: Callable[[int], None] = lambda signum: None) -> Iterator[StopRequest]:
    """Catch the signals while the block runs.

    Args: seconds from the first signal to `Interrupted`; what to do, in milliseconds, before a second signal ends the
    process with 128 + its number.
    """
    stop = StopRequest()

    def on_signal(signum: int, _frame) -> None:
        if stop.requested is None:
            stop.requested, stop.requested_at = signum, time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(grace_s, 1e-3))
            with contextlib.suppress(RuntimeError, OSError):  # a handler may have cut into another print
                say(
                    f"{signal.Signals(signum).name}: finishing this step and saving, {grace_s:g} s at most; a second signal ends it at once"
                )
        elif time.monotonic() - stop.requested_at > ECHO_S:
            with contextlib.suppress(Exception):
                at_once(signum)
            os._exit(128 + signum)

    def on_alarm(_signum: int, _frame) -> None:
        if stop.requested is not None:
            raise Interrupted(stop.requested)

    with handled({**dict.fromkeys(SIGNALS, on_signal), signal.SIGALRM: on_alarm}):
        try:
            yield stop
        finally:
            if stop.requested is not None:
                signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def handled(handlers: Mapping[int, Callable]) -> Iterator[None]:
    """Handle signals while the block runs; afterwards they mean what they meant before.

    Outside the main thread, where Python allows no handlers, nothing is handled.
    """
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
