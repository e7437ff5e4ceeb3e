"""compare.html: whole, also without variation or results."""

import re
from urllib.parse import unquote

from gold_style.comparison.charts import costs
from gold_style.comparison.leaderboard import leaderboard
from gold_style.comparison.page import compare_html
from gold_style.comparison.records import read_runs
from gold_style.show.report import write_report
from tests.helpers.pages import checked
from tests.helpers.run_files import write_run


def test_page_is_whole_and_shows_what_is_asked_for(sweep):
    html = compare_html(leaderboard(read_runs([sweep])))
    text = checked(html)
    for words in ("Heatmap", "Curves", "Margin against tokens", "NonFinite: loss is nan at step 31", "reproduce=", "teacher"):
        assert words in text, words
    assert html.count('class="band"') >= 4 and html.count('class="cell"') == 4


def test_the_conclusion_comes_first_and_runs_are_links(sweep, tmp_path):
    reports = [write_report(run) for run in sorted(sweep.glob("*/*/*"))[:2]]
    try:
        html = compare_html(leaderboard(read_runs([sweep])), tmp_path)
    finally:
        for report in reports:
            report.unlink()
    text = checked(html).split("Print")[1]
    order = [
        "settings learned the style",
        "leader: beta 0.3",
        "Margin, as a share of the teacher's",
        "Leaks without a tag",
        "Leaderboard",
        "What it costs",
    ]
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    links = {tmp_path / unquote(address) for address in re.findall(r'<a href="([^"#]*report.html)"', html)}
    assert {link.resolve() for link in links} == {report.resolve() for report in reports}
    assert text.count("1: beta 0.3") == len([chart for chart in costs(leaderboard(read_runs([sweep]))) if chart]) * 2  # legend and dot


def test_page_without_variation_or_results(tmp_path):
    write_run(tmp_path / "0", status="failed", reason="out of memory")
    text = checked(compare_html(leaderboard(read_runs([tmp_path]))))
    assert "out of memory" in text and "Heatmap" not in text
