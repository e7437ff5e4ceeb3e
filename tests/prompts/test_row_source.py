"""Rows read whole: the order of epochs, references, and the notes on them."""

from itertools import pairwise
from types import SimpleNamespace

from gold_style.prompts.jsonl import build
from gold_style.prompts.shuffle import permutation
from tests.helpers.prompt_settings import row, rows, settings, write
from tests.helpers.row_files import GOOD, NUM_GOOD, source


def test_epochs_are_permutations_and_pure_functions_of_seed_and_number(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    first, again = source(path), source(path)
    n = first.num_rows
    epochs = [[first[epoch * n + place].row for place in range(n)] for epoch in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs) and len(set(epochs[0])) == n
    assert all(a != b for a, b in pairwise(epochs))
    numbers = list(permutation(3 * n, "any order"))
    assert [again[number] for number in numbers] == [first[number] for number in numbers]
    every = [source(path, seed=seed, eval_samples=0, selection_samples=0) for seed in (0, 1)]
    assert [every[0][number].row for number in range(NUM_GOOD)] != [every[1][number].row for number in range(NUM_GOOD)]


def test_references_are_there_only_if_every_training_row_has_one(tmp_path):
    answered = rows(20, answers=True)
    assert source(write(tmp_path / "a.jsonl", answered)).has_references
    assert not source(write(tmp_path / "b.jsonl", [*answered, row("대답 없는 요청")]), eval_samples=0).has_references


def test_a_source_needs_of_the_pack_only_tags_and_untagged(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    found = build(settings(path=str(path)), SimpleNamespace(tags=("chosun", "none"), untagged="none"))
    assert found.fingerprint == source(path).fingerprint


def test_duplicates_are_kept_and_reported(tmp_path):
    path = write(tmp_path / "a.jsonl", [*GOOD, GOOD[3], {**GOOD[3], "topic": "x"}])
    found = source(path, eval_samples=0, selection_samples=0)
    assert found.num_rows == NUM_GOOD + 2
    assert found.notes[1:] == [
        f"prompts.path={path}: 2 duplicate rows, kept, so that each counts again; the first: {path}:41 repeats {path}:4"
    ]


def test_a_very_large_summary_is_noted(tmp_path):
    path = write(tmp_path / "a.jsonl", rows(5100))
    assert source(path).notes[1:] == [
        f"prompts.path={path}: a tenth of the rows, 1020 requests, is asked under every tag; see prompts.eval_samples"
    ]
    assert source(path, eval_samples=1020).notes == [f"prompts.path={path}: 10200 rows, ChatML (messages), tag in the text"]


def test_missing_styles_and_untagged_rows_are_noted(tmp_path):
    path = write(tmp_path / "a.jsonl", [row(f"요청 {number}") for number in range(10)])
    notes = source(path, eval_samples=2, selection_samples=0).notes
    assert notes == [
        f"prompts.path={path}: 10 rows, ChatML (messages), 10 without a tag (they follow styles.untagged=none)",
        f"prompts.path={path}: no training row asks for <style:chosun>, so it is not learned",
    ]


def test_what_was_understood_is_said_in_one_line(tmp_path):
    turns = [{"from": "human", "value": "요청"}]
    shapes = [{"conversations": turns, "style": "chosun"}] * 3 + [{"prompt": "요청 둘", "style": None}]
    path = write(tmp_path / "a.jsonl", shapes)
    note = "4 rows, 3 of ShareGPT (conversations), 1 of prompt/completion (prompt), style in the column style, 1 without a tag"
    assert source(path, style_column="style").notes[0].startswith(f"prompts.path={path}: {note} (they follow")
