"""Where an ending stands: what a guard gets to see of a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Place(NamedTuple):
    """An ending's `form` (as in the table, "-소서"), the `stem` in front of it and the eojeols before that one."""

    stem: str
    before: tuple[str, ...] = ()
    form: str = ""

    @property
    def last(self) -> str:
        """The eojeol right before, or an empty string."""
        return self.before[-1] if self.before else ""


# A guard returns how the ending leans there (a lean of `endings.py`), or None: not this ending, try a shorter one.
Guard = Callable[[Place], "str | None"]
