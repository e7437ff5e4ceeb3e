"""What a comparison says in one sentence, and what is never bold."""

import pytest

from gold_style.comparison.leaderboard import leaderboard
from gold_style.comparison.leaderboard_table import leaderboard_rows
from gold_style.comparison.page import compare_html
from gold_style.comparison.records import read_runs
from gold_style.comparison.verdict import sentence
from tests.helpers.pages import checked
from tests.helpers.run_files import write_run


def board_of(directory, rates: dict, **options):
    for number, (beta, after) in enumerate(rates.items()):
        write_run(directory / str(number), config={"loss": {"beta": beta}}, after=after, **options)
    return leaderboard(read_runs([directory]))


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        (
            {0.3: (0.98, 0.0), 0.5: (0.97, 0.0), 1.0: (0.3, 0.0)},
            "2 of 3 settings learned the style; beta: 0.3 and 0.5 cannot be told apart, both beat 1",
        ),
        ({0.3: (0.98, 0.0), 1.0: (0.3, 0.0)}, "1 of 2 settings learned the style; beta: 0.3 beats 1"),
        ({0.3: (0.98, 0.0), 0.5: (0.98, 0.0)}, "2 of 2 settings learned the style; beta: 0.3 and 0.5 cannot be told apart"),
        ({0.3: (0.98, 0.0)}, "1 of 1 setting learned the style"),
        ({0.3: (0.97, 0.94), 0.5: (0.1, 0.0)}, "no run has learned the style"),
        ({0.3: (0.8, 0.1), 0.5: (0.97, 0.94)}, "no run has learned the style"),
    ],
)
def test_the_sentence_says_what_was_learned_and_what_can_be_told_apart(tmp_path, rates, words):
    board = board_of(tmp_path, rates)
    assert sentence(board) == words
    assert words in checked(compare_html(board))


def test_many_settings_are_counted(tmp_path):
    board = board_of(tmp_path, {beta / 10: (1.0, 0.0) for beta in range(7)})
    assert sentence(board).endswith("beta: 0, 0.1, 0.2 and 4 others cannot be told apart")


def test_runs_that_have_not_learned_are_never_number_one_or_bold(tmp_path):
    board = board_of(tmp_path, {0.3: (0.97, 0.94), 1.0: (0.9, 0.9)})
    assert board.best is None and [entry.rank for entry in board.entries] == [None, None]
    assert "class=best" not in compare_html(board) and {row["verdict"] for row in leaderboard_rows(board)} == {"not_learned"}
    mixed = board_of(tmp_path / "mixed", {0.3: (0.97, 0.94), 1.0: (0.9, 0.0)})
    assert [(entry.settings["loss.beta"], entry.rank) for entry in mixed.entries] == [(1.0, 1), (0.3, None)]
    assert mixed.entries[1].p_corrected < 0.001 and compare_html(mixed).count("class=best") == 1


def test_too_few_requests_are_no_reason_to_call_one_best(tmp_path):
    board = board_of(tmp_path, {0.3: (1.0, 0.0), 1.0: (0.9, 0.0)}, requests=2)
    assert sentence(board) == "no run is known to have learned the style"
    assert board.entries[0].rank == 1 and board.best is None and "class=best" not in compare_html(board)


def test_a_failed_run_is_not_ranked_by_a_summary_that_it_left(tmp_path):
    write_run(tmp_path / "0", config={"loss": {"beta": 0.1}})
    left = write_run(tmp_path / "1", config={"loss": {"beta": 0.2}}, after=(1.0, 0.0))
    (left / "run.json").write_text('{"status": "failed", "reason": "no space", "started": "2026-11-22T10:00:01+00:00"}')
    board = leaderboard(read_runs([tmp_path]))
    assert board.best.settings == {"loss.beta": 0.1} and board.entries[1].margin is None


def test_nothing_to_compare(tmp_path):
    write_run(tmp_path / "0", status="failed")
    assert sentence(leaderboard(read_runs([tmp_path]))) == "no run is known to have learned the style"
