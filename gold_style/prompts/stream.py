"""A data set read while training, as a PromptSource: bounded in memory, and still a pure function of row numbers.

The stream is read in its own order, without bad rows and held-out requests, and cut into windows of WINDOW_ROWS. Prompt
k of epoch e is row `permutation(len(window), seed, "window", e, w)[k % WINDOW_ROWS]` of window w = k // WINDOW_ROWS.
When the stream ends, its length is known and the next epoch begins. Going on from row k after a restart therefore means
reading the stream up to k once more.

The first READ_AHEAD_ROWS rows are checked before training, and the held-out requests are chosen among them; later rows
are checked as they come. Every process of a launch reads the whole stream and uses its own share.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from gold_style.prompts import Prompt
from gold_style.prompts.bad_rows import BadRows
from gold_style.prompts.files import RawRow
from gold_style.prompts.finite import duplicate_notes, identity, tag_notes
from gold_style.prompts.held_out import hold_out, request_key
from gold_style.prompts.shuffle import hash64, permutation

WINDOW_ROWS = 1024
READ_AHEAD_ROWS = 8192
KEPT_WINDOWS = 4


class StreamSource:
    """PromptSource over rows that `open_rows()` begins to read anew at every call.

    `num_rows` is None until the end of the stream has been seen, and `has_references` speaks for the rows read ahead.
    A bad row further on raises ValueError where it is reached (on_bad_row=stop).
    """

    def __init__(
        self,
        open_rows: Callable[[], Iterable[RawRow]],
        subject: str,
        settings: Any,
        pack: Any,
        run_directory: Path | None = None,
        special_tokens: frozenset[str] = frozenset(),
    ):
        self._open_rows, self._pack, self._special_tokens = open_rows, pack, special_tokens
        self._seed, self._subject = settings.seed, subject
        self._bad_rows = BadRows(subject, settings.prompts.on_bad_row, run_directory)
        head = list(islice(self._accepted(), READ_AHEAD_ROWS))
        self._bad_rows.check(len(head))
        self._first = {request_key(prompt): prompt for prompt in reversed(head)}
        amounts = settings.prompts.eval_samples, settings.prompts.selection_samples
        self._held_out = hold_out(self._first, len(head), self._seed, *amounts, f"the head of {subject} ({len(head)} rows)")
        self._kept_back = {*self._held_out.evaluation, *self._held_out.selection}
        training = [prompt for prompt in head if request_key(prompt) not in self._kept_back]
        self.num_rows: int | None = len(training) if len(head) < READ_AHEAD_ROWS else None
        self.has_references = all(prompt.reference is not None for prompt in training)
        identities = [identity(prompt) for prompt in head]
        self.fingerprint = f"{hash64(*identities):016x}"
        self._notes = [*duplicate_notes(head, identities, subject), *tag_notes(training, pack.tags, subject)]
        if self.num_rows is None:
            self._notes.append(f"{subject}: a stream; {len(head)} rows have been checked, later ones are checked as they come")
        self._windows: OrderedDict[int, list[Prompt]] = OrderedDict()
        self._reader: Iterator[Prompt] | None = None
        self._next_window = 0

    def __getstate__(self) -> dict[str, Any]:
        """Without the open stream, which no other process can go on with."""
        return {**self.__dict__, "_reader": None, "_next_window": 0}

    @property
    def notes(self) -> list[str]:
        """What the user should know, bad rows met so far included."""
        return [*self._bad_rows.notes(), *self._notes]

    def __getitem__(self, number: int) -> Prompt:
        """The `number`-th training prompt, number >= 0. Raises ValueError for a bad row on the way (`stop`)."""
        assert number >= 0, number
        epoch, position = divmod(number, self.num_rows) if self.num_rows else (0, number)
        index, place = divmod(position, WINDOW_ROWS)
        window = self._window(index)
        if place >= len(window):  # past the end, whose place is known by now
            return self[number]
        return window[permutation(len(window), self._seed, "window", epoch, index)[place]]

    def evaluation(self) -> Sequence[Prompt]:
        return [self._first[key] for key in self._held_out.evaluation]

    def selection(self) -> Sequence[Prompt]:
        return [self._first[key] for key in self._held_out.selection]

    def requests(self) -> Sequence[Prompt]:
        """The first row of every distinct request among the rows read ahead, in the order of the rows."""
        return sorted(self._first.values(), key=lambda prompt: prompt.row)

    def _accepted(self) -> Iterator[Prompt]:
        return self._bad_rows.accepted(self._open_rows(), self._pack, self._special_tokens)

    def _window(self, index: int) -> list[Prompt]:
        """The training rows of one window, in the stream's order; empty past the end, and then `num_rows` is known."""
        if index in self._windows:
            self._windows.move_to_end(index)
            return self._windows[index]
        if self._reader is None or index < self._next_window:
            self._reader = (prompt for prompt in self._accepted() if request_key(prompt) not in self._kept_back)
            self._next_window = 0
        while self._next_window <= index:
            window = list(islice(self._reader, WINDOW_ROWS))
            self._bad_rows.check(num_good=self._next_window * WINDOW_ROWS + len(window))
            if len(window) < WINDOW_ROWS:
                self._end(num_rows=self._next_window * WINDOW_ROWS + len(window))
            self._windows[self._next_window] = window
            self._windows.move_to_end(self._next_window)
            if len(self._windows) > KEPT_WINDOWS:
                self._windows.popitem(last=False)
            self._next_window += 1
            if self._reader is None:
                return self._windows[index] if index in self._windows else []
        return self._windows[index]

    def _end(self, num_rows: int) -> None:
        """The stream is at its end. Raises ValueError where it was longer or shorter the last time."""
        if self.num_rows not in (None, num_rows):
            raise ValueError(f"{self._subject}: the stream has changed: {self.num_rows} training rows before, {num_rows} now")
        self.num_rows, self._reader = num_rows, None
