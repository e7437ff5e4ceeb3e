"""StyleGOLDTrainer on toy parts: what is scored, what moves the weights and what does not, checkpoints, LoRA, precision."""

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import toy_runs
import toys
from transformers import TrainerCallback

from gold_style.distil.callbacks import LiveEvaluation
from gold_style.distil.rollout import GREEDY, generate
from gold_style.distil.teacher import Teacher
from gold_style.distil.trainer import NonFinite

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
LOSSES = {
    "forward KL": {"beta": 0.0},
    "JSD 0.3": {"beta": 0.3},
    "reverse KL": {"beta": 1.0},
    "ULD": {"plain_uld": True},
}
SPLITS = [{"rows_per_microbatch": 8}, {"rows_per_microbatch": 3}, {"rows_per_microbatch": 1},
          {"rows_per_microbatch": None, "tokens_per_microbatch": 150}]  # fmt: skip


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def twin(dtype=torch.float32) -> Teacher:
    """A teacher with the weights of `toys.model(VOCAB)`."""
    return Teacher(toys.model(VOCAB, dtype=dtype), TOKENIZER)


def train(directory, *, student=None, asked=None, of=None, callbacks=(), training=None, **changes):
    """A finished run of four steps, on- and off-policy rows mixed, unless `training` says otherwise."""
    student = student or toys.model(VOCAB)
    parts = toy_runs.distillation(
        TOKENIZER, of or teacher(), asked or toys.prompts(8), student=student, **{"lmbda": 0.5, "rows_per_window": 4, **changes}
    )
    trained = toy_runs.trainer(student, parts, directory, callbacks=callbacks, **{"max_steps": 4, **(training or {})})
    trained.train()
    return trained


# ---- what is scored --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_identical_teacher_gives_no_loss(loss, tmp_path):
    for split, lmbda, system in zip(SPLITS, (0.0, 0.5, 1.0, 0.5), ("", "규칙을 따르라.") * 2, strict=True):
        both = {"teacher_system_prompt": system, "student_system_prompt": system or None}  # not empty: a cached prefix
        parts = toy_runs.distillation(TOKENIZER, twin(), toys.prompts(8), lmbda=lmbda, **both, **LOSSES[loss], **split)
        _, logged, _ = toy_runs.one_step(toys.model(VOCAB), parts, tmp_path)
        assert abs(logged) <= 1e-7


@pytest.mark.parametrize("loss", LOSSES)
def test_identical_teacher_gives_no_gradient(loss, tmp_path):
    def norm(of, split):
        parts = toy_runs.distillation(
            TOKENIZER, of, toys.prompts(8), teacher_system_prompt="", compute_dtype=torch.float64, **LOSSES[loss], **split
        )
        return float(toy_runs.one_step(toys.model(VOCAB, dtype=torch.float64), parts, tmp_path)[0].norm())

    ordinary = norm(Teacher(toys.model(VOCAB, seed=1, dtype=torch.float64), TOKENIZER), SPLITS[0])
    assert ordinary > 0.01
    for split in SPLITS:
        assert norm(twin(torch.float64), split) <= (0.0 if loss == "ULD" else 1e-6 * ordinary)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_completion_token_is_scored_and_nothing_else(loss, tmp_path):
    """The hidden states that receive a gradient are those which predict a completion token, the first and the stop included."""
    seen = []

    def watch(module, args, kwargs, output):
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.retain_grad()
            seen.append((kwargs["input_ids"], output.last_hidden_state))

    student = toys.model(VOCAB)
    student.model.register_forward_hook(watch, with_kwargs=True)
    trained = train(tmp_path, student=student, lmbda=0.0, rows_per_window=8, training={"max_steps": 1}, **LOSSES[loss])
    (ids_BT, hidden_BTD), = seen
    chat = trained.distillation.chat
    for b, prompt in enumerate(toys.prompts(8)):
        asked = chat.student_ids(prompt)
        answer = (*TOKENIZER(prompt.reference, add_special_tokens=False)["input_ids"], TOKENIZER.eos_token_id)
        assert tuple(ids_BT[b, : len(asked) + len(answer) - 1].tolist()) == asked + answer[:-1]
        scored = hidden_BTD.grad[b].abs().sum(-1).nonzero()[:, 0].tolist()
        assert scored == list(range(len(asked) - 1, len(asked) + len(answer) - 1))


@pytest.mark.parametrize("loss", ["JSD 0.3", "ULD"])
def test_stop_tokens_can_be_left_out(loss, tmp_path):
    """Neither in the mean nor in the statistics; weights of the loss reach the log of each style, too."""
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8), **LOSSES[loss])
    parts.objective.unscored_ids, parts.objective.distillation_weight = (TOKENIZER.eos_token_id,), 2.0
    student = toys.model(VOCAB)
    scored = toy_runs.scored_positions(student)
    _, logged, trained = toy_runs.one_step(student, parts, tmp_path)
    lengths = {style: 0 for style in toys.PACK.tags}
    for prompt, positions in zip(toys.prompts(8), scored, strict=True):
        answer = TOKENIZER(prompt.reference, add_special_tokens=False)["input_ids"]
        first = len(parts.chat.student_ids(prompt)) - 1
        assert positions == list(range(first, first + len(answer)))
        lengths[prompt.style] += len(answer)
    row = trained.run.rows[0]
    per_style = sum(row[f"train/loss/{style}"] * length for style, length in lengths.items()) / sum(lengths.values())
    assert per_style == pytest.approx(logged, rel=1e-5)


def test_padding_does_not_matter(tmp_path):
    """The id that fills up a batch changes neither the gradient nor the loss."""
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8))
    gradient, logged, _ = toy_runs.one_step(toys.model(VOCAB), parts, tmp_path)
    recorder = toy_runs.GradientRecorder()
    other = toy_runs.trainer(toys.model(VOCAB), parts, tmp_path, callbacks=[recorder])
    other.pad_token_id = 7
    other.train()
    assert torch.equal(toy_runs.flat(recorder.steps[0]), gradient) and other.run.rows[0]["train/loss"] == logged


def test_an_answer_that_looks_like_a_special_token_is_text(tmp_path):
    """`<|im_end|>` written out in an answer is ten characters, not the end of the turn."""
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(1))
    ids = parts.reference(replace(toys.prompts(1)[0], reference="끝은 <|im_end|>이다.")).ids
    assert ids.count(TOKENIZER.eos_token_id) == 1 and ids[-1] == TOKENIZER.eos_token_id
    assert TOKENIZER.decode(ids[:-1]) == "끝은 <|im_end|>이다."


def test_an_empty_answer_trains_its_stop_token(tmp_path):
    asked = [replace(prompt, reference="") for prompt in toys.prompts(4)]
    trained = train(tmp_path, asked=asked, lmbda=0.0, training={"max_steps": 1})
    row = trained.run.rows[0]
    assert row["train/completion_tokens"] == 1 and row["train/unfinished"] == 0
    assert row["train/loss"] > 0 and row["train/grad_norm"] > 0


# ---- what decides the weights ----------------------------------------------------------------------------------------


class Stray(TrainerCallback):
    """Draws from every global generator, at every point of the loop."""

    def on_step_begin(self, args, state, control, **kwargs):
        random.random(), torch.rand(3), np.random.rand()

    on_substep_end = on_pre_optimizer_step = on_step_end = on_log = on_train_begin = on_step_begin


@pytest.mark.parametrize("training", [{}, {"logging_steps": 3}], ids=["plain", "other logging interval"])
def test_same_seed_same_weights(training, tmp_path):
    first = train(tmp_path / "a", seq_kd=True)
    second = train(tmp_path / "b", seq_kd=True, callbacks=[Stray()] if not training else [], training=training)
    assert torch.equal(toy_runs.weights(first.model), toy_runs.weights(second.model))
    other = train(tmp_path / "c", seq_kd=True, seed=1)
    assert not torch.equal(toy_runs.weights(first.model), toy_runs.weights(other.model))


def live_evaluation(trainer) -> dict[str, float]:
    """Answers of the student, as a live evaluation would let it write them."""
    prompts = [trainer.distillation.chat.student_ids(prompt) for prompt in toys.prompts(3)]
    with trainer.rollout_model() as student:
        written = generate(student, prompts, max_new_tokens=5, stop_ids=(), vocab_size=VOCAB, sampling=GREEDY)
    random.random(), torch.rand(3)
    return {"style/margin": float(len(written[0].ids))}


def test_live_evaluation_changes_nothing_but_the_log(tmp_path):
    plain = train(tmp_path / "a")
    live = LiveEvaluation(measure=live_evaluation, every_steps=2, keep_best=False, stop_margin=None, stop_patience=1)
    student = toys.model(VOCAB)
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8), student=student, lmbda=0.5, rows_per_window=4)
    watched = toy_runs.trainer(student, parts, tmp_path / "b", callbacks=[live], max_steps=4)
    live.trainer = watched
    watched.train()
    assert torch.equal(toy_runs.weights(plain.model), toy_runs.weights(watched.model))
    assert [row.get("style/margin") for row in watched.run.rows] == [None, 5.0, None, 5.0]


def test_generations_of_one_prompt_differ(tmp_path):
    trained = train(tmp_path, lmbda=1.0, num_generations=2, rows_per_window=8, training={"max_steps": 1})
    rows = trained.distillation.rows(0, trained.accelerator, trained.rollout_model)
    assert [row.prompt.row for row in rows] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len({row.completion for row in rows}) == 8
    next_window = trained.distillation.rows(1, trained.accelerator, trained.rollout_model)
    assert [row.prompt.row for row in next_window] == [4, 4, 5, 5, 6, 6, 7, 7]


def test_on_and_off_policy_are_drawn_per_row(tmp_path):
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.3)
    drawn = [parts.is_on_policy(step, number) for step in range(50) for number in range(40)]
    assert 0.26 < sum(drawn) / len(drawn) < 0.34
    assert drawn != [replace(parts, seed=1).is_on_policy(step, number) for step in range(50) for number in range(40)]
    assert not any(replace(parts, lmbda=0.0).is_on_policy(0, number) for number in range(100))
    assert all(replace(parts, lmbda=1.0).is_on_policy(0, number) for number in range(100))
    warm = replace(parts, lmbda=1.0, warm_start_steps=2)
    assert [warm.is_on_policy(step, 0) for step in range(4)] == [False, False, True, True]


def test_warm_start_is_written_by_the_teacher(tmp_path):
    """Teacher-written text first, also where rows have no answer and seq_kd is off; then on-policy."""
    trained = train(tmp_path, asked=toys.prompts(8, references=False), lmbda=1.0, warm_start_steps=2)
    assert [row["train/on_policy"] for row in trained.run.rows] == [0, 0, 1, 1]


# ---- what is not finite ----------------------------------------------------------------------------------------------


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
        train(tmp_path, lmbda=0.0, callbacks=[Poison()])


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    student = toys.model(VOCAB)
    student.model.norm.weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(NonFinite, match="step 1: the gradient norm is"):
        train(tmp_path, student=student)


def test_an_fp16_loss_scale_that_overflows_is_left_to_the_scaler(tmp_path):
    """Its first steps overflow by design: the scaler passes over them and halves its scale."""
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8))
    trained = toy_runs.trainer(toys.model(VOCAB), parts, tmp_path)
    with pytest.raises(NonFinite):
        trained._get_grad_norm(trained.model, torch.tensor(float("inf")))
    trained.accelerator.scaler = torch.amp.GradScaler("cpu")
    assert trained._get_grad_norm(trained.model, torch.tensor(float("inf"))) == float("inf")


@pytest.mark.parametrize("optimizer", [{}, {"muon_learning_rate": 0.01}], ids=["adamw", "muon"])
def test_a_step_that_is_not_finite_can_be_skipped(optimizer, tmp_path):
    weights = Weights()
    trained = train(tmp_path, lmbda=0.0, on_nonfinite="skip", callbacks=[Poison(), weights], **optimizer)
    assert torch.equal(weights.steps[0], weights.steps[1]), "the skipped step moved the weights"
    assert not torch.equal(weights.steps[1], weights.steps[2])
    assert weights.steps[-1].isfinite().all()
    assert [row.get("train/skipped_steps") for row in trained.run.rows] == [None, 1, 1, 1]


# ---- how the weights are held ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [{}, {"muon_learning_rate": 0.01}], ids=["adamw", "muon"])
def test_training_reduces_the_loss(optimizer, tmp_path):
    trained = train(tmp_path, lmbda=0.0, asked=toys.prompts(4), training={"max_steps": 25, "learning_rate": 5e-3}, **optimizer)
    losses = [row["train/loss"] for row in trained.run.rows]
    assert losses[-1] < 0.5 * losses[0]


def test_gradient_checkpointing_gives_the_same_gradient(tmp_path):
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.5)
    plain, plain_loss, _ = toy_runs.one_step(toys.model(VOCAB), parts, tmp_path)
    student = toys.model(VOCAB)
    passes = []
    student.model.layers[0].self_attn.register_forward_pre_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    checkpointed, loss, _ = toy_runs.one_step(
        student, parts, tmp_path, gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False}
    )
    assert toy_runs.distance(checkpointed, plain) < 1e-6 and loss == pytest.approx(plain_loss, rel=1e-6)
    assert sum(passes) == 2, "the layer did not run again in the backward pass"


def test_bf16_is_the_compute_dtype_and_weights_stay_fp32(tmp_path):
    student, computed = toys.model(VOCAB), []
    student.model.layers[0].mlp.down_proj.register_forward_hook(lambda module, args, output: computed.append(output.dtype))
    trained = train(
        tmp_path, student=student, lmbda=1.0, compute_dtype=torch.bfloat16, training={"max_steps": 1, "bf16": True}
    )
    assert set(computed) == {torch.bfloat16}
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    moments = [v for state in trained.optimizer.state.values() for v in state.values() if torch.is_tensor(v) and v.ndim]
    assert moments and {v.dtype for v in moments} == {torch.float32}


def test_bf16_rollout_is_the_student_as_it_will_be_saved(tmp_path):
    """Same logits as the saved student loaded in bf16, far into the context: rotary frequencies must stay fp32."""
    trained = train(tmp_path, lmbda=1.0, compute_dtype=torch.bfloat16, training={"max_steps": 1, "bf16": True})
    trained.save_student(tmp_path / "student")
    loaded = type(trained.model).from_pretrained(tmp_path / "student", dtype=torch.bfloat16)
    ids_BT = torch.randint(0, 256, (1, 400), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), trained.rollout_model() as student:
        assert torch.equal(student.logits(student.hidden(ids_BT)), loaded(ids_BT).logits)


def run_out_of_memory(student, num_rows: int) -> None:
    """The student's forward passes of more than `num_rows` rows fail as they do on a full device."""

    def fail(module, args, kwargs):
        if torch.is_grad_enabled() and len(kwargs["input_ids"]) > num_rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    student.model.register_forward_pre_hook(fail, with_kwargs=True)


def test_out_of_memory_is_met_with_smaller_micro_batches(tmp_path):
    """The window starts anew: same gradient, and what had been done of it counts once."""
    expected, loss, _ = toy_runs.one_step(toys.model(VOCAB), toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8)), tmp_path)
    run_out_of_memory(student := toys.model(VOCAB), 3)
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8))
    gradient, logged, trained = toy_runs.one_step(student, parts, tmp_path)
    assert toy_runs.distance(gradient, expected) < 1e-5 and logged == pytest.approx(loss, rel=1e-5)
    assert trained.run.rows[0]["train/loss/chosun"] > 0 and parts.tokens_per_microbatch < 8 * 80


def test_out_of_memory_ends_the_run_where_nothing_smaller_is_left(tmp_path):
    run_out_of_memory(student := toys.model(VOCAB), 0)
    with pytest.raises(ValueError, match="out of memory .*hardware.tokens_per_microbatch"):
        toy_runs.one_step(student, toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8)), tmp_path)
    run_out_of_memory(student := toys.model(VOCAB), 3)
    fixed = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8), auto_microbatch=False)
    with pytest.raises(ValueError, match="out of memory"):
        toy_runs.one_step(student, fixed, tmp_path)


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
    parts = toy_runs.distillation(
        TOKENIZER, teacher(), toys.prompts(8), lmbda=0.5, rows_per_window=4, seq_kd=True, **optimizer
    )
    resumed = toy_runs.trainer(toys.model(VOCAB, seed=9), parts, tmp_path / "b", **training)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    assert torch.equal(toy_runs.weights(whole.model), toy_runs.weights(resumed.model))
    assert [row["step"] for row in resumed.run.rows] == [4, 5, 6]
    assert [row["train/loss"] for row in resumed.run.rows] == [row["train/loss"] for row in whole.run.rows[3:]]


def test_saved_student_is_complete_and_in_the_compute_dtype(tmp_path):
    trained = train(tmp_path, compute_dtype=torch.bfloat16, training={"max_steps": 1, "bf16": True})
    trained.save_student(tmp_path / "student")
    loaded = type(trained.model).from_pretrained(tmp_path / "student")
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16} and loaded.config.dtype == torch.bfloat16
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    assert torch.equal(toy_runs.weights(loaded), toy_runs.flat({n: p.bfloat16() for n, p in trained.model.named_parameters()}))
    assert (tmp_path / "student" / "chat_template.jinja").read_text() == toys.CHATML


# ---- LoRA ------------------------------------------------------------------------------------------------------------


def lora(dropout: float = 0.0):
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=dropout, target_modules=["q_proj", "v_proj"])


def train_lora(directory, dropout: float = 0.0, callbacks=(), **changes):
    student = toys.model(VOCAB)
    parts = toy_runs.distillation(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.5, rows_per_window=4, **changes)
    torch.manual_seed(0)
    trained = toy_runs.trainer(student, parts, directory, peft_config=lora(dropout), callbacks=callbacks, max_steps=3,
                               learning_rate=1e-2)  # fmt: skip
    trained.train()
    return trained


def test_lora_trains_the_adapter_alone_and_saves_it_merged(tmp_path):
    base = dict(toys.model(VOCAB).named_parameters())
    trained = train_lora(tmp_path)
    named = dict(trained.model.named_parameters())
    assert {name.split(".")[-3] for name, p in named.items() if p.requires_grad} == {"lora_A", "lora_B"}
    assert any(p.abs().sum() > 0 for name, p in named.items() if "lora_B" in name), "the adapter did not move"
    trained.save_student(tmp_path / "student")
    loaded = toys.Qwen2ForCausalLM.from_pretrained(tmp_path / "student")
    merged = dict(loaded.named_parameters())
    assert merged.keys() == base.keys()
    assert {name.split(".")[-2] for name in base if not torch.equal(base[name], merged[name])} == {"q_proj", "v_proj"}
    ids_BT = torch.randint(0, 256, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), trained.rollout_model() as student:
        torch.testing.assert_close(loaded(ids_BT).logits, student.logits(student.hidden(ids_BT)), atol=1e-4, rtol=1e-4)


def test_lora_dropout_is_applied_and_belongs_to_the_seed(tmp_path):
    """The parent trainer switches every dropout off; an adapter's own is what the user asked for."""
    plain = train_lora(tmp_path / "a")
    dropped = train_lora(tmp_path / "b", dropout=0.5)
    assert not torch.equal(toy_runs.weights(plain.model), toy_runs.weights(dropped.model))
    stray = train_lora(tmp_path / "c", dropout=0.5, callbacks=[Stray()])
    assert torch.equal(toy_runs.weights(stray.model), toy_runs.weights(dropped.model))
