"""A data set that fits in memory, as a PromptSource: all rows checked before training, every epoch in a new order.

Prompt k of the run is row `order(n, seed, epoch)[k % n]` of the n training rows, epoch = k // n: a pure function of
(rows, seed, k), in every process and after a restart.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from gold_style.config.settings import Settings
from gold_style.prompts import Prompt
from gold_style.prompts.bad_rows import BadRows
from gold_style.prompts.held_out import hold_out, request_key
from gold_style.prompts.raw_rows import RawRows
from gold_style.prompts.shuffle import hashed, permutation
from gold_style.styles import StylePack

MANY = 1000  # held-out requests; every model answers each of them under every tag


class RowSource:
    """PromptSource over `raw_rows`; `subject` names them in messages, the other arguments are those of `build_source`.

    `fingerprint` is a hash of the rows in their order: a resumed run can tell that its data have changed. Raises ValueError
    for bad rows (or sets them aside), and where none is left.
    """

    max_read_ahead: int | None = None  # rows read and checked before training; None: all

    def __init__(
        self,
        raw_rows: RawRows,
        subject: str,
        settings: Settings,
        pack: StylePack,
        run_directory: Path | None = None,
        special_tokens: frozenset[str] = frozenset(),
    ):
        self._raw_rows, self._pack, self._special_tokens = raw_rows, pack, special_tokens
        self._seed, self._subject = settings.seed, subject
        self._bad_rows = BadRows(subject, settings.prompts, run_directory)
        rows = list(islice(self._accepted(), self.max_read_ahead))
        self._bad_rows.check(len(rows))
        self.num_checked = len(rows)
        self._first: dict[str, Prompt] = {}
        for prompt in rows:
            self._first.setdefault(request_key(prompt), prompt)
        self._evaluation, self._selection = hold_out(self._first, len(rows), settings, subject)
        self._training = list(self._without_held_out(rows))
        self.num_rows: int | None = len(self._training)
        self.untagged_share = sum(prompt.tag is None for prompt in self._training) / max(1, self.num_rows)
        self.has_references = all(prompt.reference is not None for prompt in self._training)
        identities = [identity(prompt) for prompt in rows]
        self.fingerprint = f"{hashed(*identities):016x}"
        self._notes = [understood(rows, settings.prompts.style_column), *duplicate_notes(rows, identities)]
        self._notes += tag_notes(self._training, pack.tags)
        if settings.prompts.eval_samples is None and len(self._evaluation) > MANY:
            asked = f"a tenth of the rows, {len(self._evaluation)} requests, is asked under every tag"
            self._notes.append(f"{asked}; see prompts.eval_samples")
        if blank := raw_rows.blank_lines:
            self._notes.append(f"{blank} blank line{'s' * (blank > 1)} skipped")

    @property
    def notes(self) -> list[str]:
        """What the user should know, bad rows met so far included."""
        return [*self._bad_rows.notes(), *(f"{self._subject}: {note}" for note in self._notes)]

    def __getitem__(self, number: int) -> Prompt:
        """The `number`-th training prompt, number >= 0."""
        assert number >= 0, number
        epoch, position = divmod(number, len(self._training))
        return self._training[order(len(self._training), self._seed, epoch)[position]]

    def evaluation(self) -> Sequence[Prompt]:
        return [self._first[key] for key in self._evaluation]

    def selection(self) -> Sequence[Prompt]:
        return [self._first[key] for key in self._selection]

    def requests(self) -> Sequence[Prompt]:
        """The first row of every distinct request that was read, trained on or not, in the order of the rows."""
        return list(self._first.values())

    def _accepted(self) -> Iterator[Prompt]:
        return self._bad_rows.accepted(self._raw_rows, self._pack, self._special_tokens)

    def _without_held_out(self, rows: Iterable[Prompt]) -> Iterator[Prompt]:
        held_out = {*self._evaluation, *self._selection}
        return (prompt for prompt in rows if request_key(prompt) not in held_out)


@lru_cache(maxsize=4)
def order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of one epoch, shape (n,)."""
    return permutation(n, seed, "epoch", epoch)


def identity(prompt: Prompt) -> int:
    """A hash of everything in a row that a model reads or is trained on."""
    return hashed(prompt.tag, prompt.system, prompt.before, prompt.request, prompt.after, prompt.reference)


def understood(rows: Sequence[Prompt], style_column: str | None) -> str:
    """How the rows were read: "240 rows, ShareGPT (conversations), tag in the text, 12 without a tag"."""
    shapes, untagged = Counter(prompt.shape for prompt in rows), [prompt.style for prompt in rows if prompt.tag is None]
    facts = [f"{len(rows)} rows", *(shape if len(shapes) == 1 else f"{number} of {shape}" for shape, number in shapes.items())]
    facts += [f"style in the column {style_column}" if style_column else "tag in the text"] * (len(untagged) < len(rows))
    facts += [f"{len(untagged)} without a tag (they follow styles.untagged={untagged[0]})"] if untagged else []
    return ", ".join(facts)


def duplicate_notes(rows: Sequence[Prompt], identities: Sequence[int]) -> list[str]:
    """One note on the rows that repeat an earlier one word for word."""
    first: dict[int, Prompt] = {}
    repeats = [(row, first[key]) for row, key in zip(rows, identities, strict=True) if first.setdefault(key, row) is not row]
    if not repeats:
        return []
    again, earlier = repeats[0]
    count = f"{len(repeats)} duplicate row{'s' * (len(repeats) > 1)}"
    return [f"{count}, kept, so that each counts again; the first: {again.origin} repeats {earlier.origin}"]


def tag_notes(rows: Sequence[Prompt], tags: Iterable[str]) -> list[str]:
    """Notes on styles that no training row asks for."""
    asked = {prompt.style for prompt in rows}
    return [f"no training row asks for <style:{tag}>, so it is not learned" for tag in tags if tag not in asked]
