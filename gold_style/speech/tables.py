"""The tables of this folder: plain text files that a linguist reads and corrects without reading code.

`<module>.yaml` belongs to `<module>.py`; `nouns.yaml` and `guards.yaml` to all guards; `endings.tsv` is the table of endings.
Each file says at its top what it lists, why, from where, and what may be added.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

FOLDER = Path(__file__).parent
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as fast, where PyYAML has it


class Words:
    """Words between spaces, for `in`. "-하" is every word that ends in 하, "어찌-" every word that begins with 어찌."""

    def __init__(self, text: str) -> None:
        words = text.split()
        self.ends = tuple(word[1:] for word in words if word[0] == "-")
        self.beginnings = tuple(word[:-1] for word in words if word[-1] == "-")
        self.whole = frozenset(word for word in words if "-" not in word)

    def __contains__(self, word: str) -> bool:
        return word in self.whole or word.endswith(self.ends) or word.startswith(self.beginnings)


def read_table(name: str) -> dict[str, Any]:
    """`name`.yaml of this folder: its lists as strings (phrases: lists of them) by their names."""
    return yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), Loader=SafeLoader)


def read_words(name: str) -> SimpleNamespace:
    """The lists of `name`.yaml by their names, each as `Words`."""
    return SimpleNamespace(**{key: Words(text) for key, text in read_table(name).items()})
