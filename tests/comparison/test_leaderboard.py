"""Varied settings, groups, ranks, intervals and tests."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from gold_style.comparison.leaderboard import interval_over_seeds, leaderboard, short_names, value_text, varied_settings
from gold_style.comparison.page import compare_html
from gold_style.comparison.records import RunRecord, read_runs
from gold_style.measure.samples import sample_rows
from gold_style.runs.files import write_json, write_json_lines
from tests.helpers.pages import checked
from tests.helpers.run_files import answer, write_run


def made_run(number: int = 0, seed: int = 0, command: str = "", **settings) -> RunRecord:
    """A run without files."""
    state = {"command": command}
    return RunRecord(Path(f"/r/{number}"), "completed", None, state, {"seed": seed, **settings}, {}, [])


def test_varied_settings_are_found_without_their_consequences():
    runs = [
        made_run(0, 0, **{"model.name": "tiny", "model.teacher": "a", "model.recipe.beta": 0.3, "loss.beta": 0.3, "output_dir": "x"}),
        made_run(1, 1, **{"model.name": "big", "model.teacher": "b", "model.recipe.beta": 0.5, "loss.beta": 0.5, "output_dir": "y"}),
        made_run(2, 1, **{"model.name": "big", "model.teacher": "b", "model.recipe.beta": 0.5, "loss.beta": 1.0, "output_dir": "z"}),
    ]
    assert varied_settings(runs) == ["model.name", "loss.beta"]
    assert varied_settings(runs[1:]) == ["loss.beta"]
    assert varied_settings(runs[:1]) == []


def test_how_a_run_was_evaluated_is_no_setting_to_compare():
    runs = [made_run(n, n, **{"evaluation.untagged": bool(n), "evaluation.misspelt": 32 * n, "loss.beta": 0.3}) for n in (0, 1)]
    assert varied_settings(runs) == []


def test_settings_of_the_command_line_are_kept_even_in_lockstep():
    command = "train.py -m loss.beta=0,1 +train.learning_rate=1,2"
    runs = [made_run(n, 0, command, **{"loss.beta": n, "train.learning_rate": n + 1, "train.warmup_steps": n}) for n in (0, 1)]
    assert varied_settings(runs) == ["loss.beta", "train.learning_rate"]


def test_equal_numbers_are_one_value():
    runs = [made_run(0, 0, **{"loss.lmbda": 1}), made_run(1, 1, **{"loss.lmbda": 1.0}), made_run(2, 2, **{"loss.lmbda": 0.5})]
    board = leaderboard(runs)
    assert board.varied == ["loss.lmbda"] and sorted(len(entry.runs) for entry in board.entries) == [1, 2]
    assert (value_text(1.0), value_text(0.3), value_text(1e-5), value_text(None), value_text([1])) == ("1", "0.3", "1e-05", "null", "[1]")


def test_names_are_short_but_tell_apart():
    assert short_names(["loss.beta", "model.name", "prompts.name", "a.x.k", "b.x.k"]) == ["beta", "model", "prompts", "a.x.k", "b.x.k"]


def test_groups_ranks_and_failures(sweep):
    board = leaderboard(read_runs([sweep]))
    assert board.varied == ["loss.beta", "loss.lmbda"] and len(board.runs) == 8 and len(board.entries) == 4
    margins = [entry.margin for entry in board.entries]
    assert margins == sorted(margins, reverse=True) and [entry.rank for entry in board.entries] == [1, 2, 3, 4]
    best = board.best
    assert best.settings == {"loss.beta": 0.3, "loss.lmbda": 0.0} and len(best.scored) == 2
    assert best.margin == pytest.approx(np.mean([run.after["margin"] for run in best.runs]))
    assert {(run.status, run.reason) for run in board.failed} == {
        ("failed", "NonFinite: loss is nan at step 31"),
        ("interrupted", "its process ended without a word (killed, or the machine went down)"),
    }
    low, high = best.interval
    assert low < best.margin < high
    worst = board.entries[-1]
    assert best.p_corrected is None and worst.p_corrected < 0.01 <= 1 and worst.p_value <= worst.p_corrected


def test_interval_over_seeds_grows_with_their_disagreement():
    def hits(rate: float) -> dict:
        return {f"r{n}": (n < rate * 64, False) for n in range(64)}

    agree, disagree = interval_over_seeds([hits(0.7)] * 3), interval_over_seeds([hits(rate) for rate in (0.4, 0.7, 1.0)])
    assert disagree[1] - disagree[0] > 1.5 * (agree[1] - agree[0])
    one = interval_over_seeds([hits(1.0)])
    assert one[0] < 0.96 and one[1] == 1.0  # not a point
    assert interval_over_seeds([]) is None


def test_equal_entries_are_not_called_different(tmp_path):
    for number, beta in enumerate((0.1, 0.2, 0.3)):
        write_run(tmp_path / str(number), config={"loss": {"beta": beta}}, after=(0.9, 0.05))
    board = leaderboard(read_runs([tmp_path]))
    assert [entry.p_corrected for entry in board.entries] == [None, 1.0, 1.0]


def test_the_best_of_many_equal_settings_is_rarely_called_better():
    """The best is chosen by the answers that it is tested on: the choice must not make it significant."""
    rng = np.random.default_rng(3)
    called = 0
    for _ in range(100):
        chance = rng.uniform(0.1, 0.9, 48)
        runs = []
        for setting, seed in itertools.product(range(12), range(2)):
            hits = rng.random(48) < chance
            settings, summary = {"x": setting, "seed": seed}, {"after": {"margin": hits.mean()}}
            run = RunRecord(Path(f"/{setting}/{seed}"), "completed", None, {}, settings, summary, [])
            vars(run)["hits"] = {str(n): (bool(hit), False) for n, hit in enumerate(hits)}
            runs.append(run)
        board = leaderboard(runs)
        called += any(entry.p_corrected is not None and entry.p_corrected < 0.05 for entry in board.entries)
    assert called <= 5


def test_runs_without_common_requests_are_not_tested(tmp_path):
    write_run(tmp_path / "0", config={"loss": {"beta": 0.1}})
    other = write_run(tmp_path / "1", config={"loss": {"beta": 0.2}}, after=(0.5, 0.1))
    made = [answer(n + 1000, tag, "modern") for n in range(20) for tag in ("chosun", "none")]
    write_json_lines(other / "samples.jsonl", sample_rows({"after": made}))
    assert leaderboard(read_runs([tmp_path])).entries[1].p_corrected is None


def test_contract_files_alone_are_enough(tmp_path):
    """Without details and with the bare lines that DESIGN promises, everything is still computed."""
    for number, beta in enumerate((0.1, 0.2)):
        run = write_run(tmp_path / str(number), config={"loss": {"beta": beta}}, after=(0.9 - number / 2, 0.0))
        summary = json.loads((run / "summary.json").read_text())
        write_json(run / "summary.json", {key: value for key, value in summary.items() if key != "details"})
        keys = ("id", "style", "request", "before", "after", "teacher", "verdict_before", "verdict_after", "verdict_teacher")
        rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
        write_json_lines(run / "samples.jsonl", [{key: row[key] for key in keys} for row in rows])
    board = leaderboard(read_runs([tmp_path]))
    assert board.best.interval is not None and board.entries[1].p_corrected < 0.001
    checked(compare_html(board))
