"""judge.json: what a judge's labels in judge.jsonl come to, beside our own verdicts.

Rates are over the answers that it gave a label for, per model and tag ("untagged", "misspelt" as elsewhere), with how
many were judged, failed (no label in the reply) and missing (no reply yet). `alpha` is Krippendorff's, over answers,
with our own verdicts: `ambiguous` counts as "unclear", `other` as "not_korean". `share_of_a` over all comparisons is
0.5 for a judge that does not mind the order.

Example: `judge_summary(plan, labels, toggle, judge="judge", teacher="Qwen/Qwen2.5-3B-Instruct")["rates"]["after"]`.
"""

from collections.abc import Sequence
from typing import Any

from gold_style.measure.rates import Toggle
from gold_style.measure.samples import MODELS
from gold_style.measure.statistics import agreement, wilson
from gold_style.opinions.judge import FIRST, SECOND, TIE, Plan, verdict
from gold_style.opinions.questions import own_content, own_style, toggled

MANY_FAILED = 0.05  # share of replies without a label above which the summary warns
MISSING = object()
OWN = {  # question -> our own verdict on the same, in the judge's labels
    "style": own_style,
    "content": own_content,
    "fluency": lambda answer: "degenerate" if answer.degenerate else "sound",
}


def counted(labels: Sequence[Any]) -> dict[str, Any]:
    """Number judged, failed and missing, and the share of each label among those judged."""
    known = [label for label in labels if label is not None and label is not MISSING]
    rates = {label: known.count(label) / len(known) for label in dict.fromkeys(sorted(known))}
    failed, missing = sum(label is None for label in labels), sum(label is MISSING for label in labels)
    return {"judged": len(known), "failed": failed, "missing": missing, "rates": rates}


def judge_summary(
    plan: Plan, labels: dict[str, str | None], toggle: Toggle, *, judge: str, teacher: str | None = None, student: str | None = None
) -> dict[str, Any]:
    """The content of judge.json. `teacher`, `student`: names in the run's config, to see whether the judge is one."""
    said = [(model, answer, question.kind, labels.get(question.key(judge), MISSING)) for model, answer, question in plan.single]
    rates: dict[str, dict[str, dict[str, Any]]] = {}
    for model in MODELS:
        for tag in dict.fromkeys(toggle.group(answer.style) for name, answer, *_ in said if name == model):
            mine = [entry for entry in said if entry[0] == model and toggle.group(entry[1].style) == tag]
            kinds = dict.fromkeys(kind for *_, kind, _ in mine)
            rates.setdefault(model, {})[tag] = {kind: counted([label for *_, name, label in mine if name == kind]) for kind in kinds}
    comparisons, position = compared(plan, labels, judge)
    keys = dict.fromkeys(question.key(judge) for question in plan.questions)  # a text that two models wrote counts once
    replies = [labels.get(key, MISSING) for key in keys]
    summary = {
        "judge": judge,
        "requests": len({answer.id for _, answer, *_ in [*plan.single, *plan.paired]}),
        "questions": {name: count for name, count in counted(replies).items() if name != "rates"},
        "toggle": {
            model: toggled({tag: kinds.get("style", {}).get("rates", {}) for tag, kinds in tags.items()}, toggle)
            for model, tags in rates.items()
        },
        "rates": rates,
        "comparisons": comparisons,
        "position": position,
        "agreement": {kind: agreements(said, kind) for kind in OWN if any(entry[2] == kind for entry in said)},
    }
    return summary | {"warnings": warnings(summary, judge, teacher, student)}


def compared(plan: Plan, labels: dict[str, str | None], judge: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Wins per pair of models and tag, and how far the order of the two decided.

    Equal texts are a tie without the judge's help, and say nothing about the order.
    """
    found: dict[str, dict[str, list]] = {}
    letters, both, contradicted = [], 0, 0
    for models, answer, there, back in plan.paired:
        same = there.text == back.text
        first, second = (labels.get(question.key(judge), MISSING) for question in (there, back))
        outcome: Any = TIE if same else MISSING if MISSING in (first, second) else verdict(first, second)
        outcome = {"first": models[0], "second": models[1]}.get(outcome, outcome)
        found.setdefault("_".join(models), {}).setdefault(str(answer.style), []).append(outcome)
        if not same:
            letters += [label for label in (first, second) if label in (FIRST, SECOND)]
            if first in (FIRST, SECOND) and second in (FIRST, SECOND):
                both, contradicted = both + 1, contradicted + (first == second)
    share = letters.count(FIRST) / len(letters) if letters else None
    return {pair: {tag: counted(said) for tag, said in tags.items()} for pair, tags in found.items()}, {
        "share_of_a": share,
        "interval": wilson(letters.count(FIRST), len(letters)),
        "choices": len(letters),
        "contradicted": contradicted / both if both else None,  # of the pairs: A both times, or B both times
    }


def agreements(said: Sequence[tuple], kind: str) -> dict[str, Any]:
    """Agreement with our own verdicts over all answers, and per model."""
    units = [(model, OWN[kind](answer), seen(kind, label)) for model, answer, name, label in said if name == kind]
    of = {model: agreement([unit[1:] for unit in units if unit[0] == model]) for model in MODELS}
    return {**agreement([unit[1:] for unit in units]), "models": {model: found for model, found in of.items() if found["units"]}}


def seen(kind: str, label: Any) -> str | None:
    """A judge's label in the terms of our own verdict; None where it gave none. We do not tell fluent from awkward."""
    if label is None or label is MISSING:
        return None
    return label if kind != "fluency" or label == "degenerate" else "sound"


def same_model(judge: str, model: str | None) -> bool:
    """Whether two names are of one model: a server may leave out the account before a name, and upper case."""
    return bool(model) and judge.rstrip("/").split("/")[-1].casefold() == model.rstrip("/").split("/")[-1].casefold()


def warnings(summary: dict[str, Any], judge: str, teacher: str | None, student: str | None) -> list[str]:
    """What a reader of judge.json must know, a sentence each."""
    said = [
        f"the judge {judge!r} is the run's own {role}: it is not independent of what it judges"
        for role, model in (("teacher", teacher), ("student", student))
        if same_model(judge, model)
    ]
    questions, position = summary["questions"], summary["position"]
    replied = questions["judged"] + questions["failed"]
    if replied and questions["failed"] / replied > MANY_FAILED:
        share = questions["failed"] / replied
        said.append(f"{share:.0%} of the replies hold no label and are left out of the rates (over {MANY_FAILED:.0%})")
    if questions["missing"]:
        said.append(f"questions without a reply: {questions['missing']}; the same command asks them again")
    if position["interval"] and not position["interval"][0] <= 0.5 <= position["interval"][1]:
        said.append(f"the order of two answers sways the judge: it chose A {position['share_of_a']:.0%} of the time")
    return said
