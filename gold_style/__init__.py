"""Distil a style toggle from a large language model into a small one, on-policy. Start reading at train.py.

What every room may use is here: the version, where the project lies, and the one answer to a misspelt word.
"""

import logging
import os
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

__version__ = "0.1.0"

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE / "project"  # conf/, data/, train.py and evaluate.py: a wheel carries them in here (setup.py)
if not PROJECT.is_dir():
    PROJECT = PACKAGE.parent  # a checkout has them beside the package

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # we know that GOLDTrainer is experimental: tests/upstream/ watches it
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # as it is imported it advises a further package, which nothing here uses


def did_you_mean(text: object, candidates: Iterable[str], shown: Callable[[str], object] = str) -> str:
    """ "; did you mean ...?" with the candidate nearest to `text`, or nothing; `shown` makes the candidate what is printed."""
    near = nearest(text, candidates)
    return "" if near is None else f"; did you mean {shown(near)}?"


def nearest(text: object, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate most similar to `text`, whatever its case; None where none reaches difflib's ratio `cutoff`."""
    folded = {candidate.casefold(): candidate for candidate in reversed(list(candidates))}
    near = get_close_matches(str(text)[:80].casefold(), folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else None
