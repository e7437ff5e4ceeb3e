"""Where an ending stands: what a guard gets to see of a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

_NOUNS_EUL = ("가을", "마을", "노을", "고을", "겨를")


class Place(NamedTuple):
    """An ending's `form` (as in the table, "-소서"), the `stem` in front of it and the eojeols before that one."""

    stem: str
    before: tuple[str, ...] = ()
    form: str = ""

    @property
    def last(self) -> str:
        """The eojeol right before, or an empty string."""
        return self.before[-1] if self.before else ""

    @property
    def governed(self) -> bool:
        """Whether an object (-을, -를) stands right before: then this eojeol is a predicate, listed or not."""
        return self.last.endswith(("을", "를")) and not self.last.endswith(_NOUNS_EUL) and len(self.last) > 1


# A guard returns how the ending leans there (a lean of `endings.py`), or None: not this ending, try a shorter one.
Guard = Callable[[Place], "str | None"]
