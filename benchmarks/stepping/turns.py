"""Trainers that take turns: each runs its own, whole training loop in a thread, one optimizer step at a time.

    loops = [Loop(trainer_a, clock), Loop(trainer_b, clock)]
    seconds_a, seconds_b = (loop.step() for loop in loops)

So a step is what the library's loop does in it (generation, forward, backward, clipping, optimizer), and whatever else the machine is
busy with meets the sides alike. Only one thread runs at a time.
"""

import threading
import time
from collections.abc import Callable

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback


def clock(device: str, threads: int) -> Callable[[], float]:
    """Seconds: of CPU time where one thread computes (a busy machine then matters less), else of the wall."""
    if device == "cuda":

        def synchronised() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return synchronised
    return time.process_time if threads == 1 else time.perf_counter


class _Closed(Exception):
    """A loop was closed."""


class Loop(TrainerCallback):
    """`trainer.train()`, held at the beginning of every optimizer step until `step` is called; idle whenever no call is under way."""

    def __init__(self, trainer: Trainer, now: Callable[[], float]):
        self.trainer, self.now = trainer, now
        self._go, self._held = threading.Semaphore(0), threading.Semaphore(0)
        self._seconds = 0.0
        self._error: BaseException | None = None
        self._closed = False
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(self)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    def step(self) -> float:
        """Let one step run; its seconds. Raises what the loop raised."""
        self._go.release()
        self._wait()
        return self._seconds

    def close(self) -> None:
        """End the loop before its next step, so that its thread lets go of the trainer."""
        if self._thread.is_alive():
            self._closed = True
            self._go.release()
            self._thread.join()

    def _wait(self) -> None:
        """Until the loop stands before its next step, or is over: what it does between two steps must not run beside another side's."""
        self._held.acquire()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self.trainer.train()
        except _Closed:
            pass
        except BaseException as error:  # it belongs to the thread that called `step`
            self._error = error
        self._held.release()

    def on_step_begin(self, args, state, control, **kwargs):
        self._held.release()
        self._go.acquire()
        if self._closed:
            raise _Closed
        self._start = self.now()

    def on_step_end(self, args, state, control, **kwargs):
        self._seconds = self.now() - self._start
