"""loss.evidence_nats: only what the teacher's private context makes likelier is scored."""

import pytest
import torch

from gold_style.engine.teacher import Teacher
from gold_style.losses.divergence import JSD
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
OTHER = toys.llama3_tokenizer((("e", "l"), ("Ġ", "w")))
KINDS = ["one tokenizer", "uld", "uld_hybrid", "tree"]


def maker(kind="one tokenizer", **changes):
    if kind == "one tokenizer":
        teacher = Teacher(toys.model(VOCAB, seed=1), TOKENIZER)
    else:
        teacher = Teacher(toys.model(len(OTHER), seed=1), OTHER)
        changes["objective"] = toy_runs.cross_objective(TOKENIZER, teacher, kind)
    return toy_runs.row_maker(TOKENIZER, teacher, toys.prompts(8), **changes)


@torch.no_grad()
def logits(model, prompt, completion):
    """Those that predict the completion, from one plain forward."""
    return model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1]


def test_exactly_the_tokens_that_the_context_makes_likelier_are_scored(tmp_path):
    """The slow twin reads both conversations whole; the logged loss is the mean over what is left."""
    student, nats = toys.model(VOCAB), 0.01
    _, loss, trained = toy_runs.one_step(student, maker(evidence_nats=nats), tmp_path, learning_rate=0.0)
    model, chat, losses, scored = trained.teacher.model, trained.row_maker.chat, [], []
    for row in trained.window:
        ids = chat.teacher_ids(row.prompt)
        seen, bare = (logits(model, prompt, row.completion) for prompt in (ids.prefix + ids.rest, chat.student_ids(row.prompt)))
        chosen = torch.tensor(row.completion)[:, None]
        gain_N = (seen.log_softmax(-1) - bare.log_softmax(-1)).gather(1, chosen)[:, 0]
        assert (gain_N - nats).abs().min() > 1e-5  # else rounding would decide
        assert row.is_scored == (gain_N >= nats).tolist()
        scored += row.is_scored
        losses.append(JSD(beta=0.3)(logits(trained.model, row.student_prompt, row.completion), seen)[gain_N >= nats])
    assert 0.1 < sum(scored) / len(scored) < 0.9
    assert loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-4)
    assert trained.run.rows[0]["train/evident_tokens"] == pytest.approx(sum(scored) / len(scored))


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_in_which_nothing_passes_teaches_nothing(kind, tmp_path):
    gradient, loss, trained = toy_runs.one_step(toys.model(VOCAB), maker(kind, evidence_nats=1e6, lmbda=0.5), tmp_path)
    assert loss == 0 and gradient.norm() == 0
    assert torch.equal(toy_runs.weights(trained.model), toy_runs.weights(toys.model(VOCAB)))
    numbers = [value for name, value in trained.run.rows[0].items() if name.startswith("train/")]
    assert torch.tensor(numbers).isfinite().all() and trained.run.rows[0]["train/evident_tokens"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_private_context_every_token_is_as_likely_and_0_lets_it_pass(kind, tmp_path):
    all_, some = (
        toy_runs.one_step(toys.model(VOCAB), maker(kind, evidence_nats=nats, teacher_system_prompt=""), tmp_path) for nats in (None, 0.0)
    )
    assert torch.equal(all_[0], some[0]) and all_[1] == some[1] > 0
    assert some[2].run.rows[0]["train/evident_tokens"] == 1 and "train/evident_tokens" not in all_[2].run.rows[0]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_with_two_tokenizers_a_span_passes_as_a_whole(kind, tmp_path):
    """By the sum over its teacher tokens; the loss is that of the spans that are left."""
    nats = 0.01
    _, loss, trained = toy_runs.one_step(toys.model(VOCAB), maker(kind, evidence_nats=nats), tmp_path, learning_rate=0.0)
    units = [scored for row in trained.window for scored in row.is_scored]
    assert 0.1 < sum(units) / len(units) < 0.9 and loss > 0
    for row in trained.window:
        ids = trained.row_maker.chat.teacher_ids(row.prompt), trained.row_maker.chat.bare_ids(row.prompt)
        seen, bare = (logits(trained.teacher.model, i.prefix + i.rest, row.teacher_completion).log_softmax(-1) for i in ids)
        gain_M = (seen - bare).gather(1, torch.tensor(row.teacher_completion)[:, None])[:, 0]
        expected = [float(gain_M[t0:t1].sum()) for s0, s1, t0, t1 in row.spans for _ in range(s1 - s0 if kind == "tree" else 1)]
        assert row.is_scored == [gain >= nats for gain in expected]


def test_the_teacher_without_its_context_reads_what_the_student_reads():
    made = maker(student_system_prompt="짧게 답하라.")
    for prompt in toys.prompts(4):
        ids = made.chat.bare_ids(prompt)
        assert ids.prefix and ids.prefix + ids.rest == made.chat.student_ids(prompt)
