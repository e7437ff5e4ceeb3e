"""What a person sees while a run works: a bar with ETA, loss and style rate on a terminal, a plain line now and then elsewhere.

with Progress(is_shown=run.is_main) as progress:
    tick = progress.phase("student before", total=256)
    tick(128, 256)
    progress.phase("training", 120)(30, 120, loss=0.41, margin=0.8)
"""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_EVERY_S = 10.0  # seconds between plain lines where there is no terminal


class Progress:
    """Bars on stderr, one for each phase; nothing at all where `is_shown` is False (other ranks)."""

    def __init__(self, is_shown: bool = True):
        self.is_shown = is_shown
        self.console = Console(stderr=True)
        self._bars = RichProgress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not is_shown or not self.console.is_terminal,
        )

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *error) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """One line above the bars."""
        if self.is_shown:
            self._bars.console.print(text, highlight=False, markup=False)

    def phase(self, name: str, total: int, done: int = 0) -> Callable[..., None]:
        """A new bar. Returns `tick(done, total, **numbers)`; the numbers stand behind the bar."""
        task = self._bars.add_task(name, total=total, completed=done, note="")
        start = last = time.monotonic()
        first = done

        def tick(done: int, total: int, **numbers: float | None) -> None:
            nonlocal last
            note = "  ".join(f"{key} {value:.3f}" for key, value in numbers.items() if value is not None)
            self._bars.update(task, completed=done, total=total, note=note)
            now = time.monotonic()
            if self.is_shown and not self.console.is_terminal and (done >= total or now - last > LINE_EVERY_S):
                last = now
                left = (now - start) / max(1, done - first) * (total - done)
                self.console.print(f"{name}: {done}/{total}  {note}  ETA {left:.0f} s".replace("    ", "  "), highlight=False)

        return tick
