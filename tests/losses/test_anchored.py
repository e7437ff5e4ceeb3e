"""losses/anchored: divergence plus weighted KL to the start, fused as its readable twin; weight 0 is jsd."""

import math

import pytest
import torch

from gold_style.losses.anchored import Anchored
from gold_style.losses.divergence import JSD, reverse_kl
from gold_style.losses.fused import fused_jsd
from tests.losses.test_divergence import BETAS, random_logits
from tests.losses.test_fused import sides


def gradients(loss, *leaves):
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_the_fused_loss_is_its_readable_twin_in_value_and_gradient(beta, weight):
    hidden, head, teacher_hidden, teacher_head, weight_N = sides()
    start_hidden, start_head, *_ = sides(seed=3)
    bias = torch.linspace(-1, 1, 101, dtype=torch.float64)
    leaves = hidden.requires_grad_(), head.requires_grad_()
    start = (start_hidden, start_head, bias)
    fused, stats = Anchored(beta=beta, weight=weight).fused(*leaves, teacher_hidden, teacher_head, weight_N, start=start, temperature=0.7)
    student, teacher, anchor = hidden @ head.T / 0.7, teacher_hidden @ teacher_head.T / 0.7, (start_hidden @ start_head.T + bias) / 0.7
    twin_N = JSD(beta=beta)(student, teacher) + weight * reverse_kl(student, anchor)
    for ours, expected in zip(gradients(fused, *leaves), gradients((twin_N * weight_N).sum(), *leaves), strict=True):
        torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(stats["loss_N"], twin_N.detach())
    torch.testing.assert_close(stats["start_kl_N"], reverse_kl(student, anchor).detach())
    torch.testing.assert_close(Anchored(beta=beta, weight=weight)(student, teacher, anchor), twin_N)


@pytest.mark.parametrize("beta", BETAS)
def test_without_start_it_is_jsd_bit_for_bit_and_equal_sides_give_nothing(beta):
    hidden, head, *rest, weight_N = sides(dtype=torch.float32)
    leaves = hidden.requires_grad_(), head.requires_grad_()
    loss = Anchored(beta=beta, weight=0.0)
    plain = gradients(fused_jsd(*leaves, *rest, weight_N, beta)[0], *leaves)
    assert all(torch.equal(a, b) for a, b in zip(gradients(loss.fused(*leaves, *rest, weight_N)[0], *leaves), plain, strict=True))
    own = hidden.detach(), head.detach()
    nothing = gradients(Anchored(beta=beta, weight=0.5).fused(*leaves, *own, weight_N, start=(*own, None))[0], *leaves)
    assert abs(nothing[0]) <= 1e-7 and nothing[1].abs().max() == 0 and nothing[2].abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_are_finite_where_the_start_or_the_student_gives_0(dtype):
    hidden, head, teacher_hidden, teacher_head, weight_N = (tensor.to(dtype) for tensor in sides(vocab_size=20))
    off = torch.zeros(20)
    off[5:9] = -math.inf
    leaves = hidden.requires_grad_(), head.requires_grad_()
    for student_bias, start_bias in ((None, off), (off, None)):
        loss, _ = Anchored(beta=0.3, weight=0.5).fused(
            *leaves,
            teacher_hidden,
            teacher_head,
            weight_N.float(),
            start=(hidden.detach(), head.detach(), start_bias),
            student_bias=student_bias,
        )
        assert all(value.isfinite().all() for value in gradients(loss, *leaves))
    student = random_logits(4, 9, 0).requires_grad_()
    start = random_logits(4, 9, 1).masked_fill(torch.arange(9) < 2, -math.inf)
    loss_N = Anchored(beta=0.3, weight=0.5)(student, random_logits(4, 9, 2), start)
    assert all(value.isfinite().all() for value in gradients(loss_N.sum(), student))
