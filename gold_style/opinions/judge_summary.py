"""judge.json: what a judge's labels in judge.jsonl come to, beside our own verdicts.

Rates are over the answers that it gave a label for, per model and tag ("untagged", "misspelt" as elsewhere), with how
many were judged, failed (no label in the reply) and missing (no reply yet). `alpha` is Krippendorff's, over answers,
with our own verdicts: `ambiguous` counts as "unclear", `other` as "not_korean". `share_of_a` over all comparisons is
0.5 for a judge that does not mind the order.

Example: `judge_summary(plan, replies, toggle, {"teacher": "Qwen/Qwen2.5-3B-Instruct"})["rates"]["after"]`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gold_style.measure.rates import Toggle
from gold_style.measure.samples import MODELS
from gold_style.measure.statistics import agreement, wilson
from gold_style.opinions.judge import FIRST, MISSING, SECOND, TIE, Plan, Replies
from gold_style.opinions.labels import DEGENERATE, agreement_lines, own_labels, shares_text, toggled
from gold_style.show.tables import number

MANY_FAILED = 0.05  # share of replies without a label above which the summary warns


def judge_summary(plan: Plan, replies: Replies, toggle: Toggle, trained: Mapping[str, str]) -> dict[str, Any]:
    """The content of judge.json. `trained`: {"teacher": name, "student": name} of the run, to see whether the judge is one."""
    labels: dict[str, dict[str, dict[str, list]]] = {}
    for question in plan.single:
        group = labels.setdefault(question.models[0], {}).setdefault(toggle.group(question.answer.style), {})
        group.setdefault(question.kind, []).append(replies.label(question))
    rates = {
        model: {tag: {kind: counted(given) for kind, given in kinds.items()} for tag, kinds in tags.items()}
        for model, tags in labels.items()
    }
    every = {question.key(replies.judge): replies.label(question) for question in plan.questions}  # a text counts once
    summary = {
        "judge": replies.judge,
        "requests": len({question.answer.id for question in [*plan.single, *(pair[0] for pair in plan.paired)]}),
        "questions": {name: count for name, count in counted(every.values()).items() if name != "rates"},
        "toggle": {
            model: toggled({tag: kinds.get("style", {}).get("rates", {}) for tag, kinds in tags.items()}, toggle)
            for model, tags in rates.items()
        },
        "rates": rates,
        **compared(plan, replies),
        "agreement": {kind: agreements(plan, replies, kind) for kind in dict.fromkeys(question.kind for question in plan.single)},
    }
    return summary | {"warnings": warnings(summary, trained)}


def counted(labels: Iterable[Any]) -> dict[str, Any]:
    """Number judged, failed and missing, and the share of each label among those judged."""
    labels = list(labels)
    known = sorted(label for label in labels if label is not None and label is not MISSING)
    rates = {label: known.count(label) / len(known) for label in dict.fromkeys(known)}
    return {"judged": len(known), "failed": labels.count(None), "missing": labels.count(MISSING), "rates": rates}


def winner(models: Sequence[str], labels: tuple[Any, Any]) -> Any:
    """The model that wins a pair, from its labels in this order and in the other; TIE where not the same one wins both times.

    MISSING where a reply is missing, None where one failed.
    """
    undecided = [label for label in (MISSING, None) if label in labels]
    return undecided[0] if undecided else {(FIRST, SECOND): models[0], (SECOND, FIRST): models[1]}.get(labels, TIE)


def compared(plan: Plan, replies: Replies) -> dict[str, Any]:
    """`comparisons`: wins per pair of models and tag; `position`: how far the order of the two decided.

    Equal texts are a tie without the judge's help, and say nothing about the order.
    """
    outcomes: dict[str, dict[str, list]] = {}
    letters, both = [], []
    for there, back in plan.paired:
        outcome = TIE
        if there.text != back.text:
            pair = replies.label(there), replies.label(back)
            outcome = winner(there.models, pair)
            chosen = [label for label in pair if label in (FIRST, SECOND)]
            letters += chosen
            both += [chosen[0] == chosen[1]] if len(chosen) == 2 else []
        outcomes.setdefault("_".join(there.models), {}).setdefault(str(there.answer.style), []).append(outcome)
    comparisons = {pair: {tag: counted(given) for tag, given in tags.items()} for pair, tags in outcomes.items()}
    position = {
        "share_of_a": letters.count(FIRST) / len(letters) if letters else None,
        "interval": wilson(letters.count(FIRST), len(letters)),
        "choices": len(letters),
        "contradicted": sum(both) / len(both) if both else None,  # of the pairs: A both times, or B both times
    }
    return {"comparisons": comparisons, "position": position}


def agreements(plan: Plan, replies: Replies, kind: str) -> dict[str, Any]:
    """Agreement with our own verdicts over all answers, and per model."""
    asked = [question for question in plan.single if question.kind == kind]
    pairs = [(question.models[0], (own_labels(question.answer)[kind], theirs(kind, replies.label(question)))) for question in asked]
    models = {model: agreement([pair for name, pair in pairs if name == model]) for model in MODELS}
    return {**agreement([pair for _, pair in pairs]), "models": {model: found for model, found in models.items() if found["units"]}}


def theirs(kind: str, label: Any) -> Any:
    """A judge's label in the terms of our own verdict, which does not tell fluent from awkward; None where there is none."""
    if label is None or label is MISSING:
        return None
    return label == DEGENERATE if kind == "fluency" else label


def same_model(judge: str, model: str | None) -> bool:
    """Whether two names are of one model: a server may leave out the account before a name, and upper case."""
    return bool(model) and judge.rstrip("/").split("/")[-1].casefold() == model.rstrip("/").split("/")[-1].casefold()


def warnings(summary: dict[str, Any], trained: Mapping[str, str]) -> list[str]:
    """What a reader of judge.json must know, a sentence each."""
    judge, questions, position = summary["judge"], summary["questions"], summary["position"]
    said = [
        f"the judge {judge!r} is the run's own {role}: it is not independent of what it judges"
        for role in ("teacher", "student")
        if same_model(judge, trained.get(role))
    ]
    replied = questions["judged"] + questions["failed"]
    if replied and questions["failed"] / replied > MANY_FAILED:
        share = questions["failed"] / replied
        said.append(f"{share:.0%} of the replies hold no label and are left out of the rates (over {MANY_FAILED:.0%})")
    if questions["missing"]:
        said.append(f"questions without a reply: {questions['missing']}; the same command asks them again")
    if position["interval"] and not position["interval"][0] <= 0.5 <= position["interval"][1]:
        said.append(f"the order of two answers sways the judge: it chose A {position['share_of_a']:.0%} of the time")
    return said


def judge_lines(summary: dict[str, Any]) -> list[str]:
    """What is printed of judge.json."""

    def counts(count: dict[str, Any]) -> str:
        return f"{shares_text(count['rates'])}  (judged {count['judged']}, failed {count['failed']})"

    lines = []
    for model, tags in summary["rates"].items():
        if any("style" in kinds for kinds in tags.values()):
            lines.append(f"{model}: {shares_text(summary['toggle'][model])}")
        lines += [f"  {tag:9} {kind:8} {counts(count)}" for tag, kinds in tags.items() for kind, count in kinds.items()]
    for pair, tags in summary["comparisons"].items():
        lines += [f"{pair.replace('_', ' or ')}, {tag}: {counts(count)}" for tag, count in tags.items()]
    lines += agreement_lines(summary["agreement"])
    if summary["position"]["choices"]:
        chosen, choices = summary["position"]["share_of_a"], summary["position"]["choices"]
        lines.append(f"A chosen in {number(chosen)} of {choices} choices (0.5: the order does not matter)")
    return lines + [f"warning: {text}" for text in summary["warnings"]]
