"""The labels that judges and raters give: what each means, how one is read, and our own verdicts as labels.

Both are asked the same three things, each apart from the others: style (which style is it in), content (does it do
what was asked), fluency. Style labels are the verdicts of the run's own style pack, "unclear" (our `ambiguous`) and
"not_korean" (our `other`: empty, broken or another language).

Example: `parsed("답: 조선", style_labels(pack))` is "joseon".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gold_style.measure.answers import AMBIGUOUS, OTHER, Judged
from gold_style.measure.content import STYLE_TAG
from gold_style.measure.rates import Toggle
from gold_style.show.tables import number
from gold_style.styles import StylePack

TEXTS = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
UNCLEAR, NOT_KOREAN, YES, NO, DEGENERATE = "unclear", "not_korean", "yes", "no", "degenerate"
THOUGHT = re.compile(r".*</think>", re.DOTALL)  # what a reasoning model says to itself
PREFIX = re.compile(r"(?:정답|답변|답|판정|label|answer)\s*(?:은|는|is\b)?\W*", re.IGNORECASE)
MARKUP = re.compile("[*`\"'“”‘’「」]")
EDGES = re.compile(r"^[\W_]+|[\W_]+$")
SUFFIX = re.compile(r"(?:입니다|이에요|예요|이다|임)$")


@dataclass(frozen=True)
class Label:
    """One possible reply: `name` is stored, `word` is shown and replied, `meaning` explains it (both Korean)."""

    name: str
    word: str
    meaning: str = ""
    also: Sequence[str] = ()  # other words that mean the same


LABELS = {name: tuple(Label(**fields) for fields in group) for name, group in TEXTS["labels"].items()}
OUTSIDE, CONTENT, FLUENCY, COMPARISON = (LABELS[name] for name in ("outside", "content", "fluency", "comparison"))


def style_labels(pack: StylePack) -> tuple[Label, ...]:
    """The labels of the style question: every verdict of the pack, unclear, not Korean."""
    labels = []
    for verdict in dict.fromkeys(style.verdict for style in pack.styles):
        word, meaning = TEXTS["known"].get(verdict, (verdict, "지침에 맞게 썼다"))
        if verdict not in TEXTS["known"] or verdict == pack.target_verdict:  # the neutral rule is narrower than its verdict
            meaning += f" (지침: {' / '.join(style.rule for style in pack.styles if style.verdict == verdict)})"
        labels.append(Label(verdict, word, meaning))
    return (*labels, *OUTSIDE)


def rater_labels(pack: StylePack) -> dict[str, tuple[Label, ...]]:
    """The labels of each question on a sheet."""
    return {"style": style_labels(pack), "content": CONTENT, "fluency": LABELS["fluency_scale"]}


def shown(text: str) -> str:
    """A text as judges and raters see it: a style tag that a model wrote itself would say what was asked for."""
    return STYLE_TAG.sub("<style:…>", text)


def words_of(labels: Sequence[Label]) -> dict[str, str]:
    """Every word for a label, in lower case -> the label's name."""
    return {word.casefold(): label.name for label in labels for word in (label.name, label.word, *label.also)}


def parsed(said: str, labels: Sequence[Label]) -> str | None:
    """The name of the one label that a reply gives on a line of its own; None where it gives none, or several.

    A label inside a sentence does not count: "not joseon" would.
    """
    if "<think>" in said and "</think>" not in said:
        return None
    words = words_of(labels)
    found = {words[line] for line in map(_bare, THOUGHT.sub("", said).splitlines()) if line in words}
    return found.pop() if len(found) == 1 else None


def _bare(line: str) -> str:
    """A line without markup, without punctuation at its ends, without "답:" before and "입니다" after the label."""
    line = EDGES.sub("", MARKUP.sub("", line))
    prefix = PREFIX.match(line)
    line = EDGES.sub("", line[prefix.end() :]) if prefix else line
    return SUFFIX.sub("", line).strip().casefold()


def own_labels(answer: Judged) -> dict[str, Any]:
    """Our own verdicts as labels; None where we cannot tell. Of fluency we only see whether an answer is degenerate.

    A copied request is no answer.
    """
    content = None if answer.content is None else YES if answer.content and not answer.copied else NO
    style = {AMBIGUOUS: UNCLEAR, OTHER: NOT_KOREAN}.get(answer.verdict, answer.verdict)
    return {"style": style, "content": content, "fluency": answer.degenerate}


def toggled(styles: Mapping[str, Mapping[str, float]], toggle: Toggle) -> dict[str, float | None]:
    """chosun_rate, leakage and margin of {tag: {style label: share}}; unclear is left out, as in summary.json."""
    found = []
    for tag in (toggle.first, toggle.neutral):
        rates = styles.get(tag, {})
        clear = sum(share for label, share in rates.items() if label != UNCLEAR)
        found.append(rates.get(toggle.target, 0.0) / clear if clear else None)
    high, low = found
    return {"chosun_rate": high, "leakage": low, "margin": None if high is None or low is None else high - low}


def shares_text(shares: Mapping[str, float | None]) -> str:
    """What is printed of {name: share}."""
    return ", ".join(f"{name} {number(share)}" for name, share in shares.items()) or "–"


def agreement_lines(agreements: Mapping[str, dict[str, Any]]) -> list[str]:
    """What is printed of {question: agreement with our own verdicts}."""
    return [
        f"agreement with our own verdicts, {question}: {shares_text({key: found[key] for key in ('alpha', 'equal')})} of {found['units']}"
        for question, found in agreements.items()
    ]
