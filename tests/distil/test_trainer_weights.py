"""How StyleGOLDTrainer holds weights: precision, memory, checkpoints, the saved student, LoRA."""

import json
from functools import cache

import pytest
import torch
from transformers import TrainerCallback

from gold_style.engine.teacher import Teacher
from gold_style.runs.checkpoints import checkpoint_fault
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def train(directory, **changes):
    """`toy_runs.train` with the toy teacher."""
    return toy_runs.train(TOKENIZER, teacher(), directory, **changes)


# ---- precision and memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [{}, {"muon_learning_rate": 0.01}], ids=["adamw", "muon"])
def test_training_reduces_the_loss(optimizer, tmp_path):
    trained = train(tmp_path, lmbda=0.0, asked=toys.prompts(4), training={"max_steps": 25, "learning_rate": 5e-3}, **optimizer)
    losses = [row["train/loss"] for row in trained.run.rows]
    assert losses[-1] < 0.5 * losses[0]


def test_gradient_checkpointing_gives_the_same_gradient(tmp_path):
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.5)
    plain, plain_loss, _ = toy_runs.one_step(toys.model(VOCAB), maker, tmp_path)
    student = toys.model(VOCAB)
    passes = []
    student.model.layers[0].self_attn.register_forward_pre_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    checkpointed, loss, _ = toy_runs.one_step(
        student, maker, tmp_path, gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False}
    )
    assert toy_runs.distance(checkpointed, plain) < 1e-6 and loss == pytest.approx(plain_loss, rel=1e-6)
    assert sum(passes) == 2, "the layer did not run again in the backward pass"


def test_bf16_is_the_compute_dtype_and_weights_stay_fp32(tmp_path):
    student, computed = toys.model(VOCAB), []
    student.model.layers[0].mlp.down_proj.register_forward_hook(lambda module, args, output: computed.append(output.dtype))
    trained = train(tmp_path, student=student, lmbda=1.0, compute_dtype=torch.bfloat16, training={"max_steps": 1, "bf16": True})
    assert set(computed) == {torch.bfloat16}
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    moments = [v for state in trained.optimizer.state.values() for v in state.values() if torch.is_tensor(v) and v.ndim]
    assert moments and {v.dtype for v in moments} == {torch.float32}


def test_bf16_rollout_is_the_student_as_it_will_be_saved(tmp_path):
    """Same logits as the saved student loaded in bf16, far into the context: rotary frequencies must stay fp32."""
    trained = train(tmp_path, lmbda=1.0, compute_dtype=torch.bfloat16, training={"max_steps": 1, "bf16": True})
    trained.student_copy.save(tmp_path / "student")
    loaded = type(trained.model).from_pretrained(tmp_path / "student", dtype=torch.bfloat16)
    ids_BT = torch.randint(0, 256, (1, 400), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), trained.student_copy.for_rollouts() as student:
        assert torch.equal(student.logits(student.hidden(ids_BT)), loaded(ids_BT).logits)


@pytest.mark.parametrize("optim", ["adamw_8bit", "paged_adamw_8bit"])
def test_an_optimizer_in_8_bits_learns_and_resumes_with_the_same_weights(optim, tmp_path):
    """Layers of 4,096 numbers and more have moments of one byte; transformers leaves those of embeddings in four."""
    training = {"max_steps": 6, "optim": optim, "save_strategy": "steps", "save_steps": 3, "learning_rate": 5e-3}
    whole = train(tmp_path / "a", student=toys.model(VOCAB, hidden=64), training=training, lmbda=0.0)
    state = {name: whole.optimizer.state[weight] for name, weight in whole.model.named_parameters() if weight.numel() >= 4096}
    assert {name: state[name]["state1"].dtype for name in state if "embed" not in name} == {
        name: torch.uint8 for name in state if "embed" not in name
    }
    losses = [row["train/loss"] for row in whole.run.rows]
    assert losses[-1] < 0.9 * losses[0]
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.0, rows_per_window=4)
    resumed = toy_runs.trainer(toys.model(VOCAB, hidden=64, seed=9), maker, tmp_path / "b", **training)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    assert torch.equal(toy_runs.weights(whole.model), toy_runs.weights(resumed.model))


def run_out_of_memory(student, num_rows: int) -> None:
    """The student's forward passes of more than `num_rows` rows fail as they do on a full device."""

    def fail(module, args, kwargs):
        if torch.is_grad_enabled() and len(kwargs["input_ids"]) > num_rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    student.model.register_forward_pre_hook(fail, with_kwargs=True)


def test_out_of_memory_is_met_with_smaller_micro_batches(tmp_path):
    """The window starts anew: same gradient, and what had been done of it counts once."""
    expected, loss, _ = toy_runs.one_step(toys.model(VOCAB), toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8)), tmp_path)
    run_out_of_memory(student := toys.model(VOCAB), 3)
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8))
    gradient, logged, trained = toy_runs.one_step(student, maker, tmp_path)
    assert toy_runs.distance(gradient, expected) < 1e-5 and logged == pytest.approx(loss, rel=1e-5)
    assert trained.run.rows[0]["train/loss/chosun"] > 0 and maker.decisions.tokens_per_microbatch < 8 * 80


def test_out_of_memory_ends_the_run_where_nothing_smaller_is_left(tmp_path):
    run_out_of_memory(student := toys.model(VOCAB), 0)
    with pytest.raises(ValueError, match="out of memory .*hardware.tokens_per_microbatch"):
        toy_runs.one_step(student, toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8)), tmp_path)
    run_out_of_memory(student := toys.model(VOCAB), 3)
    fixed = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), auto_microbatch=False)
    with pytest.raises(ValueError, match="out of memory"):
        toy_runs.one_step(student, fixed, tmp_path)


@pytest.mark.parametrize("place", ["optimizer.step", "on_pre_optimizer_step", "teacher.to", "student.to"])
def test_out_of_memory_around_the_optimizer_and_in_placing_models_is_one_sentence(place, tmp_path, monkeypatch):
    """The first step allocates the optimizer's state: the likeliest end of all. What was saved stays whole."""

    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12.30 GiB")

    student, teacher_model, callback = toys.model(VOCAB), toys.model(VOCAB, seed=1), TrainerCallback()
    saving = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1}
    when = "models were placed on their device" if place.endswith("to") else "optimizer moved the weights"
    if place == "teacher.to":
        teacher_model.to = fail
    elif place == "student.to":
        student.to = fail
    else:
        train(tmp_path, student=toys.model(VOCAB), training=saving | {"max_steps": 1})
        if place == "optimizer.step":
            monkeypatch.setattr(torch.optim.AdamW, "step", fail)
        else:
            callback.on_pre_optimizer_step = fail
    maker = toy_runs.row_maker(TOKENIZER, Teacher(teacher_model, TOKENIZER), toys.prompts(8), rows_per_window=4)
    with pytest.raises(ValueError, match=f"^out of memory while .*{when}.*: lower what is trained.*plan=here"):
        checkpoint = tmp_path / "checkpoint-1"
        trainer = toy_runs.trainer(student, maker, tmp_path, callbacks=[callback], **saving)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint.exists() else None)
    if when.startswith("optimizer"):
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"] and checkpoint_fault(checkpoint) is None


@pytest.mark.parametrize(("side", "when"), [("student", "completions were written"), ("teacher", "teacher read the window")])
def test_out_of_memory_elsewhere_is_said_in_words(side, when, tmp_path):
    """Where nothing can be halved without another window: the settings to lower are named."""
    models = {"student": toys.model(VOCAB), "teacher": toys.model(VOCAB, seed=1)}

    def fail(*_):
        if not torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    models[side].model.norm.register_forward_pre_hook(fail)
    maker = toy_runs.row_maker(TOKENIZER, Teacher(models["teacher"], TOKENIZER), toys.prompts(8), lmbda=1.0)
    with pytest.raises(ValueError, match=f"out of memory while the .*{when}: lower train.per_device_train_batch_size"):
        toy_runs.one_step(models["student"], maker, tmp_path)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_checkpoint_loads_plainly_and_holds_few_pickles(tmp_path):
    trained = train(tmp_path, training={"max_steps": 2, "save_strategy": "steps", "save_steps": 2})
    checkpoint = tmp_path / "checkpoint-2"
    loaded = type(trained.model).from_pretrained(checkpoint)
    assert torch.equal(toy_runs.weights(loaded), toy_runs.weights(trained.model))
    pickles = {file.name for file in checkpoint.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".pkl")}
    assert pickles == {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    assert toys.AutoTokenizer.from_pretrained(checkpoint).chat_template == toys.CHATML


@pytest.mark.parametrize("optimizer", [{}, {"muon_learning_rate": 0.01}], ids=["adamw", "muon"])
def test_resumed_run_ends_with_the_same_weights(optimizer, tmp_path):
    """Six steps over a data set of two windows, cut after the third: the second epoch goes on where it stood."""
    training = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole = train(tmp_path / "a", training=training, seq_kd=True, **optimizer)
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.5, rows_per_window=4, seq_kd=True, **optimizer)
    resumed = toy_runs.trainer(toys.model(VOCAB, seed=9), maker, tmp_path / "b", **training)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    assert torch.equal(toy_runs.weights(whole.model), toy_runs.weights(resumed.model))
    assert [row["step"] for row in resumed.run.rows] == [4, 5, 6]
    assert [row["train/loss"] for row in resumed.run.rows] == [row["train/loss"] for row in whole.run.rows[3:]]


def test_saved_student_is_complete_and_in_the_compute_dtype(tmp_path):
    trained = train(tmp_path, compute_dtype=torch.bfloat16, training={"max_steps": 1, "bf16": True})
    trained.student_copy.save(tmp_path / "student")
    loaded = type(trained.model).from_pretrained(tmp_path / "student")
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16} and loaded.config.dtype == torch.bfloat16
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    assert torch.equal(toy_runs.weights(loaded), toy_runs.flat({n: p.bfloat16() for n, p in trained.model.named_parameters()}))
    assert (tmp_path / "student" / "chat_template.jinja").read_text() == toys.CHATML


def test_saved_student_may_have_a_dtype_of_its_own(tmp_path):
    """model.student_file_dtype: from the trained fp32 weights, not through the compute dtype."""
    training = {"max_steps": 1, "bf16": True}
    trained = train(tmp_path, compute_dtype=torch.bfloat16, file_dtype=torch.float16, training=training)
    trained.student_copy.save(tmp_path / "student")
    loaded = type(trained.model).from_pretrained(tmp_path / "student")
    assert loaded.config.dtype == torch.float16
    assert torch.equal(toy_runs.weights(loaded), toy_runs.flat({n: p.half() for n, p in trained.model.named_parameters()}))


def test_saved_student_decodes_as_it_was_evaluated(tmp_path):
    """Stops where rollouts stopped, without a penalty of the base model, which evaluation did not use and might refuse to be saved."""
    student = toys.model(VOCAB)
    vars(student.generation_config).update(repetition_penalty=1.5, do_sample=False, temperature=0.7, eos_token_id=0)
    trained = train(tmp_path, student=student, training={"max_steps": 1})
    trained.student_copy.save(tmp_path / "student")
    loaded = type(trained.model).from_pretrained(tmp_path / "student")
    stops = trained.row_maker.output_ids.stop_ids
    assert 0 in stops and len(stops) == 2
    assert loaded.generation_config.eos_token_id == list(stops) and loaded.config.use_cache
    written = json.loads((tmp_path / "student" / "generation_config.json").read_text())
    assert written.keys() == {"eos_token_id", "pad_token_id", "transformers_version"}


# ---- LoRA ------------------------------------------------------------------------------------------------------------


def lora(dropout: float = 0.0):
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=dropout, target_modules=["q_proj", "v_proj"])


def train_lora(directory, dropout: float = 0.0, callbacks=()):
    student = toys.model(VOCAB)
    torch.manual_seed(0)  # as gold_style.build does: an adapter's first weights come from torch's own generator
    training = {"max_steps": 3, "learning_rate": 1e-2}
    return train(directory, student=student, peft_config=lora(dropout), callbacks=callbacks, training=training)


def test_lora_trains_the_adapter_alone_and_saves_it_merged(tmp_path):
    base = dict(toys.model(VOCAB).named_parameters())
    trained = train_lora(tmp_path)
    named = dict(trained.model.named_parameters())
    assert {name.split(".")[-3] for name, p in named.items() if p.requires_grad} == {"lora_A", "lora_B"}
    assert any(p.abs().sum() > 0 for name, p in named.items() if "lora_B" in name), "the adapter did not move"
    trained.student_copy.save(tmp_path / "student")
    loaded = toys.Qwen2ForCausalLM.from_pretrained(tmp_path / "student")
    merged = dict(loaded.named_parameters())
    assert merged.keys() == base.keys()
    assert {name.split(".")[-2] for name in base if not torch.equal(base[name], merged[name])} == {"q_proj", "v_proj"}
    ids_BT = torch.randint(0, 256, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), trained.student_copy.for_rollouts() as student:
        torch.testing.assert_close(loaded(ids_BT).logits, student.logits(student.hidden(ids_BT)), atol=1e-4, rtol=1e-4)


def test_muon_trains_an_adapter_that_has_matrices_alone(tmp_path):
    trained = train(tmp_path, peft_config=lora(), muon_learning_rate=0.01, training={"max_steps": 3})
    named = dict(trained.model.named_parameters())
    assert any(p.abs().sum() > 0 for name, p in named.items() if "lora_B" in name), "the adapter did not move"


def test_lora_dropout_is_applied_and_belongs_to_the_seed(tmp_path):
    """The parent trainer switches every dropout off; an adapter's own is what the user asked for."""
    plain = train_lora(tmp_path / "a")
    dropped = train_lora(tmp_path / "b", dropout=0.5)
    assert not torch.equal(toy_runs.weights(plain.model), toy_runs.weights(dropped.model))
    stray = train_lora(tmp_path / "c", dropout=0.5, callbacks=[toy_runs.StrayDraws()])
    assert torch.equal(toy_runs.weights(stray.model), toy_runs.weights(dropped.model))
