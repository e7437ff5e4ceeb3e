"""losses/no_teacher: the same negative advantage for every written token."""

import math

import torch

from gold_style.losses.no_teacher import NoTeacher
from tests.losses.test_divergence import random_logits


def test_the_gradient_is_the_policy_gradient_of_advantage_minus_1():
    student, completion_N = random_logits(5, 17, 0).requires_grad_(), torch.tensor([0, 3, 16, 4, 4])
    loss_N = NoTeacher()(student, random_logits(5, 17, 1), completion_N)
    torch.testing.assert_close(loss_N, student.log_softmax(-1)[torch.arange(5), completion_N])
    (grad,) = torch.autograd.grad(loss_N.sum(), student)
    torch.testing.assert_close(grad, torch.eye(17, dtype=torch.float64)[completion_N] - student.detach().softmax(-1))


def test_no_teacher_changes_it_and_on_its_own_tokens_it_pulls_nowhere_on_average():
    student, every = random_logits(1, 17, 0).expand(17, 17).clone().requires_grad_(), torch.arange(17)
    losses = [NoTeacher()(student, random_logits(17, 17, seed), every) for seed in (1, 2)]
    assert torch.equal(*losses)
    (grad,) = torch.autograd.grad((losses[0] * student.detach().softmax(-1).diagonal()).sum(), student)
    assert grad.sum(0).abs().max() < 1e-12


def test_a_token_of_probability_0_has_a_finite_gradient():
    student = torch.tensor([[0.0, -math.inf, 1.0]], dtype=torch.float16, requires_grad=True)
    (grad,) = torch.autograd.grad(NoTeacher()(student, student, torch.tensor([1])).sum(), student)
    assert grad.isfinite().all()
