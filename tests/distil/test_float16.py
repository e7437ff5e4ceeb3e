"""float16: the loss is scaled through accelerate's scaler, steps that overflow are passed over and counted, a resumed run keeps the scale.

A CPU has no such run (accelerate makes no scaler there), so the scaler is put where accelerate puts it on a GPU.
"""

from functools import cache

import pytest
import torch
from accelerate.state import AcceleratorState

from gold_style.distil.nonfinite import NonFinite
from gold_style.engine.teacher import Teacher
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


@pytest.fixture
def float16(monkeypatch):
    """accelerate's state as a GPU has it under fp16."""
    yield lambda trainer: monkeypatch.setitem(trainer.accelerator.state._shared_state, "_mixed_precision", "fp16")
    AcceleratorState._reset_state(reset_partial_state=True)


def scaled(directory, float16, scale: float, *, backoff: float = 0.5, steps: int = 4, resume=None, optim="adamw_torch", **changes):
    """A run of LoRA in float16 on the CPU whose loss is multiplied by `scale`."""
    from peft import LoraConfig

    torch.manual_seed(0)
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), rows_per_microbatch=4, **changes)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    arguments = {"max_steps": steps, "max_grad_norm": 1.0, "optim": optim, "save_strategy": "steps", "save_steps": 2}
    trainer = toy_runs.trainer(toys.model(VOCAB, dtype=torch.float16), maker, directory, peft_config=lora, **arguments)
    float16(trainer)
    trainer.accelerator.native_amp = True
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale, backoff_factor=backoff, growth_interval=10**6)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def adapter(trainer) -> torch.Tensor:
    return toy_runs.flat({name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad})


def test_the_scale_is_no_part_of_the_step(tmp_path, float16):
    plain, large = (adapter(scaled(tmp_path / str(scale), float16, scale, steps=1, optim="sgd")) for scale in (2.0**6, 2.0**12))
    start = adapter(scaled(tmp_path / "start", float16, 2.0**100, backoff=2.0**-1, steps=1))
    assert toy_runs.distance(large - start, plain - start) < 0.05


def test_a_step_that_overflows_is_passed_over_and_counted(tmp_path, float16):
    trainer = scaled(tmp_path, float16, 2.0**60, backoff=2.0**-50)
    assert trainer.run.rows[0]["train/skipped_steps"] == 1 and trainer.run.rows[-1]["train/skipped_steps"] == 1
    assert trainer.accelerator.scaler.get_scale() == 2.0**10
    assert torch.isfinite(adapter(trainer)).all()


def test_a_resumed_run_keeps_the_scale_and_ends_with_the_same_weights(tmp_path, float16):
    whole = scaled(tmp_path / "whole", float16, 2.0**60, backoff=2.0**-50)
    resumed = scaled(tmp_path / "resumed", float16, 2.0**16, resume=str(tmp_path / "whole" / "checkpoint-2"))
    assert resumed.accelerator.scaler.get_scale() == 2.0**10 and torch.equal(adapter(resumed), adapter(whole))


def test_a_gradient_that_no_scale_helps_ends_the_run(tmp_path, float16, monkeypatch):
    monkeypatch.setattr(toys, "model", lambda *args, **options: with_infinite_gradients(model(*args, **options)))
    with pytest.raises(NonFinite, match="the gradient norm is nan"):
        scaled(tmp_path, float16, 1.0, steps=4)


model = toys.model


def with_infinite_gradients(built):
    """A model whose first layer hands back gradients that are not numbers."""
    built.model.layers[1].register_full_backward_pre_hook(lambda module, grads: tuple(grad * float("nan") for grad in grads))
    return built
