"""What happens to rows that cannot be used: all reported at once, or set aside in a file; counted either way.

`prompts.on_bad_row=stop` ends in one ValueError that lists up to NUM_SHOWN kinds of them. `quarantine` writes every one
to `<run directory>/quarantine.jsonl`, `{"origin", "field", "reason", "text"}` a line, and leaves it out.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from gold_style.config.schema import Requests
from gold_style.prompts import Prompt
from gold_style.prompts.raw_rows import KEPT_BYTES, RawRow, RawRows
from gold_style.prompts.rows import parse_row
from gold_style.prompts.texts import RowError
from gold_style.styles import StylePack

NUM_SHOWN = 20


class BadRows:
    """Collects the bad rows of one data set; `subject` names it in messages, as in "prompts.path=my.jsonl"."""

    def __init__(self, subject: str, prompts: Requests, run_directory: Path | None = None):
        self.subject, self.quarantine, self._column = subject, prompts.on_bad_row == "quarantine", prompts.style_column
        self.count = 0
        self._alike: dict[str, list] = {}  # what is wrong -> the first row where it is, and how many there are
        self._last = -1  # number of the latest bad row, so that reading a stream again counts nothing twice
        first_process = os.environ.get("RANK", "0") == "0"  # of a launch; all of them read the same rows
        self._path = run_directory / "quarantine.jsonl" if self.quarantine and run_directory and first_process else None
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def accepted(self, raw_rows: RawRows, pack: StylePack, special_tokens: frozenset[str] = frozenset()) -> Iterator[Prompt]:
        """The prompts of the good rows, in order, numbered with the bad ones; those are kept here."""
        for number, raw in enumerate(raw_rows):
            try:
                prompt = parse_row(raw.decoded(), pack, raw.origin, number, special_tokens, self._column)
            except RowError as error:
                self._add(raw, number, error)
            else:
                yield prompt

    def check(self, num_good: int) -> None:
        """Raises ValueError for the bad rows met so far (on_bad_row=stop), or where no row is left at all."""
        if self.count and not self.quarantine:
            head = f"{self.subject}: {self.count} of {self.count + num_good} rows cannot be used"
            hint = "  prompts.on_bad_row=quarantine sets them aside and trains on the others"
            raise ValueError("\n".join([f"{head}:", *self._shown(), hint]))
        if not num_good:
            reason = f"all {self.count} rows are bad:" if self.count else "there are no rows in it"
            raise ValueError("\n".join([f"{self.subject}: {reason}", *self._shown()]))

    def notes(self) -> list[str]:
        """What the user should know about the rows set aside."""
        if not self.count:
            return []
        where = f"set aside in {self._path}" if self._path else "left out"
        return [f"{self.subject}: {self.count} bad row{'s' * (self.count > 1)} {where}; the first:\n{self._shown()[0]}"]

    def _shown(self) -> list[str]:
        """A line for each kind of mistake, up to NUM_SHOWN, and one for the rest."""
        lines = [f"  {origin}: {error}{f' ({number} such rows)' * (number > 1)}" for error, (origin, number) in self._alike.items()]
        rest = self.count - sum(number for _, number in self._alike.values())
        return lines + [f"  and {rest} more"] * (rest > 0)

    def _add(self, raw: RawRow, number: int, error: RowError) -> None:
        if number <= self._last:
            return
        self._last = number
        self.count += 1
        if len(self._alike) < NUM_SHOWN or str(error) in self._alike:
            self._alike.setdefault(str(error), [raw.origin, 0])[1] += 1
        if self._path is not None:
            text = raw.text if raw.text is not None else json.dumps(raw.value, ensure_ascii=False, default=str)
            row = {"origin": raw.origin, "field": error.field, "reason": error.reason, "text": text[:KEPT_BYTES]}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:  # a lone surrogate as \udXXX
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
