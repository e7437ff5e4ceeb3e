"""A data set read while training, as a PromptSource: bounded in memory, and still a pure function of row numbers.

The stream is read in its own order, without bad rows and held-out requests, and cut into windows of WINDOW_ROWS. Prompt
k of epoch e is row `permutation(len(window), seed, "window", e, w)[k % WINDOW_ROWS]` of window w = k // WINDOW_ROWS.
When the stream ends, its length is known and the next epoch begins. To continue at row k after a restart therefore means
reading the stream up to k once more.

The first `max_read_ahead` rows are checked before training, and the held-out requests are chosen among them; later rows
are checked as they come. Every process of a launch reads the whole stream and uses its own share.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from gold_style.prompts import Prompt
from gold_style.prompts.row_source import RowSource
from gold_style.prompts.shuffle import permutation

WINDOW_ROWS = 1024
KEPT_WINDOWS = 4


class StreamSource(RowSource):
    """A RowSource that holds a few windows of its rows.

    `num_rows` is None until the end of the stream has been seen, and `has_references` speaks for the rows read ahead.
    A bad row after those raises ValueError where it is reached (on_bad_row=stop).
    """

    max_read_ahead = 8192

    def __init__(self, *arguments, **named):
        """The arguments of RowSource."""
        super().__init__(*arguments, **named)
        self._training.clear()  # read again, window by window
        if self.num_checked == self.max_read_ahead:
            self.num_rows = None
            self._notes.append(f"a stream; {self.num_checked} rows have been checked, later ones are checked as they come")
        self._windows: dict[int, list[Prompt]] = {}  # the latest ones
        self._reader: Iterator[Prompt] | None = None
        self._next_window = 0  # that the reader gives

    def __getstate__(self) -> dict[str, Any]:
        """Without the open stream, which no other process can read from."""
        return {**self.__dict__, "_reader": None}

    def __getitem__(self, number: int) -> Prompt:
        """The `number`-th training prompt, number >= 0. Raises ValueError for a bad row on the way (`stop`)."""
        assert number >= 0, number
        epoch, position = divmod(number, self.num_rows) if self.num_rows else (0, number)
        index, place = divmod(position, WINDOW_ROWS)
        window = self._window(index)
        if place >= len(window):  # past the end, whose place is known by now
            return self[number]
        return window[permutation(len(window), self._seed, "window", epoch, index)[place]]

    def _window(self, index: int) -> list[Prompt]:
        """The training rows of one window, in the stream's order; empty past the end, and then `num_rows` is known."""
        if index in self._windows:
            return self._windows[index]
        if self._reader is None or index < self._next_window:
            self._reader, self._next_window = self._without_held_out(self._accepted()), 0
        while self._reader is not None and self._next_window <= index:
            window = list(islice(self._reader, WINDOW_ROWS))
            num_rows = self._next_window * WINDOW_ROWS + len(window)
            self._bad_rows.check(num_rows)
            if len(window) < WINDOW_ROWS:
                self._end(num_rows)
            self._windows[self._next_window] = window
            if len(self._windows) > KEPT_WINDOWS:
                del self._windows[next(iter(self._windows))]
            self._next_window += 1
        return self._windows.get(index, [])

    def _end(self, num_rows: int) -> None:
        """The stream is at its end. Raises ValueError where it was longer or shorter the last time."""
        if self.num_rows not in (None, num_rows):
            raise ValueError(f"{self._subject}: the stream has changed: {self.num_rows} training rows before, {num_rows} now")
        self.num_rows, self._reader = num_rows, None
