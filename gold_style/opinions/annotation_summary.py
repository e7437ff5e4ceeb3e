"""annotations.json: what the ratings of people come to, beside our own verdicts.

A rate is the mean over items of the share of raters who gave a label. Agreement is Krippendorff's alpha over items:
between raters, and of the raters' majority with our own verdicts.

Example: `annotation_summary(ratings, key["sheets"], samples, toggle)["rates"]["after"]`.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from gold_style.measure.answers import Judged
from gold_style.measure.rates import Toggle, mean
from gold_style.measure.samples import MODELS, Samples
from gold_style.measure.statistics import agreement, krippendorff_alpha, wilson
from gold_style.opinions.filled_sheets import Ratings
from gold_style.opinions.labels import YES, agreement_lines, own_labels, shares_text, toggled
from gold_style.opinions.sheets import digest
from gold_style.show.tables import interval_text, number

LEVELS = {"style": "nominal", "content": "nominal", "fluency": "interval"}  # question -> how labels differ
FEW_ITEMS = 30  # per model and tag, below which the summary warns
Labels = dict[str, list]  # question -> what the raters of one item said


def annotation_summary(ratings: Ratings, sheets: dict[str, Any], samples: Samples, toggle: Toggle) -> dict[str, Any]:
    """The content of annotations.json, of all ratings together.

    `sheets`: name -> sheet, of annotation_key.json. Raises ValueError where it does not fit samples.jsonl any more.
    """
    entries = {(name, entry["item"]): entry for name, sheet in sheets.items() for entry in sheet["items"]}
    items: dict[tuple[str, int], Labels] = {}
    for (sheet, item, _), given in sorted(ratings.items()):
        labels = items.setdefault((sheet, item), {question: [] for question in LEVELS})
        for question, label in given.items():
            labels[question].append(label)
    own = {unit: own_labels(rated_answer(entries[unit], unit[0], samples)) for unit in items}
    rates: dict[str, dict[str, Any]] = {}
    for model in MODELS:
        for tag, wanted in toggle.verdicts.items():
            mine = [labels for unit, labels in items.items() if model in entries[unit]["models"] and entries[unit]["style"] == tag]
            if mine:
                rates.setdefault(model, {})[tag] = rated(mine, wanted)
    summary = {
        "raters": dict(sorted(Counter(rater for *_, rater in ratings).items())),
        "items": len(items),
        "rates": rates,
        "toggle": {model: toggled({tag: part["style"] for tag, part in tags.items()}, toggle) for model, tags in rates.items()},
        "between_raters": {
            question: krippendorff_alpha([labels[question] for labels in items.values()], level) for question, level in LEVELS.items()
        },
        "with_own_verdicts": {
            question: agreement([(own[unit][question], majority(labels[question])) for unit, labels in items.items()])
            for question in ("style", "content")
        },
    }
    return summary | {"warnings": warnings(summary)}


def rated_answer(entry: dict[str, Any], sheet: str, samples: Samples) -> Judged:
    """The judged answer that an entry of the key is about. Raises ValueError where samples.jsonl has changed since."""
    for answer in samples.get(entry["models"][0]) or ():
        if (answer.id, answer.style) == (entry["id"], entry["style"]) and digest(answer.text) == entry["digest"]:
            return answer
    raise ValueError(f"sheet {sheet}, item {entry['item']}: samples.jsonl no longer holds the answer that was rated")


def rated(items: Sequence[Labels], wanted: str) -> dict[str, Any]:
    """Rates of one model's answers under one tag. `style_rate`: in the style that was asked for, with interval."""
    styles = [shares(labels["style"]) for labels in items if labels["style"]]
    right = [found.get(wanted, 0.0) for found in styles]
    names = sorted({name for found in styles for name in found})
    return {
        "items": len(items),
        "style": {name: fmean(found.get(name, 0.0) for found in styles) for name in names},
        "style_rate": mean(right),
        "style_interval": wilson(sum(right), len(right)),
        "content": mean(shares(labels["content"]).get(YES, 0.0) for labels in items if labels["content"]),
        "fluency": mean(fmean(labels["fluency"]) for labels in items if labels["fluency"]),
    }


def shares(labels: Sequence[str]) -> dict[str, float]:
    """Label -> share of the raters who gave it."""
    return {label: count / len(labels) for label, count in Counter(labels).items()}


def majority(labels: Sequence[str]) -> str | None:
    """The label that most raters gave; None where two share the lead, or nobody answered."""
    ranked = Counter(labels).most_common(2)
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


def annotation_lines(summary: dict[str, Any]) -> list[str]:
    """What is printed of annotations.json."""
    lines = [f"{len(summary['raters'])} raters, {summary['items']} items"]
    for model, tags in summary["rates"].items():
        lines.append(f"{model}: {shares_text(summary['toggle'][model])}")
        for tag, part in tags.items():
            rate = f"{number(part['style_rate'])} {interval_text(part['style_interval'])}".rstrip()
            asked = f"asked style {rate}, content {number(part['content'])}"
            lines.append(f"  {tag:9} {asked}, fluency {number(part['fluency'])} of 5  ({part['items']} answers)")
    lines.append(f"agreement between raters (alpha): {shares_text(summary['between_raters'])}")
    return lines + agreement_lines(summary["with_own_verdicts"]) + [f"warning: {text}" for text in summary["warnings"]]
