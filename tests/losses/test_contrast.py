"""losses/contrast: the teacher extrapolated away from itself without its context, as logits and as hidden states."""

import math

import pytest
import torch

from gold_style.losses.contrast import extrapolated
from gold_style.losses.divergence import JSD
from tests.losses.test_divergence import BETAS, random_logits
from tests.losses.test_fused import reference, run, sides


def powers(teacher, bare, strength):
    """Slow twin: teacher^(1 + strength) / bare^strength, normalised; log-probabilities in float64."""
    q, b = teacher.double().softmax(-1), bare.double().softmax(-1)
    product = q ** (1 + strength) / b**strength
    return (product / product.sum(-1, keepdim=True)).log()


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0, 3.0])
def test_the_distribution_is_the_ratio_of_powers(strength):
    teacher, bare = random_logits(5, 17, 0), random_logits(5, 17, 1)
    torch.testing.assert_close(extrapolated(teacher, bare, strength).log_softmax(-1), powers(teacher, bare, strength))


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_hidden_states_before_a_linear_head_give_the_same_loss_and_gradient(beta, strength):
    hidden, head, teacher_hidden, teacher_head, weight = sides()
    bare_hidden = sides(seed=1)[2]
    got = run(hidden, head, extrapolated(teacher_hidden, bare_hidden, strength), teacher_head, weight, beta)
    leaf, head = hidden.requires_grad_(), head.requires_grad_()
    target = powers(teacher_hidden @ teacher_head.T, bare_hidden @ teacher_head.T, strength)
    loss = (JSD(beta=beta)(leaf @ head.T, target) * weight).sum()
    for ours, twin in zip(got, (loss.detach(), *torch.autograd.grad(loss, (leaf, head))), strict=True):
        torch.testing.assert_close(ours, twin)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_strength_0_and_a_context_that_changes_nothing_are_the_teacher_bit_for_bit(dtype):
    teacher, bare = (random_logits(4, 9, seed).to(dtype) for seed in (0, 1))
    assert torch.equal(extrapolated(teacher, bare, 0.0), teacher)
    assert torch.equal(extrapolated(teacher, teacher.clone(), 2.0), teacher)


@pytest.mark.parametrize("beta", BETAS)
def test_gradients_are_finite_where_probabilities_are_0(beta):
    off = -math.inf
    teacher = torch.tensor([[0.0, 1.0, off, off, 2.0]])
    bare = torch.tensor([[1.0, off, 0.0, off, 1.0]])
    target = extrapolated(teacher, bare, 1.0)
    assert target.tolist() == [[-1.0, 1.0, off, off, 3.0]]
    student = torch.tensor([[0.0, off, 0.0, 1.0, 1.0]], requires_grad=True)
    (grad,) = torch.autograd.grad(JSD(beta=beta)(student, target).sum(), student)
    assert grad.isfinite().all()


def test_a_student_that_is_the_target_has_nothing_to_learn():
    hidden, head, _, _, weight = sides()
    bare_hidden = sides(seed=1)[0]
    target = extrapolated(hidden, bare_hidden, 0.5)
    loss, hidden_grad, _ = run(target, head, target, head, weight, 0.3)
    assert abs(loss.item()) <= 1e-7 and hidden_grad.abs().max() == 0
    assert reference(hidden, head, target, head, weight, 0.3)[0] > 0.01
