"""Charts: ticks, gaps, files of their own."""

import pytest

from gold_style.show.svg import Curve, line_chart, ticks


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(3, 117, about=7) == pytest.approx([20, 40, 60, 80, 100])
    assert ticks(2, 2) == [2]


def test_curves_have_gaps_where_nothing_was_measured():
    chart = line_chart([Curve("a", [0, 1, 2, 3, 4], [1.0, 2.0, None, 3.0, 4.0])], title="t", y_label="y")
    assert chart.inside.count('class="line"') == 2
    assert line_chart([Curve("a", [0], [None])], title="t", y_label="y") is None
    assert "<circle" in line_chart([Curve("a", [5], [float("inf")]), Curve("b", [5], [1.0])], title="t", y_label="y").inside
