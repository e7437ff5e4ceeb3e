"""Where rows come from: raw rows of files and of `datasets` data sets, before anything in them is checked.

`RowFiles` reads `.jsonl`/`.ndjson` (a row per line), `.json` (a list of rows, also as the one list in an object, or rows one
after another) and `.csv`/`.tsv` (column names in the first line; comma, semicolon, tab or bar) as UTF-8, with or without a
byte order mark, with LF or CRLF, each also as `.gz`, and `.parquet`. A `.jsonl` file that holds pretty-printed JSON is read as
`.json`. It names the line of every row (of Parquet, the row), and a row that cannot be decoded carries its error.
No line is held in memory beyond MAX_LINE_BYTES, however long it is. `DatasetRows` takes whatever `datasets` has loaded.

Both are `RawRows`; a new format is a further class of this kind, a new shape of row belongs into gold_style/prompts/rows.py.

Example: `for raw in RowFiles({Path("data/style_toggles.jsonl"): "toggles"}): print(raw.origin, raw.value or raw.error)`.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow
import pyarrow.parquet

from gold_style.config.settings import row_suffix
from gold_style.prompts.rows import SHAPES
from gold_style.prompts.texts import RowError, excerpt

LINE_SUFFIXES = (".jsonl", ".ndjson")
MAX_LINE_BYTES = 8 * 2**20
MAX_FILE_BYTES = 256 * 2**20  # of a .json file, which has to be read whole
MAX_DEPTH = 64  # a row needs three levels; Python's own parser gives up somewhere near a thousand
BUFFER_BYTES = 2**20
BLANK = b" \t\r\n\xef\xbb\xbf"
KEPT_BYTES = 64 * 2**10  # of a line that is too long or cannot be decoded
BRACKETS_AND_STRINGS = re.compile(r'[\[{]|[\]}]|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """A row as found: its decoded `value`, or the `error` that kept it from being decoded."""

    origin: str  # "file:line" or "file: row N", both from 1, or "dataset[split]:row", rows from 0
    value: object = None
    error: RowError | None = None
    text: str | None = None  # as found, for the quarantine; None: `value` says it all

    def decoded(self) -> object:
        """`value`. Raises RowError where there is none."""
        if self.error is not None:
            raise self.error
        return self.value


class RawRows(Protocol):
    """The rows of one data set, in order; iterating again reads them again."""

    blank_lines: int  # skipped in the latest pass

    def __iter__(self) -> Iterator[RawRow]: ...


class DatasetRows:
    """The rows of a `datasets` data set, map-style or streamed; `name` is used in messages."""

    blank_lines = 0

    def __init__(self, dataset: Iterable[dict[str, Any]], name: str):
        self.dataset, self.name = dataset, name

    def __iter__(self) -> Iterator[RawRow]:
        for number, row in enumerate(self.dataset):
            yield RawRow(origin=f"{self.name}:{number}", value=row)


class RowFiles:
    """The rows of files, as one data set. `names`: path -> the name used in messages."""

    def __init__(self, names: Mapping[Path, str]):
        self.names, self.blank_lines = names, 0

    def __iter__(self) -> Iterator[RawRow]:
        """Raises ValueError where a file as a whole cannot be read: it is not there, damaged, its encoding, its size."""
        self.blank_lines = 0
        for path, name in self.names.items():
            try:
                yield from _parquet(path, name) if row_suffix(path) == ".parquet" else self._texts(path, name)
            except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
                raise ValueError(f"{name}: {getattr(error, 'strerror', None) or str(error).splitlines()[0]}") from None

    def _texts(self, path: Path, name: str) -> Iterator[RawRow]:
        opened: Any = gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb", buffering=BUFFER_BYTES)
        with opened as file:
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise ValueError(f"{name}:1: the file is UTF-16; save it as UTF-8")
            file.seek(0)
            first = next(filter(None, (line.strip(BLANK) for line in _pieces(file))), b"")
            is_pretty_printed = first == b"{" or first.startswith(b"[")
            file.seek(0)
            if row_suffix(path) in (".csv", ".tsv"):
                yield from _table(file, name)
            elif row_suffix(path) in LINE_SUFFIXES and not is_pretty_printed:
                yield from self._lines(file, name)
            else:
                yield from _values(file, name)

    def _lines(self, file: IO[bytes], name: str) -> Iterator[RawRow]:
        for number, line in enumerate(_pieces(file), start=1):
            origin = f"{name}:{number}"
            if len(line) > MAX_LINE_BYTES:
                reason = f"has {len(line) + _skip_line(line, file)} bytes; allowed: up to {MAX_LINE_BYTES}"
                yield RawRow(origin=origin, error=RowError("line", reason), text=_readable(line))
            elif line.strip(BLANK):
                yield _decoded_line(line, origin)
            else:
                self.blank_lines += 1


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; of a longer one its first MAX_LINE_BYTES + 1."""
    return iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")


def _table(file: IO[bytes], name: str) -> Iterator[RawRow]:
    """Of a file whose first line names the columns; an empty cell is null."""
    head = file.readline(KEPT_BYTES).decode("utf-8", "replace")
    file.seek(0)
    text = TextIOWrapper(file, "utf-8-sig", newline="")
    table = csv.DictReader(text, delimiter=max(",;\t|", key=head.count), skipinitialspace=True, strict=True)
    try:
        for row in table:
            uneven = RowError("row", "has more or fewer cells than the first line has columns; put texts between quotation marks")
            fault = uneven if None in row or None in row.values() else None
            yield RawRow(origin=f"{name}:{table.line_num}", value={key: cell or None for key, cell in row.items()}, error=fault)
    except (UnicodeDecodeError, csv.Error) as error:
        reason = not_utf8(error.object, error) if isinstance(error, UnicodeDecodeError) else f"not CSV: {error}"
        raise ValueError(f"{name}:{table.line_num + 1}: {reason}") from None


def _parquet(path: Path, name: str) -> Iterator[RawRow]:
    with pyarrow.parquet.ParquetFile(path) as file:
        rows = (row for batch in file.iter_batches(batch_size=1024) for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            yield RawRow(origin=f"{name}: row {number}", value=row)


def _skip_line(piece: bytes, file: IO[bytes]) -> int:
    """Reads to the end of the line that begins with `piece`; the number of bytes skipped."""
    num_bytes = 0
    while not piece.endswith(b"\n") and (piece := file.readline(BUFFER_BYTES)):
        num_bytes += len(piece)
    return num_bytes


def _decoded_line(line: bytes, origin: str) -> RawRow:
    try:
        text = line.decode("utf-8").strip(" \t\r\n").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return RawRow(origin=origin, error=RowError("line", not_utf8(line, error)), text=_readable(line))
    try:
        return RawRow(origin=origin, value=decode(text))
    except RowError as error:
        torn = not line.endswith(b"\n") and error.field == "JSON"
        reason = f"the file ends in the middle of a row ({error.reason})" if torn else error.reason
        return RawRow(origin=origin, error=RowError(error.field, reason), text=text)


def _values(file: IO[bytes], name: str) -> Iterator[RawRow]:
    content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{name}: a .json file is read whole, up to {MAX_FILE_BYTES} bytes; save it as .jsonl")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name}:{line_number}: {not_utf8(content, error)}") from None
    line_number, counted = 1, 0
    try:
        for start, value, fault in _members(text):
            line_number += text.count("\n", counted, start)
            counted = start
            found = text[start : start + KEPT_BYTES] if fault else None
            parts: Iterable[object] = value.values() if isinstance(value, dict) and SHAPES.keys().isdisjoint(value) else ()
            lists = [rows for rows in parts if isinstance(rows, list)]
            if len(lists) == 1:  # an object like {"data": [...]} around the rows
                yield from (RawRow(origin=f"{name}: row {number}", value=row) for number, row in enumerate(lists[0], start=1))
            else:
                yield RawRow(origin=f"{name}:{line_number}", value=value, error=fault, text=found)
    except json.JSONDecodeError as error:  # nobody can tell where the next row begins
        raise ValueError(f"{name}:{error.lineno}: not JSON: {error.msg.removesuffix(' at')} at column {error.colno}") from None


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
    except ValueError as error:
        raise _row_error(error) from None


def _row_error(error: ValueError) -> RowError:
    """What STRICT says of well-formed JSON: our own errors, and Python's about numbers of more than 4,300 digits."""
    return error if isinstance(error, RowError) else RowError("JSON", str(error).split(";")[0])


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
            yield start, None, _row_error(error)
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
    return len(text) if (found := SPACE.match(text, position)) is None else found.end()


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
