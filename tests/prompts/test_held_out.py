"""Requests held out: in no training row under any tag, chosen by seed and text."""

import pytest

from gold_style.prompts.held_out import request_key
from tests.helpers.prompt_settings import row, write
from tests.helpers.row_files import GOOD, refusal, source, training


@pytest.mark.parametrize("eval_samples, selection_samples", [(None, 32), (5, 2), (19, 0), (0, 32), (0, 0)])
def test_held_out_requests_are_in_no_training_row_under_any_tag(tmp_path, eval_samples, selection_samples):
    messy = [row(f"<style:none>  {number}번   요청이오.") for number in range(20)]  # the same requests, spaced otherwise
    path = write(tmp_path / "a.jsonl", [*GOOD, *messy])
    found = source(path, eval_samples=eval_samples, selection_samples=selection_samples)
    evaluation, selection = found.evaluation(), found.selection()
    assert len(evaluation) == (6 if eval_samples is None else eval_samples)  # a tenth of 60 rows
    assert len(selection) == min(selection_samples, 2, 19 - len(evaluation))  # at most a tenth of 20 requests
    keys = [{request_key(p) for p in part} for part in (evaluation, selection, training(found))]
    assert len(keys[0]) == len(evaluation) and len(keys[1]) == len(selection), "one per distinct request"
    assert not keys[0] & keys[1] and not (keys[0] | keys[1]) & keys[2]
    assert len(set.union(*keys)) == 20 and found.num_rows == 3 * (20 - len(keys[0]) - len(keys[1]))
    assert len(found.requests()) == 20


def test_the_choice_follows_the_seed_and_not_the_order_of_rows(tmp_path):
    forth, back = write(tmp_path / "a.jsonl", GOOD), write(tmp_path / "b.jsonl", GOOD[::-1])
    requests = [[p.request for p in source(path, seed=seed).evaluation()] for path, seed in ((forth, 0), (back, 0), (forth, 1))]
    assert requests[0] == requests[1] != requests[2]


def test_more_held_out_than_there_is_is_refused(tmp_path):
    message = refusal(write(tmp_path / "a.jsonl", GOOD), eval_samples=20)
    assert message.startswith("prompts.eval_samples=20: prompts.path=") and "20 different requests in 40 rows; allowed: 0 to 19" in message


def test_a_file_with_a_single_request_trains_without_evaluation(tmp_path):
    found = source(write(tmp_path / "a.jsonl", GOOD[:2]))
    assert (found.num_rows, found.evaluation(), found.selection()) == (2, [], [])
