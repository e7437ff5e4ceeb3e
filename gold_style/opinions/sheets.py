"""Blind sheets for human raters: which answers are on one, its page, its CSV, and its key.

A sheet shows answers in an order drawn by a seed, with their requests, without tags, models or the run's name; the same
answer of several models is on it once. `annotation_key.json` in the run's directory knows whose it is: under the sheet's
name, one entry per item. The page is one HTML file that asks nothing of the network and saves a JSON file. In the CSV, a
cell that a spreadsheet would take for a formula begins with an apostrophe: answers are a model's, and must not compute
anything on a rater's machine.

Example: `sheet_html(draw_sheet(samples, pack, number=120, seed=0), rater_labels(pack))`.
"""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from random import Random
from typing import Any

from gold_style.measure.answers import Judged
from gold_style.measure.samples import MODELS, Samples
from gold_style.opinions.labels import TEXTS, Label, shown
from gold_style.runs.files import read_json
from gold_style.show.page import html, page
from gold_style.styles import StylePack

KEY_FILE = "annotation_key.json"
SCRIPT, CSS = (Path(__file__).with_suffix(ending).read_text(encoding="utf-8") for ending in (".js", ".css"))
FORMULA = tuple("=+-@＝＋－＠\t\r")


@dataclass(frozen=True)
class Sheet:
    """Answers in the order of the page, numbered from 1, and which models wrote each of them."""

    name: str  # 12 hex digits of what is on it, in its order
    seed: int
    answers: tuple[Judged, ...]
    models: tuple[tuple[str, ...], ...]

    def key(self) -> dict[str, Any]:
        """The sheet's entry in annotation_key.json."""
        items = [
            {"item": number, "id": answer.id, "style": answer.style, "models": models, "digest": digest(answer.text)}
            for number, (answer, models) in enumerate(zip(self.answers, self.models, strict=True), 1)
        ]
        return {"seed": self.seed, "items": items}


def digest(text: str) -> str:
    """16 hex digits of an answer."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def draw_sheet(samples: Samples, pack: StylePack, number: int, seed: int) -> Sheet:
    """A sheet of up to `number` answers, as many of each model and tag of the pack as can be, in random order.

    Raises ValueError where there is no answer under a tag of the pack.
    """
    rng, groups = Random(seed), []
    writers: dict[tuple, dict[str, None]] = {}  # the same text is rated once, for everyone who wrote it
    for model in MODELS:
        answers = samples.get(model) or ()
        for answer in answers:
            writers.setdefault((answer.id, answer.style, answer.text), {})[model] = None
        for tag in pack.tags:
            groups.append([answer for answer in answers if answer.style == tag])
            rng.shuffle(groups[-1])
    drawn: dict[tuple, Judged] = {}
    for answer in filter(None, chain.from_iterable(zip_longest(*groups))):  # one of each group in turn
        if len(drawn) < number:
            drawn.setdefault((answer.id, answer.style, answer.text), answer)
    if not drawn:
        raise ValueError(f"no answer under one of the tags {', '.join(pack.tags)} to put on a sheet")
    order = list(drawn)
    rng.shuffle(order)
    answers = tuple(drawn[place] for place in order)
    content = "\n".join(f"{seed} {answer.id} {answer.request} {answer.text}" for answer in answers)
    return Sheet(digest(content)[:12], seed, answers, tuple(tuple(writers[place]) for place in order))


def read_key(run: Path) -> dict[str, Any]:
    """annotation_key.json; no sheets where there is none. Raises ValueError for one that cannot be read."""
    path = run / KEY_FILE
    key = read_json(path) if path.exists() else {"sheets": {}}
    if not key or not isinstance(key.get("sheets"), dict):
        raise ValueError(f"{path}:1: cannot be read as the key of annotation sheets")
    return key


def sheet_html(sheet: Sheet, labels: Mapping[str, Sequence[Label]]) -> str:
    """The page; `labels`: of each question."""
    return page("글 평가", [html("sheet", sheet, labels, TEXTS, shown, CSS)], SCRIPT, "ko")


def sheet_csv(sheet: Sheet, labels: Mapping[str, Sequence[Label]]) -> str:
    """The same for a spreadsheet: three empty columns, their allowed values in the heading. Begins with a BOM."""
    output = io.StringIO(newline="")
    writer = csv.writer(output)
    allowed = [f"{question} ({' | '.join(label.name for label in labels[question])})" for question in TEXTS["headings"]]
    writer.writerow(["item", "request", "answer", *allowed])
    for number, answer in enumerate(sheet.answers, 1):
        texts = [harmless(shown(text)) for text in (answer.request, answer.text)]
        writer.writerow([f"{sheet.name}-{number}", *texts, "", "", ""])
    return "\ufeff" + output.getvalue()


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else text
