"""The studies from the lines that they keep: order of the runs, what is missing, the words of the page. No run but one of two steps."""

import json
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "benchmarks"))

import study  # noqa: E402
import study_losses as losses  # noqa: E402
from cells import REAL_RATES, RESULTS, ROOT, SHORT, TINY_RATES, Cell, Cells, run_all  # noqa: E402

from gold_style.config.yaml_file import read_mapping  # noqa: E402

SURE, BETTER, WORSE = "contrast 0.5", 0.9, 0.1


def add(cells: Cells, cell: Cell, margin: float | None, **numbers) -> None:
    """A run of 64 requests: so many toggle as the margin says, others are plain under both tags."""
    hits = {f"{request:08x}": [request < 64 * (margin or 0), False] for request in range(64)}
    row = {**cell._asdict(), "overrides": list(cell.overrides), "margin": margin, "leakage": 0.0, "untagged": 0.0, "content": 1.0}
    row |= {
        "degenerate": 0.0,
        "bits_percent": 2.0 + (margin or 0),
        "cpu_s": 40.0,
        "teacher": 1.0,
        "date": "2026-11-28",
        "machine": "some CPU",
    }
    cells.results.append(row | {"commit": "abc", "hits": hits} | numbers)


def filled(found: losses.Study, margin=lambda name: 0.5) -> losses.Study:
    """A study whose runs reach what `margin` says, a bit less at other rates than the pair's, a bit more or less with another seed."""
    for cells, cell in found.plan():
        if cells.known(cell) is None:
            value = margin(cell.variant) - 0.1 * (cell.rate != 1) + (cell.seed - 1) / 32
            add(cells, cell, value, cpu_s=60.0 if cell.variant == SURE else 40.0)
    return found


@pytest.fixture
def empty(tmp_path) -> losses.Study:
    return losses.Study(tmp_path, tmp_path)


def test_the_most_telling_runs_come_first_and_tiny_ones_are_at_most_a_hundred(empty):
    first = [cell for _, cell in empty.plan()]
    assert [(cell.variant, cell.seed) for cell in first[:3]] == [("jsd", seed) for seed in losses.SEEDS]
    one_of_each = dict.fromkeys(cell.variant for cell in first[3 : 4 + len(losses.LOSSES | losses.CONTROLS)])
    assert list(one_of_each) == [*losses.LOSSES, *losses.CONTROLS]
    assert all(cells is empty.short for cells, _ in empty.plan()), "the later parts are chosen by the first"
    for rate in losses.RATES:  # the dearest case: another rate than the pair's is the best of every loss
        for name in losses.LOSSES:
            add(empty.short, empty.cell(name, empty.short, rate), rate / 4)
    filled(empty)
    assert len(empty.short.results) + len(empty.long.results) <= 100
    assert {row["variant"] for row in empty.real.results} >= {"jsd"} and len(empty.real.results) == 1 + losses.NUM_REAL
    assert len(empty.long.results) == len(losses.SEEDS) * (1 + losses.NUM_LONG)


def test_the_page_says_what_to_use_at_what_cost_and_over_which_floor(empty):
    margins = {SURE: BETTER, "anchored 0.5": WORSE, "control: no teacher": 0.2, **dict.fromkeys(list(losses.CONTROLS)[:2], 0.0625)}
    text = filled(empty, lambda name: margins.get(name, 0.5)).text()
    assert f"**Use {SURE}.** It is better than jsd for other requests and other seeds, and costs +2.9 against +2.5 %" in text
    assert "- Worse than jsd: anchored 0.5 (-0.40 [" in text and "Not told apart from jsd: topk_tail 8 (+0.00" in text
    assert "The floor: the best control (no teacher) reaches 0.20 [" in text and "what jsd has above that: +0.30" in text
    assert f"surely different from it over seeds: {SURE} (+0.4), anchored 0.5 (-0.4)" in text
    assert f"the dearest, {SURE}, takes 1.50 times" in text and "Missing: nothing." in text
    assert (
        f"At 160 steps. Better than jsd: {SURE} (+0.4" in text and "On SmolLM2, one seed, intervals over requests only: jsd 0.47 [" in text
    )
    assert "## SmolLM2-135M-Instruct" in text and "Not run yet" not in text


def test_jsd_stays_where_nothing_is_sure_and_a_cut_study_says_what_is_missing(empty):
    for seed in losses.SEEDS:
        add(empty.short, empty.cell("jsd", empty.short, seed=seed), 0.5 + seed / 64)
    text = empty.text()
    assert "Only jsd, the default, has been run." in text
    assert "Missing: 5 of topk_tail 8, 5 of topk_tail 32, " in text and "3 of control: no teacher, 2 of jsd; then" in text
    assert "; then the best 3 at 160 steps and the best 2 on SmolLM2" in text and text.count("Not run yet.") == 3
    add(empty.short, empty.cell(SURE, empty.short), 0.6)
    text = empty.text()
    assert "**Use jsd, the default.** None of 1 others is surely better; the highest mean is that of contrast 0.5 (+0.08" in text


def test_a_loss_is_shown_at_its_best_rate_once_its_seeds_are_known(empty):
    name = "contrast 1"
    for rate, margin in zip(losses.RATES, (0.25, 0.5, 0.75), strict=True):
        add(empty.short, empty.cell(name, empty.short, rate), margin)
    for seed in losses.SEEDS[1:]:
        add(empty.short, empty.cell(name, empty.short, seed=seed), 0.5)
    assert empty.best_rate(name) == 2.0 and empty.shown_rate(name) == 1.0 and empty.tried(name) == "0.25 0.50 0.75"
    for seed in losses.SEEDS[1:]:
        add(empty.short, empty.cell(name, empty.short, 2.0, seed), 0.75)
    assert empty.shown_rate(name) == 2.0


def test_a_run_that_diverged_is_shown_and_not_the_best(empty):
    for seed, margin in zip(losses.SEEDS, (0.5, None, 0.25), strict=True):
        add(empty.short, empty.cell("jsd", empty.short, seed=seed), margin)
    add(empty.short, empty.cell("jsd", empty.short, 2.0), None)
    assert empty.best_rate("jsd") == 1.0 and empty.tried("jsd") == "– 0.50 –"
    assert "| 0.50 – 0.25 |" in empty.text()


@pytest.mark.slow
def test_a_run_is_kept_with_its_numbers_and_one_that_is_refused_is_left_out(tmp_path, capsys):
    given = (*SHORT, "train.max_steps=2", "prompts.eval_samples=4", "prompts.selection_samples=2", "evaluation.untagged=false")
    given = [word for word in given if word != "train.max_steps=80" and word != "prompts.eval_samples=64"]
    cells = Cells(given, TINY_RATES, tmp_path / "runs", tmp_path / "cells.jsonl", minutes=10)
    plan = [(cells, Cell("unknown", ("loss.no_such_key=1",))), (cells, Cell("plain")), (cells, Cell("plain", rate=2.0))]
    run_all(plan[:2])
    assert cells.refused == [plan[0][1]] and "unknown: refused" in capsys.readouterr().out
    again = Cells(given, TINY_RATES, tmp_path / "runs", tmp_path / "cells.jsonl")
    run_all(plan)  # no time: only what is known
    assert again.known(plan[1][1])["teacher"] > 0.5 and again.known(plan[1][1])["cpu_s"] > 1 and len(again.results) == 1
    assert again.known(plan[2][1]) is None and len(again.known(plan[1][1])["hits"]) == 4


def test_rates_are_those_of_the_pairs_and_the_default_is_that_of_today():
    recipe = read_mapping(ROOT / "conf/model/tiny.yaml")["recipe"]
    assert TINY_RATES == {"train.learning_rate": recipe["learning_rate"], "model.recipe.muon_learning_rate": recipe["muon_learning_rate"]}
    assert REAL_RATES == {"train.learning_rate": read_mapping(ROOT / "conf/model/smollm2.yaml")["recipe"]["learning_rate"]}
    defaults = read_mapping(ROOT / "conf/config.yaml")["model"]["recipe"]
    assert study.DEFAULT == f"beta {recipe.get('beta', defaults['beta'])}, lmbda {recipe.get('lmbda', defaults['lmbda']):g}"


def test_the_grid_says_what_is_better_than_the_default(tmp_path):
    cells = Cells(study.GIVEN, TINY_RATES, tmp_path, tmp_path / "none.jsonl")
    for _, cell in study.plan(cells):
        if cells.known(cell) is None and not (cell.variant.startswith("beta 1") and cell.seed == 2):
            add(cells, cell, (0.1 if cell.variant.startswith("beta 1") else 0.6) + cell.seed / 32)
    text, figure = study.text_of(cells)
    assert "- Worse than the default: beta 1, lmbda 0 (-0.5" in text and "Missing: 1 of beta 1, lmbda 0, 1 of beta 1, lmbda 0.5" in text
    assert "- Not told apart from the default: " in text and "each request under both tags (+0.00" in text
    assert figure.startswith("<svg") and ">0.12<" in figure


@pytest.mark.parametrize("page", ["study_beta_lmbda", "study_losses"])
def test_the_pages_are_those_of_the_committed_results(page, tmp_path):
    if page == "study_losses":
        text = losses.Study(tmp_path, RESULTS).text()
    else:
        text, figure = study.text_of(Cells(study.GIVEN, TINY_RATES, tmp_path, RESULTS / f"{page}.jsonl"))
        assert figure == (ROOT / "docs/study/heatmap.svg").read_text(encoding="utf-8")
    assert text in (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")


def test_every_run_is_kept_once_with_machine_commit_and_date():
    for file in RESULTS.glob("study_*.jsonl"):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        cells = [(row["variant"], row["rate"], row["seed"]) for row in rows]
        assert len(set(cells)) == len(cells) and all(row["machine"] and row["commit"] and row["date"] for row in rows)
