"""The words of the studies: their intervals and tests in simulation, with known rates, and what they say of clear figures."""

import sys
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "benchmarks"))

from cells import entry_of  # noqa: E402
from contest import contest, differences, sentences, side_effect  # noqa: E402

REQUESTS, SEEDS = 64, 3


def drawn(rng, margin: float, spread: float, difficulty_R) -> list[dict]:
    """What three seeds reach: each seed's own margin, and each request easier or harder than the mean for every seed."""
    rows = []
    for _ in range(SEEDS):
        chance_R = np.clip(margin + rng.normal(0, spread) + difficulty_R, 0, 1)
        hits_R = rng.random(REQUESTS) < chance_R
        hits = {f"{request:08x}": [bool(hit), False] for request, hit in enumerate(hits_R)}
        rows.append({"margin": float(hits_R.mean()), "leakage": 0.0, "bits_percent": rng.normal(2, 0.5), "cpu_s": 40.0, "hits": hits})
    return rows


def simulated(rng, margins: list[float], spread: float) -> list:
    """A table with these true margins, the first the base's."""
    difficulty_R = rng.uniform(-0.2, 0.2, REQUESTS)
    difficulty_R -= difficulty_R.mean()
    return contest("0", {str(number): entry_of(drawn(rng, margin, spread, difficulty_R)) for number, margin in enumerate(margins)})


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2])
def test_equal_settings_are_rarely_called_different(spread):
    """Ten equal settings: at most one table in twenty may say that some of them surely differs from the base."""
    rng = np.random.default_rng(1)
    called = sum(any(rival.certain for rival in simulated(rng, [0.6] * 10, spread)) for _ in range(100))
    assert called <= 5


def test_the_test_over_requests_says_nothing_about_seeds():
    """Why two tests are asked: paired over requests only, seeds that spread by 0.2 are taken for differences of settings."""
    rng = np.random.default_rng(1)
    called = sum(any((rival.p_requests or 1) < 0.05 for rival in simulated(rng, [0.6] * 10, 0.2)) for _ in range(40))
    assert called > 20


@pytest.mark.parametrize("spread", [0.05, 0.1])
def test_intervals_hold_the_truth(spread):
    """Of the difference over seeds, and of the margin over seeds and requests, in 95 of 100 cases."""
    rng, truth = np.random.default_rng(2), [0.5, 0.3, 0.4, 0.5, 0.6, 0.7]
    of_difference, of_margin = [], []
    for _ in range(60):
        for rival in simulated(rng, truth, spread):
            margin = truth[int(rival.name)]
            of_margin.append(rival.entry.interval[0] <= margin <= rival.entry.interval[1])
            if rival.interval:
                of_difference.append(rival.interval[0] <= margin - truth[0] <= rival.interval[1])
    assert np.mean(of_difference) >= 0.93 and np.mean(of_margin) >= 0.93
    assert np.mean(of_difference) <= 0.985  # no wider than need be


def test_clear_differences_are_found_and_small_ones_left_open():
    rivals = simulated(np.random.default_rng(3), [0.4, 0.85, 0.05, 0.42], 0.05)
    said = sentences("plain", rivals[1:])
    assert said[0].startswith("Better than plain: 1 (+0.4") and said[1].startswith("Worse than plain: 2 (-0.3")
    assert said[2].startswith("Not told apart from plain: 3 (")
    assert [rival.name for rival in rivals] == ["0", "1", "3", "2"]


def test_one_seed_each_tells_nothing_about_seeds():
    assert differences([0.5], [[0.9], []]) == [(pytest.approx(0.4), None, None), (None, None, None)]
    assert differences([0.5, 0.5], [[0.5, 0.5]]) == [(0.0, None, None)], "no spread, no test"
    (difference, interval, p), _ = differences([0.5, 0.52], [[0.9], [0.51, 0.5]])
    assert interval[0] < difference < interval[1] and p < 0.05, "one seed, and the spread of the others"


def test_side_effects_name_what_surely_differs():
    rng = np.random.default_rng(4)
    rivals = simulated(rng, [0.5, 0.5, 0.5], 0.05)
    for run in rivals[1].entry.runs:
        run.numbers["bits_percent"] = 9.0
    text = side_effect(rivals[0], rivals[1:], "bits_percent", "Bits per byte, %", "+.1f")
    assert f"surely different from it over seeds: {rivals[1].name} (+" in text and f"{rivals[2].name} (" not in text
    assert side_effect(rivals[0], rivals[1:], "kl_nats", "KL") == "KL was not measured."
