"""Heatmap, costs, and charts as files."""

from pathlib import Path
from xml.etree import ElementTree

from gold_style.comparison.charts import heatmap, pareto
from gold_style.comparison.leaderboard import leaderboard
from gold_style.comparison.leaderboard_table import leaderboard_rows
from gold_style.comparison.records import RunRecord, read_runs
from gold_style.show.svg import Curve, line_chart


def test_pareto_front_by_hand():
    assert pareto([1, 2, 3, 4, 2], [0.5, 0.4, 0.9, 0.9, 0.6]) == [True, False, True, False, True]
    assert pareto([], []) == []


def test_charts_are_files_of_their_own(sweep):
    chart = line_chart([Curve("β 0.3 & <more>", [0, 1], [0.1, 0.9])], title="Margin <live>", y_label="share")
    for text in (chart.file(), heatmap(leaderboard(read_runs([sweep]))).file()):
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg") and "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "β 0.3 &amp; &lt;more&gt;" in chart.file()


def test_the_axes_of_a_published_heatmap_are_ordered_by_size():
    grid = [{"a": a, "b": b} for a in (2, 16) for b in (8, 16)]
    runs = [RunRecord(Path("/r"), "completed", None, {}, settings, {"after": {"margin": 0.5}}, []) for settings in grid]
    ticks = [text.text for text in ElementTree.fromstring(heatmap(leaderboard(runs)).file()).iter() if text.get("class") == "tick"]
    assert ticks == ["8", "16", "2", "16"]


def test_a_beta_that_moves_is_one_value_of_an_axis(scheduled_sweep):
    board = leaderboard(read_runs([scheduled_sweep]))
    assert set(board.varied) == {"loss.beta", "loss.lmbda"}
    assert "0-&gt;0.3/40" in heatmap(board).file()
    assert {row["loss.beta"] for row in leaderboard_rows(board)} == {"0->0.3/40", "0.3"}
