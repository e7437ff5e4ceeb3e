"""JSON Lines and JSON files -> raw rows with their lines; one that cannot be decoded carries its error instead.

Reads `.jsonl`/`.ndjson` (a row per line) and `.json` (a list of rows, or rows one after another) as UTF-8, with or
without a byte order mark, with LF or CRLF. No line is held in memory beyond MAX_LINE_BYTES, however long it is.

Example: `for raw in RowFile(Path("data/style_toggles.jsonl")): print(raw.origin, raw.value or raw.error)`.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gold_style.prompts.rows import RowError, excerpt

LINE_SUFFIXES = (".jsonl", ".ndjson")
SUFFIXES = (*LINE_SUFFIXES, ".json")
MAX_LINE_BYTES = 8 * 2**20
MAX_FILE_BYTES = 256 * 2**20  # of a .json file, which has to be read whole
MAX_DEPTH = 64  # a row needs three levels; Python's own parser gives up somewhere near a thousand
BUFFER_BYTES = 2**20
KEPT_BYTES = 64 * 2**10  # of a line that is too long or cannot be decoded
BRACKETS_AND_STRINGS = re.compile(r'[\[{]|[\]}]|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """A row as found: its decoded `value`, or the `error` that kept it from being decoded."""

    number: int  # from 0; bad rows count, blank lines do not
    origin: str  # "file:line", lines from 1, or "dataset[split]:row", rows from 0
    value: object = None
    error: RowError | None = None
    text: str | None = None  # as found, for the quarantine; None: `value` says it all


class RowFile:
    """The rows of one file, in order; iterating again reads it again.

    `shown` is the name used in messages. `blank_lines` counts the skipped lines of the latest pass.
    """

    def __init__(self, path: Path, shown: str | None = None):
        self.path, self.shown, self.blank_lines = path, shown or str(path), 0

    def __iter__(self) -> Iterator[RawRow]:
        """Raises ValueError where the file as a whole cannot be read: its encoding, its size."""
        self.blank_lines = 0
        with self.path.open("rb", buffering=BUFFER_BYTES) as file:
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise ValueError(f"{self.shown}:1: the file is UTF-16; save it as UTF-8")
            file.seek(0)
            yield from self._lines(file) if self.path.suffix.lower() in LINE_SUFFIXES else self._values(file)

    def _lines(self, file: BinaryIO) -> Iterator[RawRow]:
        number = line_number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            line_number += 1
            origin = f"{self.shown}:{line_number}"
            if len(line) > MAX_LINE_BYTES:
                num_bytes = len(line) + _skip_line(file) if not line.endswith(b"\n") else len(line)
                reason = f"has {num_bytes} bytes; allowed: up to {MAX_LINE_BYTES}"
                yield RawRow(number=number, origin=origin, error=RowError("line", reason), text=_readable(line))
            elif not line.strip(b" \t\r\n\xef\xbb\xbf"):
                self.blank_lines += 1
                continue
            else:
                yield _decoded_line(line, number, origin)
            number += 1

    def _values(self, file: BinaryIO) -> Iterator[RawRow]:
        content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"{self.shown}: a .json file is read whole, up to {MAX_FILE_BYTES} bytes; save it as .jsonl")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line_number = content.count(b"\n", 0, error.start) + 1
            raise ValueError(f"{self.shown}:{line_number}: {not_utf8(content, error)}") from None
        line_number, counted = 1, 0
        try:
            for number, (start, value, error) in enumerate(_members(text)):
                line_number += text.count("\n", counted, start)
                counted = start
                found = text[start : start + KEPT_BYTES] if error else None
                yield RawRow(number=number, origin=f"{self.shown}:{line_number}", value=value, error=error, text=found)
        except json.JSONDecodeError as error:  # nobody can tell where the next row begins
            raise ValueError(f"{self.shown}:{error.lineno}: not JSON: {error.msg} at column {error.colno}") from None


def _skip_line(file: BinaryIO) -> int:
    """Reads on to the end of the line, a piece at a time; the number of bytes skipped."""
    skipped = 0
    while piece := file.read(BUFFER_BYTES):
        if (end := piece.find(b"\n") + 1) > 0:
            file.seek(end - len(piece), os.SEEK_CUR)
            return skipped + end
        skipped += len(piece)
    return skipped


def _decoded_line(line: bytes, number: int, origin: str) -> RawRow:
    try:
        text = line.decode("utf-8").strip(" \t\r\n").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return RawRow(number=number, origin=origin, error=RowError("line", not_utf8(line, error)), text=_readable(line))
    try:
        return RawRow(number=number, origin=origin, value=decode(text))
    except RowError as error:
        torn = not line.endswith(b"\n") and error.field == "JSON"
        reason = f"the file ends in the middle of a row ({error.reason})" if torn else error.reason
        return RawRow(number=number, origin=origin, error=RowError(error.field, reason), text=text)


def _readable(line: bytes) -> str:
    return line[:KEPT_BYTES].decode("utf-8", "backslashreplace")


def not_utf8(content: bytes, error: UnicodeDecodeError) -> str:
    """Where `content` leaves UTF-8, and which Korean encoding it may be in."""
    try:
        content[:KEPT_BYTES].decode("cp949")
        guess = "; it may be CP949 (EUC-KR)"
    except UnicodeDecodeError:
        guess = ""
    return f"not UTF-8 at byte {error.start + 1}, 0x{content[error.start]:02X}{guess}; save the file as UTF-8"


def decode(text: str) -> object:
    """The one JSON value that `text` is. Raises RowError("JSON", ...) with the column."""
    try:
        _check_depth(text)
        return STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise RowError("JSON", f"{error.msg} at column {error.colno}") from None
    except RowError:
        raise
    except ValueError as error:  # a number of more than 4,300 digits
        raise RowError("JSON", str(error).split(";")[0]) from None


def _members(text: str) -> Iterator[tuple[int, object, RowError | None]]:
    """(start, value, error) of each member of a list, or of each of several values one after another.

    Raises json.JSONDecodeError at the first place that is not JSON.
    """
    _check_depth(text)
    position = _past_space(text, 0)
    as_list = text.startswith("[", position)
    if as_list:
        position = _past_space(text, position + 1)
        if text.startswith("]", position):
            return _check_end(text, position + 1)
    while position < len(text):
        start = position
        try:
            value, position = STRICT.raw_decode(text, start)
            yield start, value, None
        except json.JSONDecodeError:
            raise
        except ValueError as error:  # well-formed, so the next row can be found
            position = LENIENT.raw_decode(text, start)[1]
            yield start, None, error if isinstance(error, RowError) else RowError("JSON", str(error).split(";")[0])
        position = _past_space(text, position)
        if as_list and text.startswith("]", position):
            return _check_end(text, position + 1)
        if as_list and position < len(text):
            if not text.startswith(",", position):
                raise json.JSONDecodeError("Expecting ',' or ']'", text, position)
            position = _past_space(text, position + 1)
    if as_list:
        raise json.JSONDecodeError("the file ends in the middle of the list", text, position)


def _past_space(text: str, position: int) -> int:
    return SPACE.match(text, position).end()


def _check_end(text: str, position: int) -> None:
    if (position := _past_space(text, position)) < len(text):
        raise json.JSONDecodeError("text after the end of the list", text, position)


def _check_depth(text: str) -> None:
    """Raises json.JSONDecodeError where brackets nest deeper than MAX_DEPTH, before a parser recurses into them."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in BRACKETS_AND_STRINGS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            raise json.JSONDecodeError(f"nested deeper than {MAX_DEPTH} levels", text, found.start())


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RowError("JSON", f"the key {excerpt(twice)} is given twice in one object")
    return value


def _constant(name: str) -> None:
    raise RowError("JSON", f"{name} is not JSON")


STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
LENIENT = json.JSONDecoder(parse_int=str)
