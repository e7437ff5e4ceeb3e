"""Intervals, paired tests and agreement for shares of answers, with numpy only.

Prompts, not answers, are resampled: the answers of one request under several tags stay together. Wilson:
https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval; differences: Newcombe 1998 (Statistics in
Medicine 17:873, method 10); bootstrap: Efron & Tibshirani 1993; Holm 1979; alpha: Krippendorff 2011, "Computing
Krippendorff's Alpha-Reliability".

Shapes: R = requests, S = bootstrap samples. Example: `wilson(128, 128)` is (0.971, 1.0).
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

Interval = tuple[float, float]
SAMPLES, CONFIDENCE = 2000, 0.95


def wilson(successes: float, number: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Score interval of a share, in [0, 1]; never a point, not even without a failure. None without trials."""
    if number <= 0:
        return None
    z, share = NormalDist().inv_cdf(0.5 + confidence / 2), successes / number
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    return low, 1.0 if successes >= number else min(1.0, centre + half)


def newcombe(first: tuple[float, float], second: tuple[float, float], confidence: float = CONFIDENCE) -> Interval | None:
    """Interval of share(first) - share(second), each (successes, number), in [-1, 1]; None without trials."""
    intervals = wilson(*first, confidence), wilson(*second, confidence)
    if None in intervals:
        return None
    (low_1, high_1), (low_2, high_2) = intervals
    share_1, share_2 = first[0] / first[1], second[0] / second[1]
    down, up = (math.sqrt(a * a + b * b) for a, b in ((share_1 - low_1, high_2 - share_2), (high_1 - share_1, share_2 - low_2)))
    return max(-1.0, share_1 - share_2 - down), min(1.0, share_1 - share_2 + up)


@lru_cache(maxsize=8)
def resampling(number: int, samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """How often each of `number` requests is drawn in each bootstrap sample, shape (S, R)."""
    weights_SR = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=samples).astype(np.float64)
    weights_SR.flags.writeable = False
    return weights_SR


def resampled_shares(hits_R: np.ndarray, counted_R: np.ndarray, samples: int = SAMPLES, seed: int = 0, extra_S=0.0) -> np.ndarray:
    """Bootstrap draws of sum(hits) / sum(counted) over requests, shape (S,); NaN where a draw counted nothing.

    `extra_S`: successes, and as many failures, that are added to each draw.
    """
    weights_SR = resampling(len(hits_R), samples, seed) if len(hits_R) else np.zeros((samples, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights_SR @ hits_R + extra_S) / (weights_SR @ counted_R + 2 * extra_S)


def percentiles(draws: np.ndarray, confidence: float = CONFIDENCE) -> Interval | None:
    """The middle `confidence` of the finite draws; None where there is none."""
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return None
    return tuple(np.quantile(finite, [0.5 - confidence / 2, 0.5 + confidence / 2]).tolist())


def hull(*intervals: Interval | None) -> Interval | None:
    """The smallest interval that holds all those given."""
    known = [interval for interval in intervals if interval is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def request_trials(hits_R: np.ndarray, counted_R: np.ndarray) -> tuple[float, int]:
    """(successes, number) of as many trials as there are requests with a counted answer, of the same share."""
    number = int((counted_R > 0).sum())
    return (number * hits_R.sum() / counted_R.sum() if number else 0.0), number


def share_interval(hits_R, counted_R, *, samples: int = SAMPLES, confidence: float = CONFIDENCE, seed: int = 0) -> Interval | None:
    """Interval of sum(hits) / sum(counted) over requests; None where nothing is counted.

    The hull of the bootstrap over requests, which knows that the answers of one request belong together, and of
    Wilson's interval with as many trials as there are requests, which is no point where every answer agrees. Args:
    hits and counted answers of each request, (R,).
    """
    draws_S = resampled_shares(hits_R, counted_R, samples, seed)
    return hull(percentiles(draws_S, confidence), wilson(*request_trials(hits_R, counted_R), confidence))


def margin_interval(first, second, *, samples: int = SAMPLES, confidence: float = CONFIDENCE, seed: int = 0) -> Interval | None:
    """Interval of share(first) - share(second), each (hits (R,), counted (R,)) over the same R requests.

    The hull of the paired bootstrap over requests and of Newcombe's interval, for the reason given at
    `share_interval`. None where either counts nothing.
    """
    first_S, second_S = (resampled_shares(*counts, samples, seed) for counts in (first, second))
    score = newcombe(request_trials(*first), request_trials(*second), confidence=confidence)
    return hull(percentiles(first_S - second_S, confidence), score)


def gap_interval(before, after, teacher, *, samples: int = SAMPLES, confidence: float = CONFIDENCE, seed: int = 0) -> Interval | None:
    """Interval of (after - before) / (teacher - before) of margins, each ((hits, counted), (hits, counted)), (R,).

    Bootstrap over requests in which every share gets about one success and one failure more, drawn for each share by
    itself, so that 0 and 1 vary too (the idea of Agresti & Caffo 2000). The point estimate is always inside. None where
    nothing is counted, or the teacher is not above the start.
    """
    if any(not counted.sum() for model in (before, after, teacher) for _, counted in model):
        return None
    rng, margins = np.random.default_rng(seed), []
    for model in (before, after, teacher):
        first_S, neutral_S = (resampled_shares(*counts, samples, seed, rng.poisson(1.0, samples)) for counts in model)
        first, neutral = (hits.sum() / counted.sum() for hits, counted in model)
        margins.append((first_S - neutral_S, first - neutral))
    (start_S, start), (end_S, end), (ceiling_S, ceiling) = margins
    if ceiling <= start:
        return None
    point = (end - start) / (ceiling - start)
    gaps_S = (end_S - start_S) / np.where(ceiling_S > start_S, ceiling_S - start_S, np.nan)
    return hull(percentiles(gaps_S, confidence), (point, point))


def paired_permutation(differences: Sequence[float], *, samples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the sign-flip test of mean difference 0, shape (R,), from `samples` drawn sign patterns.

    Under the null hypothesis a request's difference is as likely the other way round. The smallest p is
    1 / (samples + 1): the observed signs are one of the draws (Phipson & Smyth 2010).
    """
    differences_R = np.asarray(differences, np.float64)
    rng, extreme, observed = np.random.default_rng(seed), 0, abs(differences_R.sum())
    for start in range(0, samples, 500):
        signs = rng.integers(0, 2, size=(min(500, samples - start), len(differences_R))) * 2.0 - 1.0
        extreme += int((np.abs(signs @ differences_R) >= observed - 1e-9).sum())
    return (1 + extreme) / (1 + samples)


def exact_permutation(differences: Sequence[int]) -> float:
    """Two-sided p of the sign-flip test of mean difference 0 over all 2^R sign patterns; whole numbers, shape (R,).

    The distribution of the flipped sum is that of a random subset's sum, built up one request at a time.
    """
    sizes = np.abs(np.asarray(differences, np.int64))
    total, observed = int(sizes.sum()), abs(int(np.sum(differences)))
    chances = np.zeros(total + 1)  # of subset sums: the flipped sum is 2 * subset - total
    chances[0] = 1.0
    for size in sizes[sizes > 0]:
        chances *= 0.5
        chances[size:] += chances[:-size].copy()
    sums = np.abs(2 * np.arange(total + 1) - total)
    return float(min(1.0, chances[sums >= observed].sum()))


def holm(p_values: Sequence[float | None], tests: int = 0) -> list[float | None]:
    """p values corrected for their number (Holm), in the order given; None stays None and is not counted.

    `tests`: how many comparisons these were chosen from, where that is more than their number.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    number, corrected = max(len(known), tests), list(p_values)
    scaled = accumulate((min(1.0, p * (number - rank)) for rank, (p, _) in enumerate(known)), max)
    for (_, index), p in zip(known, scaled, strict=True):
        corrected[index] = p
    return corrected


def auc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Chance that a positive scores higher than a negative, ties counted half; None without both kinds.

    Mann-Whitney's U over its maximum, by ranks.
    """
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    number = int(positive.sum())
    if not 0 < number < len(positive):
        return None
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]  # of tied scores: the mean of the ranks that they take
    return float((ranks[positive].sum() - number * (number + 1) / 2) / (number * (len(positive) - number)))


def krippendorff_alpha(units: Iterable[Sequence[Hashable | None]], level: Literal["nominal", "interval"] = "nominal") -> float | None:
    """Agreement of raters: 1 perfect, 0 as by chance. `units`: the labels that each unit was given, None = not rated.

    `level`: nominal (labels equal or not) | interval (numbers, squared difference). None where no unit has two labels,
    or where all labels are the same, so that there is nothing to agree about.
    """
    known = [[label for label in unit if label is not None] for unit in units]
    known = [unit for unit in known if len(unit) > 1]
    totals = Counter(label for unit in known for label in unit)

    def disagreement(counts: Counter) -> float:
        """Sum over ordered pairs of different labels."""
        return sum(n * m * (1.0 if level == "nominal" else (a - b) ** 2) for a, n in counts.items() for b, m in counts.items() if a != b)

    expected = disagreement(totals)
    if not expected:
        return None
    observed = sum(disagreement(Counter(unit)) / (len(unit) - 1) for unit in known)
    return 1 - (totals.total() - 1) * observed / expected


def agreement(pairs: Sequence[tuple[Hashable | None, Hashable | None]]) -> dict[str, Any]:
    """How far two raters give the same labels: one pair of labels per unit; None: not rated, or not understood."""
    known = [pair for pair in pairs if None not in pair]
    equal = sum(one == other for one, other in known) / len(known) if known else None
    return {"alpha": krippendorff_alpha(pairs), "equal": equal, "units": len(known)}
