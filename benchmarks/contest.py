"""Settings of a study against one of them: differences, how sure they are, and the table and sentences that say so.

A difference is called certain if two tests agree, each corrected (Holm) for the number of settings: paired over requests (it holds for
other requests), and over seeds (it holds for other seeds). tests/benchmarks/test_contest.py simulates both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from gold_style.comparison.leaderboard import Entry, difference_p, p_text
from gold_style.measure.statistics import Interval, holm
from gold_style.show.tables import Column, interval_text, number, share

ALPHA, DRAWS = 0.05, 200_000


@dataclass(frozen=True)
class Rival:
    """A setting beside the base: its margin minus the base's, with an interval over seeds; p values are corrected. None for the base."""

    name: str
    entry: Entry
    difference: float | None = None
    interval: Interval | None = None
    p_requests: float | None = None
    p_seeds: float | None = None

    @property
    def certain(self) -> bool:
        """Whether the difference holds for other requests and for other seeds; of one seed that is never said."""
        return len(self.entry.scored) > 1 and all(p is not None and p < ALPHA for p in (self.p_requests, self.p_seeds))

    @property
    def text(self) -> str:
        """The setting and its difference: "beta 0 (-0.31 [-0.50, -0.12])"."""
        return f"{self.name} ({self.difference:+.2f} {interval_text(self.interval)}".rstrip() + ")"


def contest(base: str, entries: dict[str, Entry]) -> list[Rival]:
    """Every setting that has a result, the base first, then by margin."""
    known = {name: entry for name, entry in entries.items() if entry.scored}
    first = known.pop(base, None)
    if first is None:
        return [Rival(name, entry) for name, entry in known.items()]
    over_requests = holm([difference_p(first.contributions(), entry.contributions()) for entry in known.values()])
    over_seeds = differences(values(first, "margin"), [values(entry, "margin") for entry in known.values()])
    rivals = [
        Rival(name, entry, difference, interval, p, p_seeds)
        for (name, entry), p, (difference, interval, p_seeds) in zip(known.items(), over_requests, over_seeds, strict=True)
    ]
    return [Rival(base, first), *sorted(rivals, key=lambda rival: -rival.entry.margin)]


def values(entry: Entry, name: str) -> list[float]:
    """A number of every seed that has it."""
    return [run.numbers[name] for run in entry.scored if run.numbers.get(name) is not None]


def differences(base: Sequence[float], others: Sequence[Sequence[float]]) -> list[tuple[float | None, Interval | None, float | None]]:
    """(mean minus the base's, its 95 % interval, p corrected by Holm) of each of the others, over seeds.

    Student's t, with one spread of the seeds for all of them: three seeds of two settings hardly say how far seeds spread, thirty of
    ten do. None without a value, and without two seeds of anything.
    """
    groups = [np.array(group, np.float64) for group in (base, *others) if len(group)]
    freedom = sum(len(group) - 1 for group in groups)
    spread = (sum(((group - group.mean()) ** 2).sum() for group in groups) / freedom) ** 0.5 if freedom else None
    t_S = student_t(freedom) if freedom else None
    found = []
    for other in others:
        difference = float(np.mean(other) - np.mean(base)) if len(other) and len(base) else None
        if difference is None or not spread:
            found.append((difference, None, None))
            continue
        error = spread * (1 / len(other) + 1 / len(base)) ** 0.5
        limit = error * float(t_S[int((1 - ALPHA) * DRAWS)])
        p = float(1 + DRAWS - np.searchsorted(t_S, abs(difference) / error)) / (1 + DRAWS)
        found.append((difference, (difference - limit, difference + limit), p))
    return [(*kept, p) for (*kept, _), p in zip(found, holm([p for *_, p in found]), strict=True)]


@cache
def student_t(freedom: int) -> np.ndarray:
    """Draws of |t| in order, shape (S,)."""
    return np.sort(np.abs(np.random.default_rng(0).standard_t(freedom, DRAWS)))


def mean_of(name: str, form: str = ".2f") -> Callable[[Rival], str]:
    """A cell with the mean over seeds of one number; a dash where it was not measured."""
    return lambda rival: "–" if (value := rival.entry.mean(name)) is None else format(value, form)


def measured(base: Rival) -> list[Column]:
    """What a table says of each setting, a dash for a seed that diverged; the last column is its cost, as a ratio to the base's."""
    cost = base.entry.mean("cpu_s")
    ratio = lambda rival: number(seconds / cost) if cost and (seconds := rival.entry.mean("cpu_s")) else "–"  # noqa: E731
    return [
        Column("margin [95 %]", lambda rival: share(rival.entry.margin, rival.entry.interval)),
        Column("of the seeds", lambda rival: " ".join(number(run.numbers["margin"]) for run in rival.entry.runs)),
        *(Column(name, mean_of(name), right=True) for name in ("leakage", "untagged", "content", "degenerate")),
        Column("bits per byte, %", mean_of("bits_percent", "+.1f"), right=True),
        Column("seconds", ratio, right=True),
    ]


def versus(base: str) -> list[Column]:
    """How each setting differs from the base."""
    difference = lambda rival: "" if rival.difference is None else f"{rival.difference:+.2f} {interval_text(rival.interval)}".rstrip()  # noqa: E731
    return [
        Column(f"minus {base} [95 %]", difference),
        Column("p, requests", lambda rival: "" if rival.difference is None else p_text(rival.p_requests), right=True),
        Column("p, seeds", lambda rival: "" if rival.difference is None else p_text(rival.p_seeds), right=True),
    ]


def sentences(base: str, rivals: Sequence[Rival]) -> list[str]:
    """What is better than the base, what is worse, and what cannot be told: from the figures."""
    better = [rival for rival in rivals if rival.certain and rival.difference > 0]
    worse = [rival for rival in rivals if rival.certain and rival.difference < 0]
    open_ = [rival for rival in rivals if not rival.certain]
    said = []
    for word, group in (("Better than", better), ("Worse than", worse), ("Not told apart from", open_)):
        if group:
            said.append(f"{word} {base}: {', '.join(rival.text for rival in group)}.")
    return said


def side_effect(base: Rival, rivals: Sequence[Rival], name: str, what: str, form: str = "+.2f") -> str:
    """What the base does to another number, and which settings surely differ from it in that, for other seeds."""
    of_base = values(base.entry, name)
    known = [(rival, found) for rival in rivals if (found := values(rival.entry, name))]
    if not of_base:
        return f"{what} was not measured."
    sure = [
        f"{rival.name} ({difference:{form}})"
        for (rival, _), (difference, _, p) in zip(known, differences(of_base, [found for _, found in known]), strict=True)
        if p is not None and p < ALPHA
    ]
    said = f"; surely different from it over seeds: {', '.join(sure)}" if sure else "; no other is surely different" if known else ""
    return f"{what}: {np.mean(of_base):{form}} with {base.name} ({min(of_base):{form}} to {max(of_base):{form}} over seeds){said}."


def side_effects(base: Rival, rivals: Sequence[Rival]) -> list[str]:
    """Leaks, and the cost in knowledge."""
    return [
        side_effect(base, rivals, "leakage", "Leakage", ".2f"),
        side_effect(base, rivals, "untagged", "Leakage without a tag", ".2f"),
        side_effect(base, rivals, "bits_percent", "Cost in knowledge, % more bits per byte of held-out text", "+.1f"),
    ]
