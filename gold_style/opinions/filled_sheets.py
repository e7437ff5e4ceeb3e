"""Filled annotation sheets -> ratings: the JSON that the page saves, and the CSV as spreadsheets save it.

A file is refused as a whole, and every mistake in it is named with its line: a rating read wrongly is worse than none.

Example: `ratings = read_sheets([Path("kim.json"), Path("lee.csv")], key["sheets"], style_labels(pack))`.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gold_style.opinions.questions import CONTENT, Label
from gold_style.opinions.sheets import QUESTIONS, Rating

ITEM = re.compile(r"([0-9a-f]{12})-(\d+)")  # sheet and number, in a CSV


def read_sheets(paths: Sequence[Path], sheets: dict[str, Any], styles: Sequence[Label]) -> list[Rating]:
    """The ratings of all files. `sheets`: name -> sheet, of annotation_key.json.

    Raises ValueError with every mistake, a line each: file:line, what stands there, what may stand there.
    """
    ratings: list[Rating] = []
    mistakes: list[str] = []
    owner: dict[tuple[str, str, int], Path] = {}
    for path in paths:
        try:
            rows = list(read_file(path))
        except ValueError as error:
            mistakes.append(str(error))
            continue
        found = len(ratings)
        for line, rater, sheet, row in rows:
            place = f"{path}:{line}"
            rating, wrong = rating_of(row, rater, sheet, sheets, styles)
            mistakes += [f"{place}: {text}" for text in wrong]
            if rating is None or (rating.style, rating.content, rating.fluency) == (None, None, None):
                continue
            before = owner.setdefault((rating.rater, rating.sheet, rating.item), path)
            if before != path:
                mistakes.append(f"{place}: {rater!r} rates item {rating.item} in {before} too; name raters differently")
            elif any((r.sheet, r.item) == (rating.sheet, rating.item) for r in ratings[found:]):
                mistakes.append(f"{place}: item {rating.item} stands in this file twice")
            else:
                ratings.append(rating)
        if len(ratings) == found and not mistakes:
            mistakes.append(f"{path}:1: holds no rating")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return ratings


def read_file(path: Path) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    """(line, rater, sheet, row) of every item in a file. Raises ValueError with file:line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}:1: cannot be read: {error.strerror}") from None
    text = decoded(path, data)
    yield from json_rows(path, text) if text.lstrip().startswith(("{", "[")) else csv_rows(path, text)


def decoded(path: Path, data: bytes) -> str:
    """The text of a file; spreadsheets in Korea may save CP949. Raises ValueError with file:line."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        try:
            return data.decode("cp949")
        except UnicodeDecodeError:
            line = data[: error.start].count(b"\n") + 1
            raise ValueError(f"{path}:{line}: is neither UTF-8 nor CP949; save it as CSV UTF-8") from None


def json_rows(path: Path, text: str) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    """The ratings of a file that the page saved: one a line."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON ({error.msg}); is the file whole?") from None
    if not isinstance(found, dict) or not isinstance(found.get("ratings"), list) or "sheet" not in found:
        raise ValueError(f"{path}:1: not a filled sheet (no 'sheet' and 'ratings' in it)")
    lines = [n for n, line in enumerate(text.splitlines(), 1) if re.search(r'"item"\s*:', line)]
    known = len(lines) == len(found["ratings"])
    for number, row in enumerate(found["ratings"]):
        line = lines[number] if known else 1
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{line}: rating {number + 1} is not an object")
        yield line, str(found.get("rater") or "").strip() or path.stem, str(found["sheet"]), row


def csv_rows(path: Path, text: str) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    """The filled rows of a CSV, whatever separator the spreadsheet chose; the rater goes by the file's name."""
    head = text.splitlines()[0] if text.strip() else ""
    separator = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    columns: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}:{line}: not CSV ({error})") from None
        if not columns:
            columns = [(cell.split() or [""])[0].casefold() for cell in cells]
            missing = [name for name in ("item", *QUESTIONS) if name not in columns]
            if missing:
                raise ValueError(f"{path}:1: no column {', '.join(missing)}; the first line must be the sheet's own")
            continue
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
        if not any(row.get(name) for name in QUESTIONS):
            continue  # not rated
        item = ITEM.fullmatch(row.get("item", ""))
        if item is None:
            raise ValueError(f"{path}:{line}: item {row.get('item', '')!r} is no item of a sheet (0123456789ab-7, say)")
        yield line, path.stem, item[1], {**{name: row.get(name) for name in QUESTIONS}, "item": int(item[2])}


def rating_of(
    row: dict[str, Any], rater: str, sheet: str, sheets: dict[str, Any], styles: Sequence[Label]
) -> tuple[Rating | None, list[str]]:
    """A rating, and what is wrong with it."""
    if sheet not in sheets:
        return None, [f"sheet {sheet!r} was not written for this run; known: {', '.join(sheets) or 'none'}"]
    numbers = {entry["item"] for entry in sheets[sheet]["items"]}
    item = row.get("item")
    if isinstance(item, bool) or not isinstance(item, int) or item not in numbers:
        return None, [f"item {item!r} is not on the sheet (1 to {max(numbers)})"]
    mistakes: list[str] = []
    style = label_in(row.get("style"), "style", styles, mistakes)
    content = label_in(row.get("content"), "content", CONTENT, mistakes)
    fluency = row.get("fluency")
    text = "" if fluency is None else str(fluency).removesuffix(".0")
    if text not in ("", "1", "2", "3", "4", "5"):
        mistakes.append(f"fluency {fluency!r} is not one of 1, 2, 3, 4, 5")
    if mistakes:
        return None, mistakes
    return Rating(sheet, item, rater, style, content, int(text) if text else None), []


def label_in(value: Any, question: str, labels: Sequence[Label], mistakes: list[str]) -> str | None:
    """The label that a cell names, by name or by word; None for an empty one."""
    if value is None or value == "":
        return None
    words = {word.casefold(): label.name for label in labels for word in (label.name, label.word, *label.also)}
    found = words.get(str(value).strip().casefold()) if isinstance(value, str) else None
    if found is None:
        near = get_close_matches(str(value).casefold(), words, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        mistakes.append(f"{question} {value!r} is not one of {', '.join(label.name for label in labels)}{hint}")
    return found
