"""Seconds of each phase of a step. On a GPU, where the host runs ahead of the kernels, CUDA events mark them in the stream: nothing waits
until a row is logged.

    phases = Phases(meters, partial(torch.cuda.Event, enable_timing=True))      # without events: the host's clock
    with phases("teacher"): ...
    phases.read()                                                               # meters.seconds["teacher"] has grown
"""

import contextlib
import time
from collections.abc import Callable, Iterator

import torch

from gold_style.distil.meters import Meters


class Phases:
    """Adds to `meters.seconds` the time of each block, under its name; with `event` only in `read`, once the device has done the work."""

    def __init__(self, meters: Meters, event: Callable[[], torch.cuda.Event] | None = None):
        self.meters, self.event = meters, event
        self._unread: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if self.event is None:
            start = time.perf_counter()
            yield
            self._add(name, time.perf_counter() - start)
            return
        first, last = self.event(), self.event()
        first.record()
        yield
        last.record()
        self._unread.append((name, first, last))

    def read(self) -> None:
        """Wait for the phases that were marked since the last call, and add them."""
        for name, first, last in self._unread:
            last.synchronize()
            self._add(name, first.elapsed_time(last) / 1000)
        self._unread.clear()

    def _add(self, name: str, seconds: float) -> None:
        self.meters.seconds[name] = self.meters.seconds.get(name, 0.0) + seconds
