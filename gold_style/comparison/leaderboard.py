"""Many runs -> which settings varied, what each combination reached over its seeds, and how sure that is.

Runs that differ in nothing but the seed are one entry. An entry's margin is the mean over its completed seeds; its
interval resamples requests and seeds together, with one seed only the requests. Every entry is compared with the best
one request by request (sign-flip permutation test, Holm's correction for all pairs of entries): that test is about
requests, not about seeds. Shapes: R = requests, K = seeds, S = bootstrap samples.

Example: `board = leaderboard(read_runs([Path("multirun/2026-11-22/10-00-00")]))`.
"""

import json
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gold_style.comparison.records import RunRecord
from gold_style.measure import statistics as stats
from gold_style.measure.rates import mean
from gold_style.runs.run_directory import BESIDE

BOOTSTRAP_SAMPLES, PERMUTATIONS = 1000, 20_000
EXACT_UP_TO = 300  # common denominator of the means over seeds up to which the test is exact
FEW_REQUESTS = 10  # in common; below it two entries are not tested against each other
# no part of what is compared: seeds are repetitions, the others say nothing about a result
BOOKKEEPING = {*BESIDE, "seed", "objective", "grace_s", "evaluation.untagged", "evaluation.misspelt", "evaluation.retention"}


@dataclass
class Entry:
    """One combination of the varied settings, with its runs over seeds."""

    settings: dict[str, Any]  # varied key -> value
    runs: list[RunRecord]
    rank: int | None = None  # 1 = best; None where no run has a margin, or none has learned the style
    p_value: float | None = None  # against the best entry, not corrected
    p_corrected: float | None = None

    @cached_property
    def scored(self) -> list[RunRecord]:
        """The runs whose student was scored."""
        return [run for run in self.runs if run.after.get("margin") is not None]

    def mean(self, name: str) -> float | None:
        """Mean over the scored runs of one of their `numbers`."""
        return mean([run.numbers.get(name) for run in self.scored])

    @property
    def margin(self) -> float | None:
        """Mean margin over seeds."""
        return self.mean("margin")

    @cached_property
    def code(self) -> str:
        """What the scored runs have learned; "partly" where they disagree."""
        codes = {run.code for run in self.scored}
        return codes.pop() if len(codes) == 1 else "partly" if codes else "unknown"

    @property
    def tokens_to_reach(self) -> tuple[float | None, int]:
        """(mean tokens until REACHED of the teacher's margin, number of runs that got there)."""
        known = [tokens for run in self.scored if (tokens := run.tokens_to_reach) is not None]
        return mean(known), len(known)

    @property
    def name(self) -> str:
        """The varied settings in a few words; "the one setting" where none varied."""
        return settings_text(self.settings) or "the one setting"

    @cached_property
    def interval(self) -> stats.Interval | None:
        """Interval of the margin; None without samples."""
        return interval_over_seeds([run.hits for run in self.scored if run.hits])

    def contributions(self) -> dict[str, tuple[int, int]]:
        """Request -> (sum over seeds of hit under the first minus hit under the neutral tag, number of seeds)."""
        values: dict[str, tuple[int, int]] = {}
        for run in self.scored:
            for request, (first, neutral) in run.hits.items():
                if first is not None and neutral is not None:
                    total, number = values.get(request, (0, 0))
                    values[request] = (total + first - neutral, number + 1)
        return values


@dataclass(frozen=True)
class Leaderboard:
    """`entries`, best first; `varied`: settings in which the runs differ; `failed`: runs without a result."""

    varied: list[str]
    entries: list[Entry]
    runs: list[RunRecord]

    @property
    def failed(self) -> list[RunRecord]:
        """Runs that are not completed, in any way."""
        return [run for run in self.runs if run.status != "completed"]

    @property
    def mended(self) -> list[RunRecord]:
        """Runs that were resumed, or run again after they had failed."""
        return [run for run in self.runs if run.history]

    @property
    def best(self) -> Entry | None:
        """The entry with the highest margin; None where it is not known to have learned the style, at least in part."""
        return self.entries[0] if self.entries and self.entries[0].rank and self.entries[0].code != "unknown" else None

    @property
    def outcome(self) -> str:
        """How many runs ended in which way: "10 completed, 1 failed, 1 interrupted"."""
        return ", ".join(f"{number} {status}" for status, number in Counter(run.status for run in self.runs).most_common())


def completed(runs: Sequence[RunRecord]) -> str:
    """How many of the runs completed: "3/4"."""
    return f"{sum(run.status == 'completed' for run in runs)}/{len(runs)}"


def leaderboard(runs: Sequence[RunRecord]) -> Leaderboard:
    """Group runs by their varied settings, rank the groups by margin, test each against the best."""
    varied = varied_settings(runs)
    groups: dict[Hashable, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(tuple(value_text(run.settings.get(key)) for key in varied), []).append(run)
    entries = [Entry({key: group[0].settings.get(key) for key in varied}, group) for group in groups.values()]
    entries.sort(key=lambda entry: (entry.margin is None, entry.code == "not_learned", -(entry.margin or 0), -(entry.mean("content") or 0)))
    for rank, entry in enumerate(entries, 1):
        entry.rank = rank if entry.margin is not None and entry.code != "not_learned" else None
    if entries and entries[0].rank:
        compare_with_best([entry for entry in entries if entry.margin is not None])
    return Leaderboard(varied, entries, list(runs))


def varied_settings(runs: Sequence[RunRecord]) -> list[str]:
    """Keys whose values differ between runs, without bookkeeping, and without keys that another choice decides.

    A choice is a key that some run's command line set, or the name of a config group. Whatever else differs only
    where the choices differ follows from them (`model=...` changes a dozen keys) and is left out.
    """
    known = [run for run in runs if run.settings]
    values: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for run in known for key in run.settings):
        found = [run.settings.get(key) for run in known]
        if BOOKKEEPING.isdisjoint((key, key.split(".")[0])) and any(value != found[0] for value in found):
            values[key] = [value_text(value) for value in found]
    overridden = {key for run in known for key in run.overridden}
    choices = [key for key in values if key in overridden or key.endswith(".name")]
    chosen = list(zip(*(values[key] for key in choices), strict=True)) or [()] * len(known)
    decided = len(set(chosen))  # a key that follows from the choices adds no combination to them
    rest = [key for key in values if key not in choices and len(set(zip(chosen, values[key], strict=True))) > decided]
    return choices + rest


def value_text(value: Any) -> str:
    """A setting as short text, the same for equal values: 1 and 1.0 are."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each dotted key, or more parts where the last ones would be equal."""
    split, names = [key.split(".") for key in keys], []
    for parts in split:
        length = 2 if parts[-1] == "name" else 1
        while length < len(parts) and sum(other[-length:] == parts[-length:] for other in split) > 1:
            length += 1
        names.append(".".join(parts[-length:]).removesuffix(".name"))
    return names


def settings_text(settings: dict[str, Any]) -> str:
    """Settings in a few words: "beta 0.3, lmbda 1"."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in zip(short_names(list(settings)), settings.values(), strict=True))


def interval_over_seeds(hits_of_seeds: Sequence[dict[str, tuple[bool | None, bool | None]]]) -> stats.Interval | None:
    """Interval of the mean margin over K seeds, each a mapping from request to (hit under first, under neutral tag).

    Requests are resampled once for all seeds, since the same are asked; seeds are resampled among themselves, their
    spread scaled by sqrt(K / (K - 1)) because few seeds understate it. In simulations with 64 requests it held the truth
    in 95% of cases and more where seeds spread by 0.1, and in 84, 89 and 93% with K = 2, 3, 5 where they spread by 0.2:
    two or three seeds cannot tell how far seeds spread. The hull with Newcombe's interval keeps the
    interval from being a point where all answers agree. None without requests.
    """
    requests = list(dict.fromkeys(request for hits in hits_of_seeds for request in hits))
    seeds = len(hits_of_seeds)
    if not requests:
        return None
    table_RK2 = np.array([[hits.get(request, (None, None)) for hits in hits_of_seeds] for request in requests], np.float64)
    counted, hit = (~np.isnan(table_RK2)).astype(np.float64), np.nan_to_num(table_RK2)
    shares = [stats.resampled_shares(hit[..., tag], counted[..., tag], BOOTSTRAP_SAMPLES) for tag in (0, 1)]
    margins_SK = shares[0] - shares[1]
    draws_S = margins_SK.mean(1)
    if seeds > 1:
        chosen_SK = np.random.default_rng(1).multinomial(seeds, np.full(seeds, 1 / seeds), size=len(margins_SK)) / seeds
        draws_S = draws_S + np.sqrt(seeds / (seeds - 1)) * ((chosen_SK * margins_SK).sum(1) - draws_S)
    means, trials = hit.sum((0, 1)) / np.maximum(1, counted.sum((0, 1))), counted.any(1).sum(0)
    limits = stats.hull(stats.percentiles(draws_S), stats.newcombe(*zip(means * trials, trials, strict=True)))
    return limits and (max(-1.0, limits[0]), min(1.0, limits[1]))


def compare_with_best(entries: Sequence[Entry]) -> None:
    """Fill in the p values of every entry but the best, where enough requests are common to both.

    Which entry is best was read from the same answers, so the comparisons count as chosen from all pairs of entries:
    corrected for their own number only, twelve equal settings have a "significant" loser in 12% of all sweeps, not 5%.
    """
    best = entries[0].contributions()
    p_values = [difference_p(best, entry.contributions()) for entry in entries[1:]]
    all_pairs = len(entries) * (len(entries) - 1) // 2
    for entry, p, corrected in zip(entries[1:], p_values, stats.holm(p_values, all_pairs), strict=True):
        entry.p_value, entry.p_corrected = p, corrected


def p_text(p: float | None) -> str:
    """A p value in few characters; a dash where there is none."""
    return "–" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"


def difference_p(best: dict[str, tuple[int, int]], other: dict[str, tuple[int, int]]) -> float | None:
    """p of the paired sign-flip test over the requests that two entries share; None where those are few.

    Exact where the means over seeds have a common denominator of moderate size, as they do unless answers are missing.
    """
    pairs = [(*best[request], *other[request]) for request in best if request in other]
    if len(pairs) < FEW_REQUESTS:
        return None
    scale = math.lcm(*{number for pair in pairs for number in pair[1::2]})
    if scale <= EXACT_UP_TO:
        return stats.exact_permutation([a * (scale // n) - b * (scale // m) for a, n, b, m in pairs])
    return stats.paired_permutation([a / n - b / m for a, n, b, m in pairs], samples=PERMUTATIONS)
