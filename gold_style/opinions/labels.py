"""The labels that judges and raters give: what each means, how one is read, and our own verdicts as labels.

Both are asked the same three things, each apart from the others: style (which style is it in), content (does it do
what was asked), fluency. Style labels are the verdicts of the run's own style pack, "unclear" (our `ambiguous`) and
"not_korean" (our `other`: empty, broken or another language).

Example: `parsed("답: 조선", style_labels(pack))` is "joseon".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gold_style.measure.answers import AMBIGUOUS, OTHER, Judged
from gold_style.measure.content import STYLE_TAG
from gold_style.measure.rates import Toggle
from gold_style.styles import StylePack

UNCLEAR, NOT_KOREAN, YES, NO, DEGENERATE = "unclear", "not_korean", "yes", "no", "degenerate"
KNOWN = {  # verdict -> word, meaning; any other verdict goes by its own name and its rule
    "joseon": ("조선", "사극에서처럼 조선시대 말투로 문장을 맺었다"),
    "modern": ("현대", "존댓말이든 반말이든 오늘날 쓰는 말투로 문장을 맺었다"),
}
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
    also: tuple[str, ...] = ()  # other words that mean the same


OUTSIDE = (
    Label(UNCLEAR, "모호", "두 말투가 섞였거나, 어느 쪽인지 가릴 수 없다"),
    Label(NOT_KOREAN, "한국어 아님", "비어 있거나, 깨졌거나, 한국어로 쓴 글이 아니다", ("한국어아님", "비한국어")),
)
CONTENT = (
    Label(YES, "예", "요청한 내용을 실제로 다룬다", ("네",)),
    Label(NO, "아니오", "다른 이야기를 하거나, 요청을 되풀이할 뿐이거나, 답이라 할 것이 없다", ("아니요",)),
)
FLUENCY = (  # of a judge
    Label("fluent", "자연", "문법에 맞고 자연스럽게 읽힌다"),
    Label("awkward", "어색", "어색한 곳이 있으나 뜻은 통한다"),
    Label(DEGENERATE, "붕괴", "비어 있거나, 같은 말을 끝없이 되풀이하거나, 깨져서 뜻이 통하지 않는다"),
)
FLUENCY_SCALE = tuple(Label(word[0], word) for word in ("1 통하지 않음", "2", "3", "4", "5 매우 자연스러움"))  # of a rater


def style_labels(pack: StylePack) -> tuple[Label, ...]:
    """The labels of the style question: every verdict of the pack, unclear, not Korean."""
    labels = []
    for verdict in dict.fromkeys(style.verdict for style in pack.styles):
        word, meaning = KNOWN.get(verdict, (verdict, "지침에 맞게 썼다"))
        if verdict not in KNOWN or verdict == pack.target_verdict:  # the neutral rule is narrower than its verdict
            meaning += f" (지침: {' / '.join(style.rule for style in pack.styles if style.verdict == verdict)})"
        labels.append(Label(verdict, word, meaning))
    return (*labels, *OUTSIDE)


def rater_labels(pack: StylePack) -> dict[str, tuple[Label, ...]]:
    """The labels of each question on a sheet."""
    return {"style": style_labels(pack), "content": CONTENT, "fluency": FLUENCY_SCALE}


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


def share_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def shares_text(shares: Mapping[str, float | None]) -> str:
    """What is printed of {name: share}."""
    return ", ".join(f"{name} {share_text(share)}" for name, share in shares.items()) or "–"


def agreement_lines(agreements: Mapping[str, dict[str, Any]]) -> list[str]:
    """What is printed of {question: agreement with our own verdicts}."""
    return [
        f"agreement with our own verdicts, {question}: {shares_text({key: found[key] for key in ('alpha', 'equal')})} of {found['units']}"
        for question, found in agreements.items()
    ]
