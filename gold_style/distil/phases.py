"""Seconds of each phase of a step. On a GPU, where the host runs ahead of the kernels, CUDA events mark them in the stream: nothing waits
until a row is logged.

    phases = Phases(meters, partial(torch.cuda.Event, enable_timing=True))      # without events: the host's clock
    with phases("teacher"): ...
    phases.read()                                                               # meters.seconds["teacher"] has grown
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gold_style.distil.meters import Meters


class Phases:
    """Measures blocks by their names; `read` adds their seconds to `meters`, with `event` once the device has done the work."""

    def __init__(self, meters: Meters, event: Callable[[], torch.cuda.Event] | None = None):
        self.meters, self.event = meters, event
        self._unread: list[tuple[str, Any, Any]] = []

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        first = self._mark()
        yield
        self._unread.append((name, first, self._mark()))

    def _mark(self):
        if self.event is None:
            return time.perf_counter()
        event = self.event()
        event.record()
        return event

    def read(self) -> None:
        """Add what was measured since the last call."""
        for name, first, last in self._unread:
            if self.event is not None:
                last.synchronize()
            seconds = last - first if self.event is None else first.elapsed_time(last) / 1000
            self.meters.seconds[name] = self.meters.seconds.get(name, 0.0) + seconds
        self._unread.clear()
