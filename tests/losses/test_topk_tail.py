"""losses/topk_tail: the JSD of k + 1 events, in value and exact gradient; k = V is jsd; what a served teacher tells will do."""

import math
from functools import partial

import pytest
import torch

from gold_style.losses.divergence import JSD
from gold_style.losses.fused import fused_jsd
from gold_style.losses.topk_tail import top_and_tail, with_tail
from tests.losses.test_divergence import BETAS, random_logits
from tests.losses.test_fused import run, sides


def coarse_reference(student_logits, teacher_logits, beta, tail_k):
    """Slow twin: event by event, in float64, with autograd. Shape (N,)."""
    rows = []
    for student_V, teacher_V in zip(student_logits.double().softmax(-1), teacher_logits.double().softmax(-1), strict=True):
        top = teacher_V.argsort(descending=True)[:tail_k].tolist()
        events = [[v] for v in top] + [[v for v in range(len(teacher_V)) if v not in top]]
        pairs = [(sum(student_V[v] for v in event), sum(teacher_V[v] for v in event)) for event in events if event]
        rows.append(sum(term(p, q, beta) for p, q in pairs))
    return torch.stack(rows)


def term(p, q, beta):
    if beta == 0:
        return q * (q.log() - p.log())
    if beta == 1:
        return p * (p.log() - q.log())
    m = (1 - beta) * p + beta * q
    return beta * q * (q / m).log() + (1 - beta) * p * (p / m).log()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("tail_k", [1, 4, 19, 20, 1000])
def test_value_and_gradient_are_those_of_the_coarse_distributions(beta, tail_k):
    student, teacher = random_logits(6, 20, 0).requires_grad_(), random_logits(6, 20, 1)
    expected = coarse_reference(student, teacher, beta, tail_k)
    (expected_grad,) = torch.autograd.grad(expected.sum(), student)
    loss_N = JSD(beta=beta)(student, top_and_tail(student, teacher, tail_k))
    (grad,) = torch.autograd.grad(loss_N.sum(), student)
    torch.testing.assert_close(loss_N, expected)
    torch.testing.assert_close(grad, expected_grad)
    assert (loss_N <= JSD(beta=beta)(student, teacher) + 1e-12).all()  # coarsening never raises a divergence


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_fused_loss_takes_it_chunk_by_chunk(beta, monkeypatch):
    monkeypatch.setattr("gold_style.losses.fused._chunk_and_block", lambda row_bytes, on_gpu, num_tokens: (7, 3))
    hidden, head, teacher_hidden, teacher_head, weight = sides()
    loss, hidden_grad, head_grad = run(
        hidden, head, teacher_hidden, teacher_head, weight, beta, temperature=0.7, target=partial(top_and_tail, tail_k=5)
    )
    hidden, head = hidden.requires_grad_(), head.requires_grad_()
    logits = hidden @ head.T / 0.7, teacher_hidden @ teacher_head.T / 0.7
    expected = (coarse_reference(*logits, beta, 5) * weight).sum()
    torch.testing.assert_close(loss, expected.detach())
    for ours, twin in zip((hidden_grad, head_grad), torch.autograd.grad(expected, (hidden, head)), strict=True):
        torch.testing.assert_close(ours, twin)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("tail_k", [3, 101])
def test_the_whole_vocabulary_is_jsd_and_equal_sides_give_exactly_nothing(beta, tail_k):
    inputs, target = sides(dtype=torch.float32), partial(top_and_tail, tail_k=tail_k)
    if tail_k == 101:
        for ours, plain in zip(run(*inputs, beta, target=target), run(*inputs, beta), strict=True):
            assert torch.equal(ours, plain)
    hidden, head, _, _, weight = inputs
    loss, hidden_grad, head_grad = run(hidden, head, hidden, head, weight, beta, target=target)
    assert abs(loss.item()) <= 1e-7 and hidden_grad.abs().max() == 0 and head_grad.abs().max() == 0


@pytest.mark.parametrize("beta", BETAS)
def test_log_probabilities_of_a_served_teacher_will_do(beta):
    student, teacher = random_logits(6, 20, 0), random_logits(6, 20, 1)
    top_NK, ids_NK = teacher.log_softmax(-1).topk(4)
    served = JSD(beta=beta)(student, with_tail(student, ids_NK, top_NK))
    torch.testing.assert_close(served, coarse_reference(student, teacher, beta, 4))
    # rounded to float32 a tail may vanish or be negative: a reverse KL sees its probability as a rounding error, not as 0
    sure = torch.tensor([[30.0, 0.0, 0.0, 0.0]])
    top_NK, ids_NK = sure.log_softmax(-1).topk(1)
    assert with_tail(torch.zeros(1, 4), ids_NK, top_NK + 1e-7)[0, 1:].exp().sum() == pytest.approx(2**-23, rel=1e-4)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_are_finite_where_probabilities_are_0(beta, dtype):
    """On either side, of single tokens and of a whole tail, from logits and from hidden states."""
    off = -math.inf
    student = torch.tensor(
        [[0.0, 1.0, off, off, 2.0], [3.0, 1.0, off, off, off], [0.0, 1.0, 2.0, 3.0, 4.0]], dtype=dtype, requires_grad=True
    )
    teacher = torch.tensor([[2.0, 1.0, 0.0, off, off], [3.0, 1.0, 0.0, 0.0, 0.0], [1.0, 2.0, off, off, off]], dtype=dtype)
    loss_N = JSD(beta=beta)(student, top_and_tail(student, teacher, 2))
    assert loss_N.dtype == torch.float32 and loss_N.isfinite().all()
    assert torch.autograd.grad(loss_N.sum(), student)[0].isfinite().all()
    hidden, head, teacher_hidden, teacher_head, weight = (tensor.to(dtype) for tensor in sides(vocab_size=20))
    bias = torch.zeros(20)
    bias[5:] = off
    grads = run(
        hidden,
        head,
        teacher_hidden,
        teacher_head,
        weight.float(),
        beta,
        target=partial(top_and_tail, tail_k=6),
        student_bias=bias,
        teacher_bias=-bias.nan_to_num(),
    )
    assert all(value.isfinite().all() for value in grads)


def test_statistics_are_of_the_whole_teacher():
    inputs = sides()
    whole, coarse = (fused_jsd(*inputs, 0.3, target=target)[1] for target in (None, partial(top_and_tail, tail_k=2)))
    assert (coarse["loss_N"] < whole["loss_N"]).all()
    assert all(torch.equal(coarse[name], whole[name]) for name in whole if name != "loss_N")
