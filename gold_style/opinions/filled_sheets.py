"""Filled annotation sheets -> ratings: the JSON that the page saves, and the CSV as spreadsheets save it.

A file is refused as a whole, and every mistake in it is named with its line: a rating read wrongly is worse than none.

Example: `ratings = read_sheets([Path("kim.json"), Path("lee.csv")], key["sheets"], rater_labels(pack))`.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gold_style import did_you_mean
from gold_style.opinions.labels import Label, words_of

ITEM = re.compile(r"([0-9a-f]{12})-(\d+)")  # sheet and number, in a CSV
Row = dict[str, Any]  # rater, sheet, item, and what is written about each question
Ratings = dict[tuple[str, int, str], dict[str, str | int]]  # (sheet, item, rater) -> question that was answered -> label; fluency is 1 to 5


def read_sheets(paths: Sequence[Path], sheets: Mapping[str, Any], labels: Mapping[str, Sequence[Label]]) -> Ratings:
    """The ratings of all files. `sheets`: name -> sheet, of annotation_key.json; `labels`: of each question.

    Raises ValueError with every mistake, a line each: file:line, what it says, what it may say.
    """
    ratings: Ratings = {}
    owner: dict[tuple[str, int, str], Path] = {}
    mistakes: list[str] = []
    for path in paths:
        found = len(ratings) + len(mistakes)
        try:
            for line, row in rows_of(path, list(labels)):
                given, wrong = rating_of(row, sheets, labels)
                sheet, item, rater = rating = (row["sheet"], row.get("item"), row["rater"])
                if given and rating not in ratings:
                    ratings[rating], owner[rating] = given, path
                elif given and owner[rating] == path:
                    wrong = [f"item {item} is in this file twice"]
                elif given:
                    wrong = [f"{rater!r} rates item {item} in {owner[rating]} too; name raters differently"]
                mistakes += [f"{path}:{line}: {text}" for text in wrong]
        except ValueError as error:
            mistakes.append(str(error))
        if len(ratings) + len(mistakes) == found:
            mistakes.append(f"{path}:1: holds no rating")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return ratings


def rows_of(path: Path, questions: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """(line, row) of every item in a file. Raises ValueError with file:line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}:1: cannot be read: {error.strerror}") from None
    text = decoded(path, data)
    return json_rows(path, text) if text.lstrip().startswith(("{", "[")) else csv_rows(path, text, questions)


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


def json_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    """The ratings of a file that the page saved: one a line."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON ({error.msg}); is the file whole?") from None
    if not isinstance(found, dict) or not isinstance(found.get("ratings"), list) or "sheet" not in found:
        raise ValueError(f"{path}:1: not a filled sheet (no 'sheet' and 'ratings' in it)")
    whose = {"rater": str(found.get("rater") or "").strip() or path.stem, "sheet": str(found["sheet"])}
    lines = [n for n, line in enumerate(text.splitlines(), 1) if re.search(r'"item"\s*:', line)]
    if len(lines) != len(found["ratings"]):
        lines = [1] * len(found["ratings"])
    for number, (line, row) in enumerate(zip(lines, found["ratings"], strict=True), 1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{line}: rating {number} is not an object")
        yield line, {**row, **whose}


def csv_rows(path: Path, text: str, questions: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """The filled rows of a CSV, whatever separator the spreadsheet chose; the rater goes by the file's name."""
    if not text.strip():
        return
    separator = max(",;\t", key=text.splitlines()[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        columns = [(cell.split() or [""])[0].casefold() for cell in next(reader)]
        missing = [name for name in ("item", *questions) if name not in columns]
        if missing:
            raise ValueError(f"{path}:1: no column {', '.join(missing)}; the first line must be the sheet's own")
        next_line = reader.line_num + 1
        for cells in reader:
            line, next_line = next_line, reader.line_num + 1
            row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
            if not any(row.get(name) for name in questions):
                continue  # not rated
            item = ITEM.fullmatch(row.get("item", ""))
            if item is None:
                raise ValueError(f"{path}:{line}: item {row.get('item', '')!r} is no item of a sheet (0123456789ab-7, say)")
            yield line, {**row, "rater": path.stem, "sheet": item[1], "item": int(item[2])}
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: not CSV ({error})") from None


def rating_of(row: Row, sheets: Mapping[str, Any], labels: Mapping[str, Sequence[Label]]) -> tuple[dict[str, str | int], list[str]]:
    """The label of each question that was answered, and what is wrong with the row; no label where anything is."""
    sheet, item = row["sheet"], row.get("item")
    if sheet not in sheets:
        return {}, [f"sheet {sheet!r} was not written for this run; known: {', '.join(sheets) or 'none'}"]
    numbers = {entry["item"] for entry in sheets[sheet]["items"]}
    if isinstance(item, bool) or not isinstance(item, int) or item not in numbers:
        return {}, [f"item {item!r} is not on the sheet (1 to {max(numbers)})"]
    given, mistakes = {}, []
    for question, choices in labels.items():
        value, words = row.get(question), words_of(choices)
        text = "" if value is None else str(value).strip().casefold().removesuffix(".0")  # 3.0 is how a spreadsheet may write 3
        if text in words:
            given[question] = int(words[text]) if question == "fluency" else words[text]
        elif text:
            names = ", ".join(label.name for label in choices)
            mistakes.append(f"{question} {value!r} is not one of {names}{did_you_mean(text, words)}")
    return {} if mistakes else given, mistakes
