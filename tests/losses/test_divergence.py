"""losses/divergence: against a definition written apart in float64, masked vocabularies, and TRL's own function."""

import math

import numpy as np
import pytest
import torch
from trl.experimental.gold.gold_trainer import GOLDTrainer

from gold_style.losses.divergence import JSD, entropy, forward_kl, reverse_kl

BETAS = (0.0, 0.1, 0.3, 0.5, 0.9, 1.0)


def random_logits(num_tokens, vocab_size, seed, scale=3.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_tokens, vocab_size, generator=generator, dtype=dtype) * scale


def definition(student_logits, teacher_logits, beta):
    """Sum over the vocabulary of the textbook terms, one Python number at a time."""
    rows = []
    for student_row, teacher_row in zip(student_logits.tolist(), teacher_logits.tolist(), strict=True):
        p, q = (np.exp(np.array(row, dtype=np.longdouble) - max(row)) for row in (student_row, teacher_row))
        p, q = p / p.sum(), q / q.sum()
        if beta == 0:
            rows.append(sum(b * (np.log(b) - np.log(a)) for a, b in zip(p, q, strict=True)))
        elif beta == 1:
            rows.append(sum(a * (np.log(a) - np.log(b)) for a, b in zip(p, q, strict=True)))
        else:
            m = (1 - beta) * p + beta * q
            rows.append(float((beta * q * np.log(q / m)).sum() + ((1 - beta) * p * np.log(p / m)).sum()))
    return torch.tensor([float(row) for row in rows], dtype=torch.float64)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("vocab_size", [2, 17, 300])
def test_value_and_gradient_agree_with_the_definition(beta, vocab_size):
    student = random_logits(5, vocab_size, seed=vocab_size).requires_grad_()
    teacher = random_logits(5, vocab_size, seed=vocab_size + 1)
    weight = torch.linspace(0.1, 1.0, 5, dtype=torch.float64)
    loss_N = JSD(beta=beta)(student, teacher)
    (loss_N * weight).sum().backward()
    torch.testing.assert_close(loss_N.detach(), definition(student.detach(), teacher, beta), rtol=1e-9, atol=1e-12)
    step = 1e-5
    for row, column in ((0, 0), (2, vocab_size // 2), (4, vocab_size - 1)):
        moved = []
        for sign in (1, -1):
            nudged = student.detach().clone()
            nudged[row, column] += sign * step
            moved.append((definition(nudged, teacher, beta) * weight).sum())
        numeric = (moved[0] - moved[1]) / (2 * step)
        assert student.grad[row, column].item() == pytest.approx(numeric.item(), rel=1e-6, abs=1e-9)


def test_small_beta_tends_to_forward_kl_and_large_beta_to_reverse_kl():
    student, teacher = random_logits(4, 30, 0), random_logits(4, 30, 1)
    torch.testing.assert_close(JSD(beta=1e-7)(student, teacher) / 1e-7, forward_kl(student, teacher), rtol=1e-3, atol=0)
    torch.testing.assert_close(JSD(beta=1 - 1e-7)(student, teacher) / 1e-7, reverse_kl(student, teacher), rtol=1e-3, atol=0)


def test_entropy_of_a_uniform_distribution_is_the_logarithm_of_its_size():
    torch.testing.assert_close(entropy(torch.zeros(3, 50)), torch.full((3,), math.log(50)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_half_types_are_reduced_in_fp32_and_float64_is_kept(dtype):
    student, teacher = (random_logits(4, 9, seed).to(dtype) for seed in (0, 1))
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    loss_N = JSD(beta=0.3)(student, teacher)
    assert loss_N.dtype == expected
    exact = JSD(beta=0.3)(student.double(), teacher.double())
    torch.testing.assert_close(loss_N.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_masked_vocabulary_equals_a_smaller_vocabulary(beta):
    student, teacher = random_logits(6, 12, 0), random_logits(6, 12, 1)
    small = student[:, :9].clone().requires_grad_()
    JSD(beta=beta)(small, teacher[:, :9]).sum().backward()
    masked = student.clone()
    masked[:, 9:] = -math.inf
    masked.requires_grad_()
    masked_teacher = teacher.clone()
    masked_teacher[:, 9:] = -math.inf
    loss_N = JSD(beta=beta)(masked, masked_teacher)
    loss_N.sum().backward()
    torch.testing.assert_close(loss_N, JSD(beta=beta)(small, teacher[:, :9]))
    torch.testing.assert_close(masked.grad[:, :9], small.grad)
    assert (masked.grad[:, 9:] == 0).all()


@pytest.mark.parametrize("beta", BETAS)
def test_a_token_masked_on_one_side_gives_numbers(beta):
    student, teacher = random_logits(3, 8, 0).requires_grad_(), random_logits(3, 8, 1)
    for side in ("student", "teacher"):
        mask = torch.zeros(8, dtype=torch.bool)
        mask[2] = True
        arguments = [
            student.masked_fill(mask, -math.inf) if side == "student" else student,
            teacher.masked_fill(mask, -math.inf) if side == "teacher" else teacher,
        ]
        loss_N = JSD(beta=beta)(*arguments)
        (gradient,) = torch.autograd.grad(loss_N.sum(), student)
        assert torch.isfinite(loss_N).all() and (loss_N > 0).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_convention_is_trl_s(beta, temperature):
    """TRL divides both sides' logits by the temperature and multiplies by no T^2: so do we."""
    student, teacher = random_logits(6, 40, 0)[None], random_logits(6, 40, 1)[None]
    labels = torch.tensor([[-100, 3, 4, 5, -100, 6]])
    stock = GOLDTrainer.generalized_jsd_loss(student, teacher, labels, beta=beta, temperature=temperature)
    ours = JSD(beta=beta)(student[0] / temperature, teacher[0] / temperature)
    torch.testing.assert_close(ours[labels[0] != -100].mean(), stock)


def test_stock_clamp_kills_the_forward_kl_gradient_and_ours_keeps_it():
    """UPSTREAM row 17: TRL's matched-token JSD clamps probabilities at 1e-8; an unlikely token then never moves."""
    logits = torch.tensor([[0.0, -30.0]], dtype=torch.float64)  # the student gives 1e-13 to what the teacher is sure of
    teacher = torch.tensor([[-30.0, 0.0]], dtype=torch.float64)
    stock_logits, our_logits = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    GOLDTrainer.generalized_jsd_loss(stock_logits.softmax(-1), teacher.softmax(-1), beta=0.0, logits_are_probs=True).backward()
    forward_kl(our_logits, teacher).sum().backward()
    assert stock_logits.grad[0, 1].abs() < 1e-7
    assert our_logits.grad[0, 1].item() == pytest.approx(-1.0, abs=1e-9)


@pytest.mark.parametrize("beta", [-0.1, 1.2])
def test_beta_is_a_share(beta):
    with pytest.raises(AssertionError):
        JSD(beta=beta)(random_logits(2, 5, 0), random_logits(2, 5, 1))
