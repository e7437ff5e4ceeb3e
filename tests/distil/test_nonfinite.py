"""What is not finite ends a run: before it is saved, with the step, the rows and the checkpoint that is left; or the step is skipped."""

from functools import cache

import pytest
import torch
from transformers import TrainerCallback

from gold_style.distil.nonfinite import NonFinite, all_finite
from gold_style.engine.teacher import Teacher
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


class Ruin(TrainerCallback):
    """Writes one NaN into a weight as the optimizer would with a learning rate out of range: just before it takes its step."""

    def __init__(self, step: int):
        self.step = step

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.step:
            model.model.norm.weight.data[3] = float("nan")


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_ruined_weight_ends_the_run_before_it_is_saved(policy, tmp_path):
    """Steps, rows and the checkpoint that is left are named; skipping cannot help, so it is not offered."""
    training = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1}
    with pytest.raises(
        NonFinite, match=r"step 3: 1 of the weights' tensors are not finite, model.norm.weight first; rows of the window: row 8"
    ):
        toy_runs.train(TOKENIZER, teacher(), tmp_path, callbacks=[Ruin(2)], training=training, lmbda=0.0, on_nonfinite=policy)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"]
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.0, rows_per_window=4)
    resumed = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path, **training)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.state.global_step == 4 and toy_runs.weights(resumed.model).isfinite().all()


def test_a_gradient_that_is_not_finite_names_rows_and_checkpoint(tmp_path):
    student = toys.model(VOCAB)
    student.model.norm.weight.register_hook(lambda grad: grad * float("inf") if grad.norm() else grad)
    with pytest.raises(NonFinite, match=r"step 1: the gradient norm is .*; rows of the window: row 0, .* No checkpoint was written yet"):
        toy_runs.train(TOKENIZER, teacher(), tmp_path, student=student, lmbda=0.0)


def test_all_finite_sees_every_element():
    good = [torch.zeros(0), torch.full((3, 2), -1e38), torch.tensor(1.0)]
    assert all_finite(good) and all_finite([])
    for bad in (float("nan"), float("inf"), -float("inf")):
        assert not all_finite([*good, torch.tensor([1.0, bad])])


def test_all_finite_takes_shards_of_which_a_process_has_nothing():
    class Shard:
        def __init__(self, local):
            self.to_local = lambda: local

        def numel(self):
            return 3

    assert all_finite([Shard(torch.zeros(0)), Shard(torch.ones(2))])
    assert not all_finite([Shard(torch.zeros(0)), Shard(torch.tensor([torch.nan]))])


class Poison(TrainerCallback):
    """Step 2 sees a student with a NaN in it; the weights are restored before the optimizer moves them."""

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        self.healthy = model.model.norm.weight.detach().clone()
        if state.global_step == 1:
            model.model.norm.weight.data[0] = float("nan")

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        model.model.norm.weight.data.copy_(self.healthy)


class Weights(TrainerCallback):
    """The weights after every step."""

    def __init__(self):
        self.steps = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.steps.append(toy_runs.weights(model))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(NonFinite, match=r"step 2: the loss is nan; rows of the window: row 4, row 5, row 6, row 7"):
        toy_runs.train(TOKENIZER, teacher(), tmp_path, lmbda=0.0, callbacks=[Poison()])


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    student = toys.model(VOCAB)
    student.model.norm.weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(NonFinite, match="step 1: the gradient norm is"):
        toy_runs.train(TOKENIZER, teacher(), tmp_path, student=student)


def test_an_fp16_loss_scale_that_overflows_is_left_to_the_scaler(tmp_path):
    """Its first steps overflow by design: the scaler passes over them and halves its scale."""
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8))
    trained = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path)
    with pytest.raises(NonFinite):
        trained._get_grad_norm(trained.model, torch.tensor(float("inf")))
    trained.accelerator.scaler = torch.amp.GradScaler("cpu")
    assert trained._get_grad_norm(trained.model, torch.tensor(float("inf"))) == float("inf")


@pytest.mark.parametrize("optimizer", [{}, {"muon_learning_rate": 0.01}], ids=["adamw", "muon"])
def test_a_step_that_is_not_finite_can_be_skipped(optimizer, tmp_path):
    weights = Weights()
    trained = toy_runs.train(TOKENIZER, teacher(), tmp_path, lmbda=0.0, on_nonfinite="skip", callbacks=[Poison(), weights], **optimizer)
    assert torch.equal(weights.steps[0], weights.steps[1]), "the skipped step moved the weights"
    assert not torch.equal(weights.steps[1], weights.steps[2])
    assert weights.steps[-1].isfinite().all()
    assert [row.get("train/skipped_steps") for row in trained.run.rows] == [None, 1, 1, 1]
