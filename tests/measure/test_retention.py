"""What a student has kept of its start, as numbers."""

import math

import pytest

from gold_style.measure.retention import retention, retention_numbers

HOW = {"samples": 500, "confidence": 0.95}
NATS, SIZES = [100.0, 180.0, 120.0, 140.0], [60, 100, 70, 80]
RIGHT = [True, True, True, False] * 10


def test_a_student_that_is_its_start_has_kept_all():
    found = retention((NATS, RIGHT), (NATS, RIGHT), [(0.0, 10), (0.0, 20)], SIZES, [4] * 40, RIGHT[::-1], **HOW)
    assert found["kl_nats"] == {"value": 0.0, "interval": (0.0, 0.0)}
    assert found["bits_per_byte"]["change"] == 0 and found["bits_per_byte"]["interval"] == [0, 0]
    assert found["bits_per_byte"]["before"] == pytest.approx(540 / 310 / math.log(2))
    choice = found["choice"]
    assert (choice["before"], choice["after"], choice["chance"], choice["teacher"], choice["items"]) == (0.75, 0.75, 0.25, 0.75, 40)
    assert choice["interval"][0] < 0 < choice["interval"][1]  # no point: other items could have changed


def test_changes_are_after_minus_before_and_paired():
    worse = [nats * 1.1 for nats in NATS]
    lost = [False] * 12 + RIGHT[12:]  # nine right ones are lost
    found = retention((NATS, RIGHT), (worse, lost), [(1.0, 10), (3.0, 10)], SIZES, [2] * 20 + [4] * 20, **HOW)
    bits, choice = found["bits_per_byte"], found["choice"]
    assert found["kl_nats"]["value"] == pytest.approx(0.2)
    assert bits["change"] == pytest.approx(bits["before"] * 0.1) and 0 < bits["interval"][0] < bits["change"] < bits["interval"][1]
    assert bits["interval"][1] - bits["interval"][0] < 0.1, "windows are paired: their own difficulty is not in the interval"
    assert choice["change"] == pytest.approx(-9 / 40) and choice["interval"][0] < choice["change"] < choice["interval"][1] < 0
    assert choice["chance"] == pytest.approx(0.375) and choice["teacher"] is None
    assert retention_numbers({"details": {"retention": found, "forgetting": {"chrf": 0.4}}}) == {
        "bits_percent": pytest.approx(10),
        "choice_change": choice["change"],
        "kl_nats": pytest.approx(0.2),
        "neutral_chrf": 0.4,
    }


def test_without_requests_there_is_no_divergence():
    found = retention((NATS, RIGHT), (NATS, RIGHT), [], SIZES, [4] * 40, **HOW)
    assert found["kl_nats"] == {"value": None, "interval": None} and found["bits_per_byte"]["before"]


@pytest.mark.parametrize("summary", [{}, {"details": {}}, {"details": {"retention": None, "forgetting": None}}])
def test_older_summaries_have_no_numbers(summary):
    assert set(retention_numbers(summary).values()) == {None}
