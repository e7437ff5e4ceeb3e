"""What a run loads and reads for its loss: the teacher without its context, and the controls' other contexts."""

import pytest
import torch

from gold_style.job.build import load_student
from gold_style.job.inputs import Inputs
from tests.helpers.toy_runs import weights
from tests.job.test_own_teacher import built, composed, trained, untimed

PAIR = ("loss=jsd", "train.max_steps=2", "evaluation.every_steps=0", "train.learning_rate=1e-2", "train.warmup_steps=0")


@pytest.mark.parametrize("loss", ["loss=contrast loss.contrast_strength=0", "loss=topk_tail loss.tail_k=99999"])
def test_the_limits_are_jsd_bit_for_bit_and_read_no_more(loss, tmp_path):
    plain, limit = trained(tmp_path / "jsd", *PAIR), trained(tmp_path / "limit", *PAIR, *loss.split())
    assert untimed(plain.run.rows) == untimed(limit.run.rows) and torch.equal(weights(plain.model), weights(limit.model))
    assert not limit.row_maker.objective.readings


@pytest.mark.parametrize("loss", ["contrast", "topk_tail"])
def test_a_resumed_run_goes_on_bit_for_bit(loss, tmp_path):
    saving = (*PAIR, f"loss={loss}", "train.max_steps=3", "train.save_steps=1", "train.gradient_checkpointing=true")
    whole = trained(tmp_path / "whole", *saving)
    resumed = built(tmp_path / "resumed", *saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoints" / "checkpoint-1"))
    assert untimed(resumed.run.rows) == untimed(whole.run.rows[1:]) and torch.equal(weights(resumed.model), weights(whole.model))


def test_contrast_trains_towards_another_teacher(tmp_path):
    plain, contrast = trained(tmp_path / "jsd", *PAIR), trained(tmp_path / "contrast", *PAIR, "loss=contrast")
    assert contrast.row_maker.objective.readings == ["bare"]
    assert contrast.run.rows[0]["train/loss"] > plain.run.rows[0]["train/loss"] > 0


@pytest.mark.parametrize("control, context", [("no_prompt", "none"), ("swapped", "swapped"), ("no_teacher", "full")])
def test_a_control_trains_with_the_context_that_it_names_and_is_measured_with_the_teacher_s_own(control, context, tmp_path):
    size = ("train.max_steps=2", "train.per_device_train_batch_size=4", "train.gradient_accumulation_steps=1", "evaluation.every_steps=0")
    overrides = (f"experiment=control_{control}", *size, "hardware=cpu", "train.max_completion_length=24")
    trainer = trained(tmp_path, *overrides)
    settings = composed(*overrides)
    assert settings.prompts.teacher_context == context and settings.tracker.tags == [f"control_{control}"]
    chat = trainer.row_maker.chat
    for row in trainer.window:
        assert row.teacher_prompt == chat.teacher_ids(row.prompt, context) and row.on_policy
        assert (row.teacher_prompt == chat.teacher_ids(row.prompt)) == (context == "full")
    exam = Inputs.load(settings).exam([row.prompt for row in trainer.window])
    assert exam.chat.teacher_ids(trainer.window[0].prompt) == chat.teacher_ids(trainer.window[0].prompt, "full")
    assert len(trainer.run.rows) == 2 and not torch.equal(weights(trainer.model), weights(load_student(settings)))
    assert (trainer.run.rows[0]["train/loss"] < 0) == (control == "no_teacher")
