"""Prompts from a .jsonl or .json file of `{"messages": [...]}` rows, and the request files that `evaluate.py` reads.

Every row is read and checked before training; gold_style/prompts/rows.py says what a row is.

Example: `python train.py prompts=jsonl prompts.path=my.jsonl`.
"""

import difflib
import os
from pathlib import Path
from typing import Any

from gold_style import PROJECT
from gold_style.prompts import Prompt
from gold_style.prompts.files import SUFFIXES, RowFile
from gold_style.prompts.finite import RowSource
from gold_style.prompts.held_out import request_key
from gold_style.prompts.rows import DIRECTIONS, TAG_LIKE, RowError, checked_text, kind, one_of, optional_text


def build(settings: Any, pack: Any, run_directory: Path | None = None, special_tokens: frozenset[str] = frozenset()) -> RowSource:
    """The source of prompts=jsonl.

    Args: the whole settings; the style pack; where bad rows are set aside; the tokenizers' special tokens, which no
    text may spell.
    Raises ValueError: no such file, not UTF-8, bad rows (up to 20 with file:line), more held out than there is.
    """
    path = find_file(settings.prompts.path)
    file = RowFile(path, shown=str(settings.prompts.path))
    source = RowSource.read(file, f"prompts.path={settings.prompts.path}", settings, pack, run_directory, special_tokens)
    if file.blank_lines:
        source.notes.append(f"prompts.path={settings.prompts.path}: {file.blank_lines} blank line{'s' * (file.blank_lines > 1)} skipped")
    return source


def read_requests(path: str | Path) -> list[Prompt]:
    """The requests of a file of `{"request", "topic", "direction", "era"}` rows, to be asked under any tag.

    Their own style is "" and their tag None: `Prompt.under` gives both. Raises ValueError, naming each bad row's
    file:line; a repeated request is one.
    """
    prompts: list[Prompt] = []
    mistakes: list[str] = []
    lines: dict[str, str] = {}
    for raw in RowFile(find_file(path), shown=str(path)):
        try:
            if raw.error is not None:
                raise raw.error
            prompt = _request(raw.value, raw.number, raw.origin)
            if (earlier := lines.setdefault(request_key(prompt), raw.origin)) is not raw.origin:
                raise RowError("request", f"repeats {earlier}")
            prompts.append(prompt)
        except RowError as error:
            mistakes.append(f"{raw.origin}: {error}")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    if not prompts:
        raise ValueError(f"{path}: there are no rows in it")
    return prompts


def holds_requests(path: str | Path) -> bool:
    """Whether the first row of a file is a bare `{"request": ...}`, for `read_requests`, and no conversation."""
    first = next(iter(RowFile(find_file(path), shown=str(path))), None)
    return first is not None and first.error is None and _is_bare(first.value)


def _is_bare(row: object) -> bool:
    return isinstance(row, dict) and "request" in row and "messages" not in row


def _request(row: object, number: int, origin: str) -> Prompt:
    if not isinstance(row, dict):
        raise RowError("row", f'is {kind(row)}; expected an object {{"request": ...}}')
    if "request" not in row:
        raise RowError("request", "is missing")
    request = checked_text(row["request"], "request")
    if TAG_LIKE.search(request):
        raise RowError("request", "has a style tag; requests of this file are asked under every tag")
    return Prompt(
        request=request,
        style="",
        tag=None,
        row=number,
        topic=optional_text(row, "topic"),
        direction=one_of(row, "direction", DIRECTIONS),
        era=optional_text(row, "era"),
        origin=origin,
    )


def find_file(path: str | Path | None, key: str = "prompts.path") -> Path:
    """`path` from the working directory, else from the project's root. Raises ValueError where it is no data file."""
    if path is None or not str(path).strip():
        raise ValueError(f'{key} is not set: name a {" or ".join(SUFFIXES)} file of rows {{"messages": [...]}}')
    found = next((place for place in places(path) if os.path.exists(place)), None)
    if found is None:
        raise ValueError(f"{key}={path}: no such file{_neighbours(places(path)[0], SUFFIXES)}")
    if found.is_dir():
        inside = _neighbours(found / "*", SUFFIXES)
        raise ValueError(f"{key}={path}: a directory; name one of its files, or use prompts=hf prompts.name={path}{inside}")
    if not found.is_file():
        raise ValueError(f"{key}={path}: not a regular file")
    if not os.access(found, os.R_OK):
        raise ValueError(f"{key}={path}: no permission to read it")
    if found.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{key}={path}: {found.suffix or 'no suffix'} is not one of {', '.join(SUFFIXES)}")
    return found


def places(path: str | Path) -> list[Path]:
    """Where a relative path may be: below the working directory, below the project's root."""
    path = os.path.expanduser(path)  # Path's own raises where there is no such user
    return [Path(path), PROJECT / path]


def _neighbours(path: Path, suffixes: tuple[str, ...]) -> str:
    """ "; did you mean ...?" or what else lies beside `path`."""
    parent = path.parent
    if not os.path.isdir(parent):  # False as well for a name that no file system takes
        return f"; there is no directory {parent} either"
    names = sorted(entry.name for entry in parent.iterdir() if entry.suffix.lower() in suffixes)
    if near := difflib.get_close_matches(path.name, names, n=1):
        return f"; did you mean {parent / near[0]}?"
    return f"; {parent} has {', '.join(names[:8])}" if names else f"; {parent} has no {' or '.join(suffixes)} file"
