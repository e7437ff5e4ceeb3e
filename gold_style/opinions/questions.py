"""What judges and human raters are asked about an answer, and the labels they may give.

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

from gold_style.measure.answers import AMBIGUOUS, OTHER, Judged
from gold_style.measure.content import STYLE_TAG
from gold_style.measure.rates import Toggle
from gold_style.runs.files import read_json
from gold_style.runs.run_directory import CONFIG, read_config
from gold_style.styles import StylePack

UNCLEAR, NOT_KOREAN = "unclear", "not_korean"
YES, NO = "yes", "no"
KNOWN = {  # verdict -> word, meaning; a verdict that stands here not goes by its own name and its rule
    "joseon": ("조선", "사극에서처럼 조선시대 말투로 문장을 맺었다"),
    "modern": ("현대", "존댓말이든 반말이든 오늘날 쓰는 말투로 문장을 맺었다"),
}
THOUGHT = re.compile(r".*</think>", re.DOTALL)  # what a reasoning model says to itself
PREFIX = re.compile(r"(?:정답|답변|답|판정|label|answer)\s*(?:은|는|is\b)?\W*", re.IGNORECASE)
MARKUP = re.compile("[*`\"'“”‘’「」]")
SUFFIX = re.compile(r"(?:입니다|이에요|예요|이다|임)$")


@dataclass(frozen=True)
class Label:
    """One possible reply: `name` is stored, `word` is shown and replied, `meaning` explains it (both Korean)."""

    name: str
    word: str
    meaning: str
    also: tuple[str, ...] = ()  # other words that mean the same


CONTENT = (
    Label(YES, "예", "요청한 내용을 실제로 다룬다", ("네",)),
    Label(NO, "아니오", "다른 이야기를 하거나, 요청을 되풀이할 뿐이거나, 답이라 할 것이 없다", ("아니요",)),
)


def style_labels(pack: StylePack) -> tuple[Label, ...]:
    """The labels of the style question: every verdict of the pack, unclear, not Korean."""
    rules: dict[str, list[str]] = {}
    for style in pack.styles:
        rules.setdefault(style.verdict, []).append(style.rule)
    labels = []
    for verdict, told in rules.items():
        word, meaning = KNOWN.get(verdict, (verdict, "지침에 맞게 썼다"))
        if verdict not in KNOWN or verdict == pack.target_verdict:  # the neutral rule is narrower than its verdict
            meaning += f" (지침: {' / '.join(told)})"
        labels.append(Label(verdict, word, meaning))
    labels.append(Label(UNCLEAR, "모호", "두 말투가 섞였거나, 어느 쪽인지 가릴 수 없다"))
    labels.append(Label(NOT_KOREAN, "한국어 아님", "비어 있거나, 깨졌거나, 한국어로 쓴 글이 아니다", ("한국어아님", "비한국어")))
    return tuple(labels)


def shown(text: str) -> str:
    """A text as judges and raters see it: a style tag that a model wrote itself would say what was asked for."""
    return STYLE_TAG.sub("<style:…>", text)


def parsed(said: str, labels: Sequence[Label]) -> str | None:
    """The name of the one label that a reply gives on a line of its own; None where it gives none, or several.

    A label inside a sentence does not count: "not joseon" would.
    """
    if "<think>" in said and "</think>" not in said:
        return None
    words = {word.casefold(): label.name for label in labels for word in (label.name, label.word, *label.also)}
    found = {words[line] for line in map(_bare, THOUGHT.sub("", said).splitlines()) if line in words}
    return found.pop() if len(found) == 1 else None


def _bare(line: str) -> str:
    """A line without punctuation and markup at its ends, without "답:" before and "입니다" behind."""
    line = re.sub(r"^[\W_]+|[\W_]+$", "", MARKUP.sub("", line))
    line = re.sub(r"^[\W_]+|[\W_]+$", "", PREFIX.sub("", line, count=1) if PREFIX.match(line) else line)
    return SUFFIX.sub("", line).strip().casefold()


def own_style(answer: Judged) -> str:
    """Our own verdict as a label of the style question."""
    return {AMBIGUOUS: UNCLEAR, OTHER: NOT_KOREAN}.get(answer.verdict, answer.verdict)


def own_content(answer: Judged) -> str | None:
    """Our own view of the content as a label; a copied request is no answer. None where we cannot tell."""
    return None if answer.content is None else YES if answer.content and not answer.copied else NO


def toggled(styles: Mapping[str, Mapping[str, float]], toggle: Toggle) -> dict[str, float | None]:
    """chosun_rate, leakage and margin of {tag: {style label: share}}; unclear is left out, as in summary.json."""
    found = []
    for tag in (toggle.first, toggle.neutral):
        rates = styles.get(tag, {})
        clear = sum(share for label, share in rates.items() if label != UNCLEAR)
        found.append(rates.get(toggle.target, 0.0) / clear if clear else None)
    high, low = found
    return {"chosun_rate": high, "leakage": low, "margin": None if high is None or low is None else high - low}


def run_config(run: Path, config: Path | None = None) -> dict[str, Any]:
    """The resolved config that a run's answers were made with: `config`, or the run's own, or its target's run's.

    Raises ValueError where there is none, or none that can be read.
    """
    if config is not None:
        directory = config if config.is_dir() else config.parent
        if not config.is_dir() and config.name != CONFIG:
            raise ValueError(f"--config {config}: name a {CONFIG}, or the run directory that holds it")
        return read_config(directory)
    target = (read_json(run / "run.json") or {}).get("target")  # of a directory that evaluate.py has written
    places = [run, *([Path(target), Path(target).parent, Path(target).parent.parent] if target else [])]
    found = next((place for place in places if (place / CONFIG).is_file()), None)
    if found is None:
        raise ValueError(f"{run}: no {CONFIG} in it to take the styles from; name one with --config FILE")
    return read_config(found)


def run_pack(config: dict[str, Any]) -> StylePack:
    """The style pack of a resolved config. Raises ValueError where it holds none, or a broken one."""
    if not isinstance(config.get("styles"), dict):
        raise ValueError(f"{CONFIG}: holds no styles; name the run's own with --config FILE")
    return StylePack.from_settings(config["styles"])
