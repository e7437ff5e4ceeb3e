"""Verdicts -> rates: what the headline of a run, a live curve and every table count.

S = {"chosun_rate", "leakage", "untagged", "margin", "content", "degenerate", "ambiguous", "rates": {tag: {verdict: rate}},
"prompts"}, per answer, in [0, 1]: `chosun_rate` is the share of the target verdict under the pack's first tag,
`leakage` under its neutral tag, `untagged` without a tag, `margin` the difference of the first two. These rates, and
`degenerate`, are over all answers that are not ambiguous; degenerate and "other" answers stay in as failures. `content`
is the share of all answers that keep what they were asked about (None where that cannot be told), `ambiguous` the share
of all. Everything but `untagged` is over the answers under a tag of the pack; those under another tag are only in the
details.

Example: `score(judge(answers, classifier, pack), Toggle.from_pack(pack))["margin"]`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from gold_style.measure.answers import Judged
from gold_style.speech.languages import KOREAN
from gold_style.styles import StylePack
from gold_style.verdicts import AMBIGUOUS, OTHER

MANY_AMBIGUOUS = 0.10  # of all answers; above it the headline is None, and likewise `untagged`


@dataclass(frozen=True, kw_only=True)
class Toggle:
    """What a pack asks for, in plain values: all that is needed to count verdicts, kept in summary.json's details."""

    first: str  # the tag of the style of interest
    neutral: str  # the tag whose share of that style is leakage
    target: str  # the verdict of the style of interest
    verdicts: dict[str, str]  # tag -> the verdict that its answers should get
    backend: str | None = "rules"  # of gold_style.speech: what reads verdicts and content words; None: not Korean

    @classmethod
    def from_pack(cls, pack: StylePack) -> "Toggle":
        """The toggle of a style pack."""
        verdicts = {tag: pack.verdict_of(tag) for tag in pack.tags}
        specs = [pack.classifier] if isinstance(pack.classifier, Mapping) else pack.classifier
        backend = next((spec["backend"] for spec in specs if "backend" in spec), "rules") if pack.language == KOREAN else None
        return cls(first=pack.tags[0], neutral=pack.neutral, target=pack.target_verdict, verdicts=verdicts, backend=backend)

    def group(self, style: str | None) -> str:
        """Where answers under a tag are counted: the tag itself, "untagged" or "misspelt"."""
        return style if style in self.verdicts else "untagged" if style is None else "misspelt"


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None; None where none is left."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def share(answers: Sequence[Judged], hit: Callable[[Judged], bool | None]) -> float | None:
    """Share of the answers for which `hit` is true among those for which it is not None; None where there is none."""
    return mean(map(hit, answers))


def decided(answers: Sequence[Judged]) -> list[Judged]:
    """The answers that are not ambiguous: the denominator of every rate."""
    return [answer for answer in answers if answer.verdict != AMBIGUOUS]


def score(answers: Sequence[Judged], toggle: Toggle) -> dict[str, Any]:
    """S of one model's answers; every number None where nothing could be scored."""
    by_tag = {tag: [answer for answer in answers if answer.style == tag] for tag in toggle.verdicts}
    of_pack = [answer for tagged in by_tag.values() for answer in tagged]
    verdicts = dict.fromkeys([*toggle.verdicts.values(), OTHER, *sorted({answer.verdict for answer in of_pack} - {AMBIGUOUS})])
    rates = {
        tag: {verdict: share(decided(tagged), lambda answer, verdict=verdict: answer.verdict == verdict) for verdict in verdicts}
        for tag, tagged in by_tag.items()
    }
    chosun_rate, leakage = rates[toggle.first][toggle.target], rates[toggle.neutral][toggle.target]
    ambiguous = share(of_pack, lambda answer: answer.verdict == AMBIGUOUS)
    if ambiguous is None or ambiguous > MANY_AMBIGUOUS:
        chosun_rate = leakage = None
    without_tag = [answer for answer in answers if answer.style is None]
    unclear = share(without_tag, lambda answer: answer.verdict == AMBIGUOUS)
    clear = decided(without_tag) if unclear is not None and unclear <= MANY_AMBIGUOUS else []
    return {
        "chosun_rate": chosun_rate,
        "leakage": leakage,
        "untagged": share(clear, lambda answer: answer.verdict == toggle.target),
        "margin": None if chosun_rate is None or leakage is None else chosun_rate - leakage,
        "content": share(of_pack, lambda answer: answer.content),
        "degenerate": share(decided(of_pack), lambda answer: answer.degenerate),
        "ambiguous": ambiguous,
        "rates": rates,
        "prompts": min(len({answer.id for answer in tagged}) for tagged in by_tag.values()),
    }


def joint_score(answers: Sequence[Judged], toggle: Toggle) -> float | None:
    """Mean over the pack's answers of style x content x not degenerate x not copied, each 0 or 1; ambiguous is 0.

    Taken per answer and then averaged, so that a text that only pleases one measure at a time earns nothing (Krishna
    et al. 2020, https://arxiv.org/abs/2010.05700). None where content cannot be told for any answer.
    """
    return share([answer for answer in answers if answer.style in toggle.verdicts], lambda answer: joint(answer, toggle))


def joint(answer: Judged, toggle: Toggle) -> bool | None:
    """Whether an answer is in its tag's style, keeps content and is neither degenerate nor a copy; None: unknown."""
    if answer.content is None:
        return None
    return answer.verdict == toggle.verdicts[answer.style] and answer.content and not answer.degenerate and not answer.copied


def toggled_share(answers: Sequence[Judged], toggle: Toggle) -> float | None:
    """Share of requests whose answers under every tag of the pack are all jointly right; None where none was asked so.

    Stricter than `joint_score`, which gives half its points to a student that ignores the tag.
    """
    by_request: dict[int | str, dict[str | None, bool | None]] = {}
    for answer in answers:
        if answer.style in toggle.verdicts:
            right = by_request.setdefault(answer.id, {})
            right[answer.style] = right.get(answer.style, True) and joint(answer, toggle)
    asked = [right.values() for right in by_request.values() if len(right) == len(toggle.verdicts)]
    return mean(all(right) for right in asked if None not in right)


def gap_closed(before: dict[str, Any] | None, after: dict[str, Any] | None, teacher: dict[str, Any] | None) -> float | None:
    """(after - before) / (teacher - before) of the margins; None: one is missing or the teacher is not above before."""
    margins = [scores and scores["margin"] for scores in (before, after, teacher)]
    if any(margin is None for margin in margins):
        return None
    start, end, ceiling = margins
    return (end - start) / (ceiling - start) if ceiling > start else None
