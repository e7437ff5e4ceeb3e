"""Between steps: live evaluation, best checkpoint, early stop, the end of a warm start, a stop; and a resume."""

import json
import math
from functools import cache

import pytest
from accelerate import Accelerator

from gold_style.distil.callbacks import LiveEvaluation, StopOnSignal, WarmStart
from gold_style.distil.openings import Opening
from gold_style.engine.teacher import Teacher
from gold_style.job.training import keep, least_opening
from tests.helpers import run_settings, toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def run(directory, callback, *, resume: int | None = None, training=None, **changes):
    """Six steps of four rows with one callback, from the beginning or from a checkpoint of `directory`."""
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), rows_per_window=4, **changes)
    arguments = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, **(training or {})}
    trained = toy_runs.trainer(toys.model(VOCAB), maker, directory, callbacks=[callback], **arguments)
    callback.trainer = trained
    trained.train(resume_from_checkpoint=str(directory / f"checkpoint-{resume}") if resume else None)
    return trained


def live(margins: dict[int, float | None], **changes) -> LiveEvaluation:
    """A live evaluation every step whose margins are given by step."""
    settings = {"every_steps": 1, "keep_best": True, "stop_margin": None, "stop_patience": 2, **changes}
    return LiveEvaluation(measure=lambda trainer: {"style/margin": margins.get(trainer.state.global_step)}, **settings)


def checkpoints(directory) -> set[int]:
    return {int(path.name.split("-")[1]) for path in directory.glob("checkpoint-*")}


def test_the_best_checkpoint_is_written_and_kept(tmp_path):
    trained = run(tmp_path, callback := live({1: 0.1, 3: 0.8, 5: 0.4}), save_total_limit=1)
    assert (callback.best_step, callback.best_margin) == (3, 0.8)
    assert checkpoints(tmp_path) == {3, 6}
    assert [row.get("style/margin") for row in trained.run.rows] == [0.1, None, 0.8, None, 0.4, None]


def test_the_later_of_two_equal_margins_wins(tmp_path):
    run(tmp_path, callback := live({2: 0.5, 4: 0.5}))
    assert callback.best_step == 4


def test_the_best_checkpoint_is_kept_across_a_resume(tmp_path):
    run(tmp_path, live({3: 0.8}), save_total_limit=1, training={"max_steps": 4})
    assert checkpoints(tmp_path) == {3, 4}
    run(tmp_path, callback := live({5: 0.4}), save_total_limit=1, resume=4)
    assert (callback.best_step, callback.best_margin) == (3, 0.8)
    assert checkpoints(tmp_path) == {3, 6}


def test_a_margin_reached_often_enough_ends_the_run(tmp_path):
    """Twice in a row; a drop between begins the count anew; what counts is evaluations, not steps."""
    margins = {1: 0.9, 2: 0.2, 3: 0.95, 4: 0.9, 5: 0.9}
    trained = run(tmp_path / "a", live(margins, stop_margin=0.9))
    assert trained.state.global_step == 4
    trained = run(tmp_path / "b", live(margins, stop_margin=0.9, every_steps=2))
    assert trained.state.global_step == 6


def test_evaluation_can_be_off(tmp_path):
    trained = run(tmp_path, callback := live({1: 0.9}, every_steps=0))
    assert callback.best_step is None and not any("style/margin" in row for row in trained.run.rows)


@pytest.mark.parametrize(("probabilities", "least", "end"), [([0.2, 0.6], 0, 10), ([0.6], 0, 5), ([0.6], 7, 10), ([0.1, 0.1], 0, None)])
def test_a_warm_start_ends_where_the_student_knows_the_opening(probabilities, least, end, tmp_path):
    """Looked at every five steps, not before `warm_start_steps`; on-policy rows from the next step on."""
    measured = iter(probabilities)
    callback = WarmStart(measure=lambda trainer: next(measured), until=0.5)
    trained = run(
        tmp_path, callback, lmbda=1.0, warm_start_until=0.5, warm_start_steps=least, training={"max_steps": 12, "save_strategy": "no"}
    )
    on_policy = [row["train/on_policy"] for row in trained.run.rows]
    assert callback.end == end
    assert on_policy == [0.0] * (end or 12) + [1.0] * (12 - (end or 12))


def test_the_end_of_a_warm_start_survives_a_resume(tmp_path):
    saving = {"max_steps": 6, "save_steps": 6}
    first = WarmStart(measure=lambda trainer: 0.9, until=0.5)
    run(tmp_path, first, lmbda=1.0, warm_start_until=0.5, training=saving)
    again = WarmStart(measure=lambda trainer: pytest.fail("measured again"), until=0.5)
    trained = run(tmp_path, again, lmbda=1.0, warm_start_until=0.5, resume=6, training={**saving, "max_steps": 8})
    assert [row["train/on_policy"] for row in trained.run.rows] == [1.0, 1.0] and again.end == 5


def test_a_signal_saves_and_ends_the_run_after_its_step(tmp_path):
    callback = StopOnSignal(lambda: callback.trainer.state.global_step == 3)
    trained = run(tmp_path, callback, training={"save_steps": 100})
    assert trained.state.global_step == 3 and checkpoints(tmp_path) == {3}


def test_totals_go_on_after_a_resume(tmp_path):
    whole = run(tmp_path, live({}))
    resumed = run(tmp_path, live({}), resume=4)
    assert [row["perf/tokens"] for row in resumed.run.rows] == [row["perf/tokens"] for row in whole.run.rows[4:]]


def test_a_run_that_was_stopped_early_has_no_step_left_when_it_is_resumed(tmp_path):
    """Killed after its last step, in its final evaluation, say: going on would train past the stop."""
    margins = {3: 0.95, 4: 0.9}
    whole = run(tmp_path, live(margins, stop_margin=0.9))
    resumed = run(tmp_path, live(margins, stop_margin=0.9), resume=4)
    assert resumed.state.global_step == whole.state.global_step == 4 and resumed.run.rows == []
    assert toy_runs.weights(resumed.model).equal(toy_runs.weights(whole.model))


def test_a_row_that_spans_a_checkpoint_is_whole(tmp_path):
    """Rows every three steps, checkpoints every two: what was measured before the cut is in the row after it."""
    training = {"logging_steps": 3, "save_steps": 2}
    whole = run(tmp_path, live({4: 0.3}, every_steps=0), lmbda=0.5, seq_kd=True, training=training)
    resumed = run(tmp_path, live({4: 0.3}, every_steps=0), lmbda=0.5, seq_kd=True, training=training, resume=4)
    rows = [{key: value for key, value in row.items() if not key.endswith("_s")} for row in (whole.run.rows[-1], resumed.run.rows[-1])]
    assert rows[0] == rows[1] and [row["step"] for row in resumed.run.rows] == [6]
    stored = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())["stateful_callbacks"]["Totals"]["attributes"]
    assert resumed.run.rows[-1]["perf/rollout_s"] > 0
    assert resumed.totals.train_seconds > stored["processes"][0]["train_seconds"] > 0


def test_a_best_checkpoint_that_was_damaged_is_not_taken(tmp_path):
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer), seed=1), tokenizer)
    trained = toy_runs.train(tokenizer, teacher, tmp_path / "checkpoints", training={"save_strategy": "steps", "save_steps": 1})
    live = LiveEvaluation(measure=None, every_steps=1, keep_best=True, stop_margin=None, stop_patience=1)
    live.best_step, live.best_margin = 2, 0.5
    settings = run_settings.compose(tmp_path / "run", "evaluation.keep=best")
    assert keep(settings, trained, live)["step"] == 2
    weights = tmp_path / "checkpoints/checkpoint-2/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="evaluation.keep=best: .*checkpoint-2 cannot be taken"):
        keep(settings, trained, live)


def test_all_processes_end_the_warm_start_by_the_least_opening():
    accelerator = Accelerator(cpu=True)
    found = [Opening("chosun", 0.25, 0.5, 1.0), Opening("none", 0.5, 0.5, 1.0)]
    assert least_opening(found, accelerator) == 0.25
    assert math.isnan(least_opening([*found, Opening("third", math.nan, 0.5, 1.0)], accelerator))
