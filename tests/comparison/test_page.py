"""compare.html: whole, also without variation or results."""

from gold_style.comparison.leaderboard import leaderboard
from gold_style.comparison.page import compare_html
from gold_style.comparison.records import read_runs
from tests.helpers.pages import checked
from tests.helpers.run_files import write_run


def test_page_is_whole_and_shows_what_is_asked_for(sweep):
    html = compare_html(leaderboard(read_runs([sweep])))
    text = checked(html)
    for words in ("Heatmap", "Curves", "Margin against tokens", "NonFinite: loss is nan at step 31", "reproduce=", "teacher"):
        assert words in text, words
    assert html.count('class="band"') >= 4 and html.count('class="cell"') == 4


def test_page_without_variation_or_results(tmp_path):
    write_run(tmp_path / "0", status="failed", reason="out of memory")
    text = checked(compare_html(leaderboard(read_runs([tmp_path]))))
    assert "out of memory" in text and "Heatmap" not in text
