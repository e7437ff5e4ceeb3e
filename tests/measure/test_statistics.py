"""Intervals and tests against published worked examples, brute force, and their own coverage."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gold_style.measure.statistics import (
    agreement,
    auc,
    exact_permutation,
    gap_interval,
    holm,
    krippendorff_alpha,
    margin_interval,
    newcombe,
    paired_permutation,
    percentiles,
    resampled_shares,
    share_interval,
    wilson,
)


def test_wilson_is_the_published_interval_and_never_a_point():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(128, 128) == pytest.approx((0.9709, 1), abs=5e-5)
    assert wilson(0, 0) is None


def test_newcombe_is_the_published_interval_of_a_difference():
    assert newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)  # Newcombe 1998, method 10
    assert newcombe((10, 10), (0, 20)) == pytest.approx((0.6791, 1.0), abs=5e-5)
    assert newcombe((1, 0), (1, 2)) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_intervals_hold_the_point_and_stay_in_range(pairs):
    first, second = (np.array(column, float) for column in zip(*pairs, strict=True))
    ones = np.ones(len(pairs))
    low, high = share_interval(first, ones, samples=200)
    assert 0 <= low <= first.mean() <= high <= 1 and low < high
    low, high = margin_interval((first, ones), (second, ones), samples=200)
    assert -1 <= low <= first.mean() - second.mean() <= high <= 1 and low < high


def test_margin_interval_turns_round_with_its_arguments():
    rng = np.random.default_rng(0)
    a, b, ones = rng.integers(0, 2, 64), rng.integers(0, 2, 64), np.ones(64)
    forward, backward = margin_interval((a, ones), (b, ones)), margin_interval((b, ones), (a, ones))
    assert forward == pytest.approx((-backward[1], -backward[0]))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_share_interval_covers_the_truth(share):
    rng, covered = np.random.default_rng(1), 0
    for _ in range(300):
        low, high = share_interval(rng.random(64) < share, np.ones(64), samples=300)
        covered += low <= share <= high
    assert covered / 300 >= 0.93


def test_answers_of_one_request_are_not_counted_as_independent():
    hits = np.random.default_rng(2).integers(0, 2, 50)
    once, twice = share_interval(hits, np.ones(50)), share_interval(2 * hits, 2 * np.ones(50))
    assert twice == pytest.approx(once)  # the same answer again is no new information


def test_ambiguous_answers_leave_the_denominator():
    hits, counted = np.array([1, 0, 0, 1]), np.array([1, 0, 1, 0])
    draws = resampled_shares(hits * counted, counted, samples=500)
    assert set(np.unique(draws[np.isfinite(draws)])) <= {k / n for n in range(1, 5) for k in range(n + 1)}
    assert share_interval(np.zeros(3), np.zeros(3)) is None


def test_bootstrap_is_the_same_every_time_and_close_to_theory():
    hits = np.repeat([1.0, 0.0], [60, 40])
    draws = resampled_shares(hits, np.ones(100))
    assert np.array_equal(draws, resampled_shares(hits, np.ones(100)))
    assert draws.std() == pytest.approx(math.sqrt(0.6 * 0.4 / 100), rel=0.1)
    assert percentiles(np.array([np.nan, np.nan])) is None


def test_gap_interval_holds_the_point_and_is_none_without_a_gap():
    zero, one, ones = np.zeros(128), np.ones(128), np.ones(128)
    before, good = ((zero, ones), (zero, ones)), ((one, ones), (zero, ones))
    low, high = gap_interval(before, good, good)
    assert low < 1 <= high
    assert gap_interval(good, good, good) is None
    half = (np.repeat([1.0, 0.0], 64), ones)
    low, high = gap_interval(before, (half, (zero, ones)), good)
    assert low < 0.5 < high and 0.1 < high - low < 0.3


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test: the binomial test of only_first against only_second."""
    number, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(math.comb(number, k) for k in range(fewer + 1)) / 2**number)


def test_sign_flips_agree_with_mcnemar_on_single_differences():
    differences = np.array([1] * 9 + [-1] + [0] * 40)
    assert paired_permutation(differences) == pytest.approx(mcnemar(9, 1), abs=0.005)
    assert paired_permutation(np.zeros(50)) == 1.0


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_exact_sign_flips_count_every_pattern(differences):
    flipped = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in patterns(len(differences))]
    expected = sum(value >= abs(sum(differences)) for value in flipped) / len(flipped)
    assert exact_permutation(differences) == pytest.approx(expected)


def patterns(number: int):
    return itertools.product((1, -1), repeat=number)


def test_exact_sign_flips_are_mcnemar_and_reach_far_down():
    assert exact_permutation([1] * 9 + [-1] + [0] * 40) == pytest.approx(mcnemar(9, 1))
    assert exact_permutation([1] * 128) == pytest.approx(2 * 0.5**128)
    assert exact_permutation([0, 0]) == 1.0


def test_sign_flips_keep_their_level():
    noise = np.random.default_rng(3).integers(-1, 2, size=(400, 60))
    assert np.mean([paired_permutation(differences, samples=1000) < 0.05 for differences in noise]) < 0.08


def test_holm_by_hand():
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.01, None, 0.002], tests=6) == pytest.approx([0.05, None, 0.012])


def test_krippendorff_alpha_is_the_published_value():
    rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    ratings = [[None if value == "." else int(value) for value in row.split()] for row in rows]
    units = list(zip(*ratings, strict=True))
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)  # Krippendorff 2011, example C
    assert krippendorff_alpha(units, "interval") == pytest.approx(0.849, abs=5e-4)


def test_krippendorff_alpha_at_its_edges():
    assert krippendorff_alpha([["a", "a"], ["b", "b"], ["a", "a"]]) == 1.0
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None  # nothing to agree about
    assert krippendorff_alpha([["a", None], [None, "b"]]) is None  # no unit rated twice
    assert krippendorff_alpha([["a", "b"], ["b", "a"]]) < 0
    assert agreement([("a", "a"), ("b", "a"), (None, "b")]) == {"alpha": 0.0, "equal": 0.5, "units": 2}


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_auc_counts_pairs(rows):
    positives, negatives = [s for s, positive in rows if positive], [s for s, positive in rows if not positive]
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(positives, negatives)]
    expected = sum(pairs) / len(pairs) if pairs else None
    assert auc([s for s, _ in rows], [positive for _, positive in rows]) == pytest.approx(expected)
