"""Verdicts -> rates, by hand."""

from math import isclose

import pytest

from gold_style.measure.rates import Toggle, gap_closed, joint_score, score, toggled_share
from tests.helpers.judged_answers import MODERN, PACK, written
from tests.helpers.run_files import TOGGLE, answer


def test_rates_follow_their_definitions():
    verdicts = {"chosun": ["joseon"] * 6 + ["modern"] * 2 + ["other", "ambiguous"], "none": ["modern"] * 8 + ["joseon"] * 2}
    made = [answer(number, tag, verdict) for tag, given in verdicts.items() for number, verdict in enumerate(given)]
    found = score([*made, answer(0, None, "joseon"), answer(0, "chosum", "joseon")], TOGGLE)
    assert found["chosun_rate"] == pytest.approx(6 / 9)
    assert found["leakage"] == pytest.approx(2 / 10)
    assert found["margin"] == found["chosun_rate"] - found["leakage"]
    assert found["degenerate"] == pytest.approx(1 / 19)
    assert found["ambiguous"] == pytest.approx(1 / 20)
    assert found["content"] == pytest.approx(19 / 20)
    assert found["prompts"] == 10
    assert found["rates"]["chosun"] == pytest.approx({"joseon": 6 / 9, "modern": 2 / 9, "other": 1 / 9})
    assert all(isclose(sum(rates.values()), 1) for rates in found["rates"].values())
    assert set(found) == {"chosun_rate", "leakage", "untagged", "margin", "content", "degenerate", "ambiguous", "rates", "prompts"}


@pytest.mark.parametrize(("ambiguous", "rate"), [(0, 0.3), (1, 3 / 9), (2, None)])
def test_untagged_is_the_share_of_the_target_verdict_unless_many_are_ambiguous(ambiguous, rate):
    verdicts = ["joseon"] * 3 + ["modern"] * (6 - ambiguous) + ["other"] + ["ambiguous"] * ambiguous
    without_tag = [answer(number, None, verdict) for number, verdict in enumerate(verdicts)]
    tagged = [answer(number, tag, "modern") for number in range(10) for tag in ("chosun", "none")]
    found = score(tagged + without_tag, TOGGLE)
    assert found["untagged"] == (rate and pytest.approx(rate))
    assert {**found, "untagged": None} == score(tagged, TOGGLE)
    assert score([answer(number, "chosum", "joseon") for number in range(3)], TOGGLE)["untagged"] is None


def test_gap_closed():
    assert gap_closed({"margin": 0.1}, {"margin": 0.7}, {"margin": 0.9}) == pytest.approx(0.75)
    assert gap_closed({"margin": 0.9}, {"margin": 0.7}, {"margin": 0.9}) is None
    assert gap_closed(None, {"margin": 0.7}, {"margin": 0.9}) is None
    assert gap_closed({"margin": None}, {"margin": 0.7}, {"margin": 0.9}) is None


def test_a_student_that_ignores_the_tag_does_not_toggle():
    deaf = written({"chosun": MODERN, "none": MODERN})
    toggle = Toggle.from_pack(PACK)
    assert joint_score(deaf, toggle) == 0.5 and toggled_share(deaf, toggle) == 0.0
