"""What a person sees while work is done: bars with ETA and numbers on a terminal, a plain line now and then elsewhere.

with Progress(is_shown=run.is_main) as progress:
    tick = progress.phase("student before", total=256)
    tick(128, 256)
    progress.phase("training", 120)(30, 120, loss=0.41, margin=0.8)
"""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

SPEED_OVER_S = 600.0  # seconds that an ETA looks back: slow steps and live evaluations between them are in it


class Progress:
    """Bars on stderr, one for each phase; nothing at all where `is_shown` is False (other ranks).

    Where there is no terminal, a line every `line_every_s` seconds.
    """

    def __init__(self, is_shown: bool = True, line_every_s: float = 10.0):
        self.is_shown, self.line_every_s = is_shown, line_every_s
        self.console = Console(stderr=True)
        self._bars = RichProgress(
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            speed_estimate_period=SPEED_OVER_S,
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
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def phase(self, name: str, total: int, done: float = 0) -> Callable[..., None]:
        """A new bar. Returns `tick(done, total, **notes)`; the notes, numbers or texts, follow the bar."""
        task = self._bars.add_task(name, total=total, completed=done, note="", state="ETA")
        start = last_line = time.monotonic()
        first = last_done = done

        def tick(done: float, total: int, **notes: float | str | None) -> None:
            nonlocal last_line, last_done
            words = {key: f"{value:.3f}" if isinstance(value, float) else value for key, value in notes.items()}
            note = "  ".join(f"{key} {word}" for key, word in words.items() if word is not None)
            self._bars.update(task, completed=done, total=total, note=note, state="took" if done >= total else "ETA")
            now = time.monotonic()
            is_due = done >= total > last_done or now - last_line > self.line_every_s
            last_done = done
            if is_due and not self.console.is_terminal:
                last_line = now
                eta = duration((now - start) / (done - first) * (total - done)) if done > first else "–"
                self.say("  ".join(filter(None, [f"{name}: {int(done)}/{total}", note, f"ETA {eta}"])))

        return tick


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
