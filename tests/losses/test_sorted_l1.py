"""losses/sorted_l1: ULD's distance against a loop, its certified shortcut, and silence below rounding."""

import pytest
import torch
from trl.experimental.gold import GOLDConfig
from trl.experimental.gold.gold_trainer import ULDLoss

from gold_style.losses.sorted_l1 import TAIL_TOLERANCE, _top_part, sorted_l1, sorted_l1_of_probs


def logits(num_rows, width, seed, dtype=torch.float64, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(num_rows, width, generator=generator, dtype=torch.float64) * scale).to(dtype)


def slow(student_row, teacher_row):
    """One row, one pair at a time, differentiable."""
    student, teacher = sorted(student_row.softmax(-1), reverse=True), sorted(teacher_row.softmax(-1), reverse=True)
    zero = student_row.new_zeros(())
    width = max(len(student), len(teacher))
    student, teacher = (side + [zero] * (width - len(side)) for side in (student, teacher))
    return sum(abs(a - b) for a, b in zip(student, teacher, strict=True))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 2e-6)])
@pytest.mark.parametrize("widths", [(7, 7), (5, 9), (9, 5), (1, 3)])
def test_value_and_gradient_are_the_loop_s(dtype, tolerance, widths):
    student, teacher = logits(4, widths[0], 0, dtype), logits(4, widths[1], 1, dtype)
    student.requires_grad_()
    loss_N = sorted_l1(student, teacher)
    (gradient,) = torch.autograd.grad((loss_N * torch.arange(1, 5)).sum(), student)
    expected = torch.stack([slow(*rows) for rows in zip(student, teacher, strict=True)])
    (expected_gradient,) = torch.autograd.grad((expected * torch.arange(1, 5)).sum(), student)
    torch.testing.assert_close(loss_N, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient, expected_gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [12.0, 3.0, 0.5])
def test_the_shortcut_stays_within_its_bound(dtype, scale, monkeypatch):
    """Peaked rows are settled by the top 64 of 700, flat ones fall back on the complete sort; both must be right."""
    student, teacher = logits(30, 700, 0, dtype, scale), logits(30, 800, 1, dtype, scale)
    student[:3], teacher[:3] = logits(3, 700, 3, dtype, 40.0), logits(3, 800, 4, dtype, 40.0)
    results = []
    for top_k in (64, 10**6):
        monkeypatch.setattr("gold_style.losses.sorted_l1.TOP_K", top_k)
        leaf = student.clone().requires_grad_()
        loss_N = sorted_l1(leaf, teacher)
        loss_N.sum().backward()
        results.append((loss_N.detach(), leaf.grad))
    assert ((results[0][0] - results[1][0]).abs() <= TAIL_TOLERANCE + 1e-6 * (dtype == torch.float32)).all()
    assert ((results[0][1] - results[1][1]).abs().sum(-1) <= 4 * TAIL_TOLERANCE).all()


def test_peaked_rows_take_the_shortcut_and_flat_rows_do_not(monkeypatch):
    monkeypatch.setattr("gold_style.losses.sorted_l1.TOP_K", 64)
    peaked, flat = (logits(2, 700, 0, scale=scale).softmax(-1) for scale in (40.0, 0.5))
    assert (_top_part(peaked, peaked.flip(0), 0.0)[2] <= TAIL_TOLERANCE).all()
    assert (_top_part(flat, flat.flip(0), 0.0)[2] > TAIL_TOLERANCE).all()


@pytest.mark.parametrize("dtype, noise", [(torch.float64, 1e-14), (torch.float32, 2e-5)])
@pytest.mark.parametrize("top_k", [50, 4096])
def test_a_difference_below_rounding_is_no_loss_where_stock_has_a_full_gradient(dtype, noise, top_k, tmp_path, monkeypatch):
    """UPSTREAM row 24: the same teacher under another padding. The stock gradient is noise of full size."""
    monkeypatch.setattr("gold_style.losses.sorted_l1.TOP_K", top_k)
    teacher = logits(6, 300, 0, dtype)
    nudge = (logits(6, 300, 1, scale=1.0).clamp(-2, 2) / 2 * noise).to(dtype)
    ours, stock = (teacher + nudge).requires_grad_(), (teacher + nudge).requires_grad_()
    loss_N = sorted_l1(ours, teacher)
    loss_N.sum().backward()
    assert loss_N.max() <= 1e-7 and (ours.grad == 0).all()

    config = GOLDConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        use_uld_loss=True,
        use_extended_uld=False,
        uld_token_merge_strategy="bayesian",
        uld_skip_student_eos=False,
        uld_skip_teacher_eos=False,
        uld_use_hybrid_loss=False,
    )
    ids, labels = torch.zeros(1, 7, dtype=torch.long), torch.tensor([[-100, 1, 1, 1, 1, 1, 1]])
    padding = torch.zeros(1, 1, 300, dtype=dtype)  # the logits of the last position predict nothing
    sides = torch.cat([stock[None], padding], 1), torch.cat([teacher[None], padding], 1)
    ULDLoss(config, device="cpu")(*sides, labels, labels, ids, ids).backward()
    other = logits(6, 300, 2, dtype).requires_grad_()
    sorted_l1(other, teacher).sum().backward()
    assert stock.grad.norm() * 6 > 0.05 * other.grad.norm()  # stock's is a mean over the 6 tokens, ours a sum


def test_equal_rows_give_exactly_nothing():
    student = logits(5, 40, 0, torch.float32).requires_grad_()
    loss_N = sorted_l1(student, student.detach().clone())
    loss_N.sum().backward()
    assert (loss_N == 0).all() and (student.grad == 0).all()


def test_probabilities_that_do_not_sum_to_one_are_compared_as_they_are():
    student = torch.tensor([[0.2, 0.0, 0.1]], dtype=torch.float64)
    teacher = torch.tensor([[0.05, 0.4]], dtype=torch.float64)
    assert sorted_l1_of_probs(student, teacher, rounding=0.0).item() == pytest.approx(0.2 + 0.05)
