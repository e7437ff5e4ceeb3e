"""A data set that fits in memory, as a PromptSource: all rows checked before training, every epoch in a new order.

Prompt k of the run is row `order(n, seed, epoch)[k % n]` of the n training rows, epoch = k // n: a pure function of
(rows, seed, k), in every process and after a restart.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gold_style.prompts import Prompt
from gold_style.prompts.bad_rows import BadRows
from gold_style.prompts.files import RawRow
from gold_style.prompts.held_out import hold_out, request_key, size_notes
from gold_style.prompts.shuffle import hash64, permutation


class RowSource:
    """PromptSource over checked rows.

    `fingerprint` is a hash of the rows in their order: a resumed run can tell that its data have changed.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int,
        subject: str,
        tags: Iterable[str] = (),
        eval_samples: int | None = None,
        selection_samples: int | None = None,
    ):
        keys = [request_key(prompt) for prompt in prompts]
        held_out = hold_out(keys, len(prompts), seed, eval_samples, selection_samples, subject)
        self._first = {key: prompt for key, prompt in zip(reversed(keys), reversed(prompts), strict=True)}
        self._held_out = held_out
        kept_back = {*held_out.evaluation, *held_out.selection}
        self._training = [prompt for key, prompt in zip(keys, prompts, strict=True) if key not in kept_back]
        self._seed = seed
        self.num_rows: int | None = len(self._training)
        self.has_references = all(prompt.reference is not None for prompt in self._training)
        identities = [identity(prompt) for prompt in prompts]
        self.fingerprint = f"{hash64(*identities):016x}"
        self.notes = [
            *size_notes(held_out, eval_samples, subject),
            *duplicate_notes(prompts, identities, subject),
            *tag_notes(self._training, tags, subject),
        ]

    @classmethod
    def read(
        cls,
        raw_rows: Iterable[RawRow],
        subject: str,
        settings: Any,
        pack: Any,
        run_directory: Path | None,
        special_tokens: frozenset[str] = frozenset(),
    ) -> "RowSource":
        """Reads and checks every row. Raises ValueError for bad ones (or sets them aside), and where none is left."""
        bad_rows = BadRows(subject, settings.prompts.on_bad_row, run_directory)
        prompts = list(bad_rows.accepted(raw_rows, pack, special_tokens))
        bad_rows.check(len(prompts))
        source = cls(
            prompts,
            seed=settings.seed,
            subject=subject,
            tags=pack.tags,
            eval_samples=settings.prompts.eval_samples,
            selection_samples=settings.prompts.selection_samples,
        )
        source.notes = [*bad_rows.notes(), *source.notes]
        return source

    def __getitem__(self, number: int) -> Prompt:
        """The `number`-th training prompt, number >= 0."""
        assert number >= 0, number
        epoch, position = divmod(number, len(self._training))
        return self._training[order(len(self._training), self._seed, epoch)[position]]

    def evaluation(self) -> Sequence[Prompt]:
        return [self._first[key] for key in self._held_out.evaluation]

    def selection(self) -> Sequence[Prompt]:
        return [self._first[key] for key in self._held_out.selection]

    def requests(self) -> Sequence[Prompt]:
        """The first row of every distinct request, trained on or not, in the order of the rows."""
        return sorted(self._first.values(), key=lambda prompt: prompt.row)


@lru_cache(maxsize=4)
def order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of one epoch, shape (n,)."""
    return permutation(n, seed, "epoch", epoch)


def identity(prompt: Prompt) -> int:
    """A hash of everything in a row that a model reads or is trained on."""
    return hash64(prompt.tag, prompt.system, prompt.before, prompt.request, prompt.after, prompt.reference)


def duplicate_notes(prompts: Sequence[Prompt], identities: Sequence[int], subject: str) -> list[str]:
    """One note on the rows that repeat an earlier one word for word."""
    first: dict[int, Prompt] = {}
    repeats = [(prompt, first[key]) for prompt, key in zip(prompts, identities, strict=True) if first.setdefault(key, prompt) is not prompt]
    if not repeats:
        return []
    again, earlier = repeats[0]
    count = f"{len(repeats)} duplicate row{'s' * (len(repeats) > 1)}"
    return [f"{subject}: {count}, kept, so that each counts again; the first: {again.origin} repeats {earlier.origin}"]


def tag_notes(prompts: Sequence[Prompt], tags: Iterable[str], subject: str) -> list[str]:
    """Notes on untagged rows and on styles that no training row asks for."""
    counts = Counter(prompt.style for prompt in prompts)
    untagged = [prompt.style for prompt in prompts if prompt.tag is None]
    notes = [f"{subject}: no training row asks for <style:{tag}>, so it is not learned" for tag in tags if not counts[tag]]
    if untagged:
        share = f"{len(untagged)} of {len(prompts)} training rows have no tag"
        notes.append(f"{subject}: {share} and follow styles.untagged={untagged[0]}")
    return notes
