"""Blind sheets for human raters: which answers stand on one, its key, and what filled sheets say.

A sheet shows answers in an order drawn by a seed, with their requests, without tags or models; the same answer of
several models stands on it once. `annotation_key.json` beside the run knows whose it is: under the sheet's name, one
entry per item. Filled sheets are the JSON files that the page saves, or its CSV filled in.

A rate is the mean over items of the share of raters who gave a label. Agreement is Krippendorff's alpha over items:
between raters, and of the raters' majority with our own verdicts.

Example: `sheet = draw_sheet(samples, pack, number=120, seed=0)`; `annotation_summary(ratings, key, samples, toggle)`.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Any

from gold_style.measure.answers import Judged
from gold_style.measure.rates import Toggle
from gold_style.measure.samples import MODELS, Samples
from gold_style.measure.statistics import agreement, krippendorff_alpha, wilson
from gold_style.opinions.questions import YES, own_content, own_style, toggled
from gold_style.styles import StylePack

KEY_FILE = "annotation_key.json"
QUESTIONS = ("style", "content", "fluency")
FEW_ITEMS = 30  # per model and tag, below which the summary warns


@dataclass(frozen=True)
class Item:
    """One answer on a sheet. `models`: whose it is; `style`: the tag that it was written under."""

    number: int  # on the sheet, from 1
    id: int | str
    style: str
    models: tuple[str, ...]
    request: str
    text: str

    def entry(self) -> dict[str, Any]:
        """What the key holds of it."""
        entry = {"item": self.number, "id": self.id, "style": self.style, "models": list(self.models)}
        return entry | {"digest": digest(self.text)}


@dataclass(frozen=True)
class Sheet:
    name: str  # 12 hex digits of what stands on it, in its order
    seed: int
    items: tuple[Item, ...]

    def key(self) -> dict[str, Any]:
        return {"seed": self.seed, "items": [item.entry() for item in self.items]}


@dataclass(frozen=True)
class Rating:
    """What one rater said about one item; None: not answered."""

    sheet: str
    item: int
    rater: str
    style: str | None
    content: str | None
    fluency: int | None  # 1 to 5


def digest(text: str) -> str:
    """16 hex digits of an answer."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def draw_sheet(samples: Samples, pack: StylePack, number: int, seed: int) -> Sheet:
    """A sheet of up to `number` answers, as many of each model and tag of the pack as can be, in random order.

    Raises ValueError where there is no answer under a tag of the pack.
    """
    rng = Random(seed)
    groups = []
    for model in MODELS:
        for tag in pack.tags:
            answers = [answer for answer in samples.get(model) or () if answer.style == tag]
            rng.shuffle(answers)
            groups.append([(model, answer) for answer in answers])
    places: dict[tuple, tuple[Judged, list[str]]] = {}
    for turn in range(max(map(len, groups), default=0)):
        for group in groups:
            if turn < len(group):
                model, answer = group[turn]
                place = (answer.id, answer.style, answer.text)
                if place in places or len(places) < number:
                    places.setdefault(place, (answer, []))
    if not places:
        raise ValueError(f"no answer under one of the tags {', '.join(pack.tags)} to put on a sheet")
    for model in MODELS:  # whoever wrote the same text, drawn or not: the rating holds for all of them
        for answer in samples.get(model) or ():
            models = places.get((answer.id, answer.style, answer.text), (None, []))[1]
            if model not in models:
                models.append(model)
    order = list(places.values())
    rng.shuffle(order)
    items = tuple(
        Item(i, answer.id, answer.style, tuple(models), answer.request, answer.text) for i, (answer, models) in enumerate(order, 1)
    )
    content = "\n".join(f"{seed} {item.id} {item.request} {item.text}" for item in items)
    return Sheet(digest(content)[:12], seed, items)


def answer_of(entry: dict[str, Any], sheet: str, samples: Samples) -> Judged:
    """The judged answer that an entry of the key is about. Raises ValueError where samples.jsonl has changed since."""
    for answer in samples.get(entry["models"][0]) or ():
        if (answer.id, answer.style) == (entry["id"], entry["style"]) and digest(answer.text) == entry["digest"]:
            return answer
    raise ValueError(f"sheet {sheet}, item {entry['item']}: samples.jsonl no longer holds the answer that was rated")


def annotation_summary(ratings: Sequence[Rating], key: dict[str, Any], samples: Samples, toggle: Toggle) -> dict[str, Any]:
    """The content of annotations.json, of all ratings together.

    `key`: what annotation_key.json holds. Raises ValueError where it does not fit samples.jsonl any more.
    """
    entries = {(name, entry["item"]): entry for name, sheet in key["sheets"].items() for entry in sheet["items"]}
    units = sorted({(rating.sheet, rating.item) for rating in ratings})
    answers = {unit: answer_of(entries[unit], unit[0], samples) for unit in units}
    raters = sorted({rating.rater for rating in ratings})
    given = {(rating.rater, rating.sheet, rating.item): rating for rating in ratings}

    def column(rater: str, question: str) -> list:
        found = [given.get((rater, *unit)) for unit in units]
        return [rating and getattr(rating, question) for rating in found]

    table = {question: [column(rater, question) for rater in raters] for question in QUESTIONS}
    by_unit = {question: dict(zip(units, zip(*rows, strict=True), strict=True)) for question, rows in table.items()}
    rates: dict[str, dict[str, Any]] = {}
    for model in MODELS:
        for tag in toggle.verdicts:
            mine = [unit for unit in units if model in entries[unit]["models"] and entries[unit]["style"] == tag]
            if mine:
                rates.setdefault(model, {})[tag] = rated(mine, by_unit, toggle.verdicts[tag])
    own = {"style": [own_style(answers[unit]) for unit in units], "content": [own_content(answers[unit]) for unit in units]}
    summary = {
        "raters": {rater: sum(rating.rater == rater for rating in ratings) for rater in raters},
        "items": len(units),
        "rates": rates,
        "toggle": {model: toggled({tag: part["style"] for tag, part in tags.items()}, toggle) for model, tags in rates.items()},
        "between_raters": {
            question: krippendorff_alpha(zip(*rows, strict=True), "interval" if question == "fluency" else "nominal")
            for question, rows in table.items()
        },
        "with_own_verdicts": {
            question: agreement([(own, majority(by_unit[question][unit])) for own, unit in zip(verdicts, units, strict=True)])
            for question, verdicts in own.items()
        },
    }
    return summary | {"warnings": warnings(summary)}


def rated(units: Sequence[tuple], by_unit: dict[str, dict[tuple, tuple]], wanted: str) -> dict[str, Any]:
    """Rates of one model's answers under one tag. `style_rate`: in the style that was asked for, with interval."""
    styles = [shares(by_unit["style"][unit]) for unit in units]
    styles = [found for found in styles if found]
    labels = sorted({label for found in styles for label in found})
    content = [found.get(YES, 0.0) for unit in units if (found := shares(by_unit["content"][unit]))]
    fluency = [fmean(known) for unit in units if (known := [v for v in by_unit["fluency"][unit] if v is not None])]
    right = [found.get(wanted, 0.0) for found in styles]
    return {
        "items": len(units),
        "style": {label: fmean(found.get(label, 0.0) for found in styles) for label in labels},
        "style_rate": fmean(right) if right else None,
        "style_interval": wilson(sum(right), len(right)),
        "content": fmean(content) if content else None,
        "fluency": fmean(fluency) if fluency else None,
    }


def shares(labels: Sequence[str | None]) -> dict[str, float]:
    """Label -> share of the raters who answered; empty where nobody did."""
    counts = Counter(label for label in labels if label is not None)
    return {label: count / counts.total() for label, count in counts.items()}


def majority(labels: Sequence[str | None]) -> str | None:
    """The label that most raters gave; None where two share the lead, or nobody answered."""
    ranked = Counter(label for label in labels if label is not None).most_common(2)
    return ranked[0][0] if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]) else None


def warnings(summary: dict[str, Any]) -> list[str]:
    """What a reader of annotations.json must know, a sentence each."""
    said = []
    if len(summary["raters"]) < 2:
        said.append("a single rater: nothing says how far another one would agree")
    fewest = min((part["items"] for tags in summary["rates"].values() for part in tags.values()), default=0)
    if fewest < FEW_ITEMS:
        said.append(f"only {fewest} rated answers of one model and tag (fewer than {FEW_ITEMS}): intervals are wide")
    return said
