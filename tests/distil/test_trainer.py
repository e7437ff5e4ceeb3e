"""StyleGOLDTrainer on toy parts: what is scored, what moves the weights and what does not, what is not finite."""

import random
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F

from gold_style.config.schedule import at_step
from gold_style.distil.callbacks import LiveEvaluation
from gold_style.engine.rollout import GREEDY, OutputIds, generate
from gold_style.engine.teacher import Teacher
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
LOSSES = {"forward KL": {"beta": 0.0}, "JSD 0.3": {"beta": 0.3}, "reverse KL": {"beta": 1.0}, "ULD": {"plain_uld": True}}
SPLITS = [
    {"rows_per_microbatch": 8},
    {"rows_per_microbatch": 3},
    {"rows_per_microbatch": 1},
    {"rows_per_microbatch": None, "tokens_per_microbatch": 150},
]


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def twin(dtype=torch.float32) -> Teacher:
    """A teacher with the weights of `toys.model(VOCAB)`."""
    return Teacher(toys.model(VOCAB, dtype=dtype), TOKENIZER)


def train(directory, *, of=None, **changes):
    """`toy_runs.train` with the toy teacher, unless another one is given."""
    return toy_runs.train(TOKENIZER, of or teacher(), directory, **changes)


# ---- what is scored --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_identical_teacher_gives_no_loss(loss, tmp_path):
    for split, lmbda, system in zip(SPLITS, (0.0, 0.5, 1.0, 0.5), ("", "규칙을 따르라.") * 2, strict=True):
        both = {"teacher_system_prompt": system, "student_system_prompt": system or None}  # not empty: a cached prefix
        maker = toy_runs.row_maker(TOKENIZER, twin(), toys.prompts(8), lmbda=lmbda, **both, **LOSSES[loss], **split)
        _, logged, _ = toy_runs.one_step(toys.model(VOCAB), maker, tmp_path)
        assert abs(logged) <= 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_identical_teacher_gives_no_gradient(loss, tmp_path):
    def norm(of, split):
        maker = toy_runs.row_maker(
            TOKENIZER, of, toys.prompts(8), teacher_system_prompt="", compute_dtype=torch.float64, **LOSSES[loss], **split
        )
        return float(toy_runs.one_step(toys.model(VOCAB, dtype=torch.float64), maker, tmp_path)[0].norm())

    ordinary = norm(Teacher(toys.model(VOCAB, seed=1, dtype=torch.float64), TOKENIZER), SPLITS[0])
    assert ordinary > 0.01
    for split in SPLITS:
        assert norm(twin(torch.float64), split) <= (0.0 if loss == "ULD" else 1e-6 * ordinary)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_completion_token_is_scored_and_nothing_else(loss, tmp_path):
    """The states that receive a gradient are those that predict a completion token, the first and the stop included."""
    seen = []

    def watch(module, args, kwargs, output):
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.retain_grad()
            seen.append((kwargs["input_ids"], output.last_hidden_state))

    student = toys.model(VOCAB)
    student.model.register_forward_hook(watch, with_kwargs=True)
    trained = train(tmp_path, student=student, lmbda=0.0, rows_per_window=8, training={"max_steps": 1}, **LOSSES[loss])
    ((ids_BT, hidden_BTD),) = seen
    chat = trained.row_maker.chat
    for b, prompt in enumerate(toys.prompts(8)):
        asked = chat.student_ids(prompt)
        answer = (*TOKENIZER(prompt.reference, add_special_tokens=False)["input_ids"], TOKENIZER.eos_token_id)
        assert tuple(ids_BT[b, : len(asked) + len(answer) - 1].tolist()) == asked + answer[:-1]
        scored = hidden_BTD.grad[b].abs().sum(-1).nonzero()[:, 0].tolist()
        assert scored == list(range(len(asked) - 1, len(asked) + len(answer) - 1))


def test_beta_may_change_from_step_to_step(tmp_path):
    """With a learning rate of 0 each step has the loss of a run whose beta is the same throughout."""
    schedule = {"from": 0.0, "to": 0.6, "steps": 2}

    def losses(beta, of_step=None):
        maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), beta=beta, lmbda=1.0)
        maker.options = replace(maker.options, beta=of_step)
        _, _, trained = toy_runs.one_step(toys.model(VOCAB), maker, tmp_path, max_steps=4, learning_rate=0.0)
        return [row["train/loss"] for row in trained.run.rows]

    moved = losses(0.9, partial(at_step, schedule))
    assert moved == [losses(beta)[step] for step, beta in enumerate((0.0, 0.3, 0.6, 0.6))]


class Likelihood:
    """A token loss that reads what was written."""

    reads = ("completion_N",)

    def __call__(self, student_logits_NV, teacher_logits_NV, completion_N):
        return F.cross_entropy(student_logits_NV, completion_N, reduction="none")


def test_a_token_loss_is_handed_what_it_reads(tmp_path):
    def loss(**changes):
        maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.5, **changes)
        return toy_runs.one_step(toys.model(VOCAB), maker, tmp_path)[:2]

    (own, said), (both, of_both), (divergence, of_divergence) = (
        loss(token_loss=Likelihood()),
        loss(crossentropy_weight=1.0),
        loss(crossentropy_weight=0.0),
    )
    assert said == pytest.approx(of_both - of_divergence, rel=1e-5)
    assert toy_runs.distance(own, both - divergence) < 1e-5


@pytest.mark.parametrize("loss", ["JSD 0.3", "ULD"])
def test_stop_tokens_can_be_left_out(loss, tmp_path):
    """Neither in the mean nor in the statistics; weights of the loss reach the log of each style, too."""
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), **LOSSES[loss])
    maker.objective.unscored_ids, maker.objective.distillation_weight = (TOKENIZER.eos_token_id,), 2.0
    student = toys.model(VOCAB)
    scored = toy_runs.scored_positions(student)
    _, logged, trained = toy_runs.one_step(student, maker, tmp_path)
    lengths = {style: 0 for style in toys.PACK.tags}
    for prompt, positions in zip(toys.prompts(8), scored, strict=True):
        answer = TOKENIZER(prompt.reference, add_special_tokens=False)["input_ids"]
        first = len(maker.chat.student_ids(prompt)) - 1
        assert positions == list(range(first, first + len(answer)))
        lengths[prompt.style] += len(answer)
    row = trained.run.rows[0]
    per_style = sum(row[f"train/loss/{style}"] * length for style, length in lengths.items()) / sum(lengths.values())
    assert per_style == pytest.approx(logged, rel=1e-5)


def test_padding_does_not_matter(tmp_path):
    """The id that fills up a batch changes neither the gradient nor the loss."""
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8))
    gradient, logged, _ = toy_runs.one_step(toys.model(VOCAB), maker, tmp_path)
    recorder = toy_runs.GradientRecorder()
    other = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path, callbacks=[recorder])
    other.pad_token_id = 7
    other.train()
    assert torch.equal(toy_runs.flat(recorder.steps[0]), gradient) and other.run.rows[0]["train/loss"] == logged


def test_an_answer_that_looks_like_a_special_token_is_text(tmp_path):
    """`<|im_end|>` written out in an answer is ten characters, not the end of the turn."""
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(1))
    ids = maker.answer(replace(toys.prompts(1)[0], reference="끝은 <|im_end|>이다.")).ids
    assert ids.count(TOKENIZER.eos_token_id) == 1 and ids[-1] == TOKENIZER.eos_token_id
    assert TOKENIZER.decode(ids[:-1]) == "끝은 <|im_end|>이다."


def test_an_empty_answer_trains_its_stop_token(tmp_path):
    asked = [replace(prompt, reference="") for prompt in toys.prompts(4)]
    trained = train(tmp_path, asked=asked, lmbda=0.0, training={"max_steps": 1})
    row = trained.run.rows[0]
    assert row["train/completion_tokens"] == 1 and row["train/unfinished"] == 0
    assert row["train/loss"] > 0 and row["train/grad_norm"] > 0


# ---- what decides the weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [{}, {"logging_steps": 3}], ids=["plain", "other logging interval"])
def test_same_seed_same_weights(training, tmp_path):
    first = train(tmp_path / "a", seq_kd=True)
    second = train(tmp_path / "b", seq_kd=True, callbacks=[toy_runs.StrayDraws()] if not training else [], training=training)
    assert torch.equal(toy_runs.weights(first.model), toy_runs.weights(second.model))
    other = train(tmp_path / "c", seq_kd=True, seed=1)
    assert not torch.equal(toy_runs.weights(first.model), toy_runs.weights(other.model))


def live_evaluation(trainer) -> dict[str, float]:
    """Answers of the student, as a live evaluation would let it write them."""
    prompts = [trainer.row_maker.chat.student_ids(prompt) for prompt in toys.prompts(3)]
    with trainer.student_copy.for_rollouts() as student:
        written = generate(student, prompts, max_new_tokens=5, output_ids=OutputIds((), 0, VOCAB), sampling=GREEDY)
    random.random(), torch.rand(3)
    return {"style/margin": float(len(written[0].ids))}


def test_live_evaluation_changes_nothing_but_the_log(tmp_path):
    plain = train(tmp_path / "a")
    live = LiveEvaluation(measure=live_evaluation, every_steps=2, keep_best=False, stop_margin=None, stop_patience=1)
    student = toys.model(VOCAB)
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), student=student, lmbda=0.5, rows_per_window=4)
    watched = toy_runs.trainer(student, maker, tmp_path / "b", callbacks=[live], max_steps=4)
    live.trainer = watched
    watched.train()
    assert torch.equal(toy_runs.weights(plain.model), toy_runs.weights(watched.model))
    assert [row.get("style/margin") for row in watched.run.rows] == [None, 5.0, None, 5.0]


def test_generations_of_one_prompt_differ(tmp_path):
    trained = train(tmp_path, lmbda=1.0, num_generations=2, rows_per_window=8, training={"max_steps": 1})
    rows = trained.row_maker.make(0, trained.accelerator, trained.student_copy)
    assert [row.prompt.row for row in rows] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len({row.completion for row in rows}) == 8
    next_window = trained.row_maker.make(1, trained.accelerator, trained.student_copy)
    assert [row.prompt.row for row in next_window] == [4, 4, 5, 5, 6, 6, 7, 7]


def test_on_and_off_policy_are_drawn_per_row():
    def drawn(**options):
        maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), **{"lmbda": 0.3, **options})
        return [maker.is_on_policy(step, number) for step in range(50) for number in range(40)]

    assert 0.26 < sum(drawn()) / len(drawn()) < 0.34
    assert drawn() != drawn(seed=1)
    assert not any(drawn(lmbda=0.0)) and all(drawn(lmbda=1.0))
    moving = drawn(lmbda=partial(at_step, {"from": 0.0, "to": 1.0, "steps": 40}))
    assert not any(moving[:40]) and 0.2 < sum(moving[: 20 * 40]) / (20 * 40) < 0.28 and all(moving[40 * 40 :])
    assert drawn(lmbda=1.0, warm_start_steps=2) == [False] * 2 * 40 + [True] * 48 * 40


def test_warm_start_is_written_by_the_teacher(tmp_path):
    """Teacher-written text first, also where rows have no answer and seq_kd is off; then on-policy."""
    trained = train(tmp_path, asked=toys.prompts(8, references=False), lmbda=1.0, warm_start_steps=2)
    assert [row["train/on_policy"] for row in trained.run.rows] == [0, 0, 1, 1]
