"""Prompts from a file of rows, and the request files that `evaluate.py` reads.

Every row is read and checked before training; gold_style/prompts/rows.py says what a row is, raw_rows.py which files are read.

Example: `python train.py prompts=jsonl prompts.path=my.jsonl`.
"""

from pathlib import Path

from gold_style.config.settings import Settings, find_directory
from gold_style.prompts import Prompt
from gold_style.prompts.held_out import request_key
from gold_style.prompts.raw_rows import RowFiles
from gold_style.prompts.row_source import RowSource
from gold_style.prompts.rows import TAG_LIKE, details
from gold_style.prompts.texts import RowError, checked_text, kind
from gold_style.styles import StylePack


def build(
    settings: Settings, pack: StylePack, run_directory: Path | None = None, special_tokens: frozenset[str] = frozenset()
) -> RowSource:
    """The source of prompts=jsonl; the arguments are those of `build_source`.

    Raises ValueError: a file that cannot be read, bad rows (up to 20 with file:line), more held out than there is.
    """
    path = settings.prompts.path
    return RowSource(row_file(str(path)), f"prompts.path={path}", settings, pack, run_directory, special_tokens)


def row_file(path: str) -> RowFiles:
    """The rows of one file, named in messages as it was given."""
    return RowFiles({find_directory(path): path})


def holds_requests(path: str) -> bool:
    """Whether the first row of a file is a bare `{"request": ...}`, for `read_requests`, and no conversation."""
    first = next(iter(row_file(path)), None)
    return first is not None and isinstance(first.value, dict) and "request" in first.value and "messages" not in first.value


def read_requests(path: str) -> list[Prompt]:
    """The requests of a file of `{"request", "topic", "direction", "era"}` rows, to be asked under any tag.

    Their own style is "" and their tag None: `Prompt.under` gives both. Raises ValueError, naming each bad row's
    file:line; a repeated request is one.
    """
    prompts: dict[str, Prompt] = {}
    mistakes: list[str] = []
    for number, raw in enumerate(row_file(path)):
        try:
            prompt = _request(raw.decoded(), number, raw.origin)
            if (earlier := prompts.setdefault(request_key(prompt), prompt)) is not prompt:
                raise RowError("request", f"repeats {earlier.origin}")
        except RowError as error:
            mistakes.append(f"{raw.origin}: {error}")
    if mistakes or not prompts:
        raise ValueError("\n".join(mistakes) or f"{path}: there are no rows in it")
    return list(prompts.values())


def _request(row: object, number: int, origin: str) -> Prompt:
    if not isinstance(row, dict):
        raise RowError("row", f'is {kind(row)}; expected an object {{"request": ...}}')
    if "request" not in row:
        raise RowError("request", "is missing")
    request = checked_text(row["request"], "request")
    if TAG_LIKE.search(request):
        raise RowError("request", "has a style tag; requests of this file are asked under every tag")
    return Prompt(request=request, style="", tag=None, row=number, origin=origin, **details(row))
