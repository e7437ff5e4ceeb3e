"""ULD's sorted L1: how far two sorted lists of probabilities lie apart, whatever token each entry belongs to.

Universal Logit Distillation, https://arxiv.org/abs/2402.12030. Sorting costs more than everything around it, so the
rows are sorted once, as packed (probability, index) integers on a CPU, and a wide vocabulary is sorted only as deep
as a bound demands: beyond the TOP_K largest entries the L1 of the tails lies between |a - b| and a + b, where a and
b are the tails' masses. Rows in which the two differ by more than TAIL_TOLERANCE are sorted completely.

The L1 has a sign gradient, which turns rounding noise into a full-size gradient. Differences that rounding can explain
(relative to the larger entry: ROUNDING) count as zero here, in value and gradient.

    loss_N = sorted_l1(student_logits_NV, teacher_logits_NV)

Shapes: N = rows, V = vocabulary, U and W = a student's and a teacher's probabilities to compare, K = TOP_K.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

TAIL_TOLERANCE = 1e-6  # certified error of a row's L1, which lies in [0, 2]
TOP_K = 4096
# What two ways of computing the same model's probabilities may differ by, relative. fp32: a prefix cache or another
# padding moves logits by up to 2e-5; half types: the logits themselves are rounded to 8 (11) bits of about 16.
ROUNDING = {torch.float64: 2.0**-40, torch.float32: 2.0**-13, torch.float16: 2.0**-7, torch.bfloat16: 2.0**-4}


def sorted_l1(student_logits_NV: Tensor, teacher_logits_NV: Tensor) -> Tensor:
    """Plain ULD of each token, shape (N,), from logits of any two widths. In [0, 2], without a unit."""
    student_NV, teacher_NV = (
        (logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()).softmax(-1)
        for logits_NV in (student_logits_NV, teacher_logits_NV)
    )
    return sorted_l1_of_probs(student_NV, teacher_NV, ROUNDING[student_logits_NV.dtype])


def sorted_l1_of_probs(student_NU: Tensor, teacher_NW: Tensor, rounding: float) -> Tensor:
    """L1 distance of the two sorted rows, the shorter one filled up with zeros, shape (N,). The teacher is constant.

    `rounding` is the relative difference that counts as none: ROUNDING of the logits that the probabilities come from.
    """
    return _SortedL1.apply(student_NU, teacher_NW.detach(), rounding)


class _SortedL1(torch.autograd.Function):
    @staticmethod
    def forward(ctx, student_NU, teacher_NW, rounding):
        if min(student_NU.shape[-1], teacher_NW.shape[-1]) > 4 * TOP_K:
            loss_N, grad_NU, error_N = _top_part(student_NU, teacher_NW, rounding)
            rows = (error_N > TAIL_TOLERANCE).nonzero()[:, 0]
            if rows.numel():
                loss_N[rows], grad_NU[rows] = _whole(student_NU[rows], teacher_NW[rows], rounding)
        else:
            loss_N, grad_NU = _whole(student_NU, teacher_NW, rounding)
        ctx.save_for_backward(grad_NU)
        return loss_N

    @staticmethod
    def backward(ctx, loss_grad_N):
        (grad_NU,) = ctx.saved_tensors
        return grad_NU * loss_grad_N[:, None], None, None


def _differences(larger: Tensor, other: Tensor, rounding: float, floor: float = 0.0) -> Tensor:
    """larger - other, exactly 0 where rounding explains it."""
    difference = larger - other
    return difference.masked_fill_(difference.abs() <= rounding * torch.maximum(larger, other) + floor, 0.0)


def _whole(student_NU: Tensor, teacher_NW: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
    """-> L1 (N,) and its gradient (N, U), from complete sorts."""
    values_NU, order_NU = _sort_with_order(student_NU)
    teacher_NW = _sort(teacher_NW)
    num_student = values_NU.shape[-1]
    paired_NU = pad(teacher_NW, (0, num_student - teacher_NW.shape[-1]))  # with zeros; cut where the teacher's row is longer
    difference_NU = _differences(values_NU, paired_NU, rounding)
    loss_N = difference_NU.abs().sum(-1) + teacher_NW[:, num_student:].sum(-1)
    return loss_N, torch.empty_like(difference_NU).scatter_(-1, order_NU, difference_NU.sign_())


def _top_part(student_NU: Tensor, teacher_NW: Tensor, rounding: float) -> tuple[Tensor, Tensor, Tensor]:
    """-> lower bound of the L1 (N,), its gradient (N, U), and how much larger the L1 can be (N,)."""
    student_top = student_NU.topk(TOP_K, dim=-1)
    teacher_NK = teacher_NW.topk(TOP_K, dim=-1).values
    difference_NK = _differences(student_top.values, teacher_NK, rounding)
    student_total_N, teacher_total_N = student_NU.sum(-1), teacher_NW.sum(-1)
    student_tail_N = (student_total_N - student_top.values.sum(-1)).clamp_min_(0)
    teacher_tail_N = (teacher_total_N - teacher_NK.sum(-1)).clamp_min_(0)
    noise = 16 * torch.finfo(student_NU.dtype).eps  # of a difference between two sums of about 1
    tail_N = _differences(student_tail_N, teacher_tail_N, rounding, noise)
    grad_NU = tail_N.sign()[:, None].expand_as(student_NU).contiguous()
    grad_NU.scatter_(-1, student_top.indices, difference_NK.sign())
    error_N = 2 * torch.minimum(student_tail_N, teacher_tail_N)
    return difference_NK.abs().sum(-1) + tail_N.abs(), grad_NU, error_N


def _packable(probs_NU: Tensor) -> bool:
    return probs_NU.device.type == "cpu" and probs_NU.dtype == torch.float32


def _sort(probs_NU: Tensor) -> Tensor:
    """Each row in descending order. NumPy's vectorised sort takes a tenth of torch's time on a CPU."""
    if not _packable(probs_NU):
        return probs_NU.sort(-1, descending=True).values
    return torch.from_numpy(np.sort(probs_NU.numpy(), axis=-1)[:, ::-1].copy())


def _sort_with_order(probs_NU: Tensor) -> tuple[Tensor, Tensor]:
    """Each row in descending order, and the indices that give it."""
    if not _packable(probs_NU):
        return probs_NU.sort(-1, descending=True)
    # The bits of a non-negative float are ordered as the float is: sort (bits, index) as one 64-bit integer.
    bits_NU = np.ascontiguousarray(probs_NU.detach().numpy()).view(np.uint32).astype(np.uint64)
    packed_NU = (bits_NU << np.uint64(32)) | np.arange(probs_NU.shape[-1], dtype=np.uint64)
    packed_NU.sort(axis=-1)
    packed_NU = packed_NU[:, ::-1]
    values_NU = (packed_NU >> np.uint64(32)).astype(np.uint32).view(np.float32)
    order_NU = (packed_NU & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return torch.from_numpy(values_NU), torch.from_numpy(order_NU)
