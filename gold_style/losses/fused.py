"""Projection, log-softmax and divergence chunk by chunk with their gradients: no (N, V) tensor of the window exists.

The numbers are those of `divergence.JSD` on `hidden @ head.T`; the gradients with respect to the student's hidden
states and head are formed in the forward pass, while a chunk's logits are still in the cache, and only scaled in the
backward pass (the idea of fused linear losses, e.g. Liger Kernel, https://arxiv.org/abs/2410.10989).

    loss, stats = fused_jsd(student_hidden_ND, student.lm_head.weight, teacher_hidden_ND, teacher.lm_head.weight,
                            weight_N, beta=0.3, vocab_size=len(tokenizer))

With p, q the student's and the teacher's probabilities, m = (1 - beta) p + beta q and u = log(m / p):
    JSD = beta sum q (log(q / p) - u) - (1 - beta) sum p u,      dJSD/dlogit = (1 - beta) p (sum p u - u).
Both vanish exactly where the two sides' logits are bitwise equal.

Shapes: N = scored tokens, D = hidden size (student's and teacher's differ), V = vocabulary rows of a head,
C = rows of one chunk (one matrix product), K = rows of one block (pointwise work that stays in the cache).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gold_style.losses.divergence import MASKED_LOGPROB

# Measured on one and two CPU threads (512 KiB L2 a core): products want many rows, pointwise work few.
CPU_CHUNK_BYTES = 8 * 2**20
CPU_BLOCK_BYTES = 2**20
MIN_CHUNK = 128  # with fewer rows, products with the head wait for memory: 15 % of this loss at 49,152 tokens
GPU_CHUNK_BYTES = 256 * 2**20
HEAD_ROWS = 16_384  # of a half-precision head that are multiplied at a time: their products or casts in fp32 are on top
Target = Callable[[Tensor, Tensor], Tensor]
STATISTICS = ("loss_N", "forward_kl_N", "reverse_kl_N", "teacher_entropy_N", "student_entropy_N", "top1_agree_N")


def fused_jsd(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_ND: Tensor,
    teacher_head_VD: Tensor | None,
    weight_N: Tensor,
    beta: float,
    temperature: float = 1.0,
    vocab_size: int | None = None,
    student_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    stats_mask_N: Tensor | None = None,
    target: Target | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """-> (sum over tokens of weight x JSD(beta) in nats, a scalar; statistics). Gradients reach the student's side only.

    Only the first `vocab_size` rows of both heads are compared (default: as many as both have), so padded vocabulary
    rows take no part. `temperature` divides both sides' logits, as TRL's `generalized_jsd_loss` does, without a T^2
    factor. Products of half-precision inputs are summed and returned in fp32, and everything after them, the head's gradient
    included, is in fp32; float64 inputs stay float64. A head or bias that needs no gradient costs nothing, nor does
    anything under `torch.no_grad`. `target` changes the teacher's logits of a chunk, given the student's, which are constant for the
    gradient; the statistics are those of the teacher itself. Without a teacher's head `target` makes logits of `teacher_hidden_ND`, and
    of the statistics there are those of the student.

    The statistics are detached (N,) tensors: `loss_N` (unweighted) for every token, and forward_kl_N, reverse_kl_N,
    teacher_entropy_N, student_entropy_N (at this temperature), top1_agree_N (0 or 1) for the tokens of the boolean
    `stats_mask_N` (default: all), NaN elsewhere.
    """
    assert 0 <= beta <= 1 and temperature > 0, (beta, temperature)
    narrower = min(head.shape[0] for head in (student_head_VD, teacher_head_VD) if head is not None)
    vocab_size = narrower if vocab_size is None else vocab_size
    assert 0 < vocab_size <= narrower, f"vocab_size={vocab_size}: the narrower head has {narrower} rows"
    num_tokens, dtype = student_hidden_ND.shape[0], _reduction_dtype(student_hidden_ND.dtype)
    if stats_mask_N is None:
        stats_mask_N = student_hidden_ND.new_ones(num_tokens, dtype=torch.bool)
    assert stats_mask_N.shape == (num_tokens,)
    names = STATISTICS if teacher_head_VD is not None else ("loss_N", "student_entropy_N")
    stats = {name: student_hidden_ND.new_full((num_tokens,), float("nan"), dtype=dtype) for name in names}
    loss = _FusedJSD.apply(
        student_hidden_ND,
        student_head_VD,
        student_bias,
        teacher_hidden_ND.detach(),
        None if teacher_head_VD is None else teacher_head_VD.detach(),
        None if teacher_bias is None else teacher_bias.detach(),
        weight_N.detach(),
        _Options(beta, temperature, vocab_size, torch.is_grad_enabled(), stats, stats_mask_N, target),
    )
    return loss, stats


def _reduction_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True)
class _Options:
    """What `_FusedJSD` needs beside tensors of the graph."""

    beta: float
    temperature: float
    vocab_size: int
    record_grad: bool
    stats: dict[str, Tensor]
    stats_mask_N: Tensor
    target: Target | None


def _chunk_and_block(row_bytes: int, on_gpu: bool, num_tokens: int) -> tuple[int, int]:
    """Tokens of a chunk and of a block."""
    chunk = max(1, min(max((GPU_CHUNK_BYTES if on_gpu else CPU_CHUNK_BYTES) // row_bytes, MIN_CHUNK), num_tokens))
    return chunk, chunk if on_gpu else min(chunk, max(1, CPU_BLOCK_BYTES // row_bytes))


def _rows(like: Tensor, num_rows: int, vocab_size: int, dtype: torch.dtype) -> Tensor:
    """An empty (rows, V) tensor, each row on other cache lines than the one before: products write it up to 1.4 times as fast."""
    width = -(-vocab_size // 16) * 16
    width += 16 * (width % 1024 == 0)
    return like.new_empty(num_rows, width, dtype=dtype)[:, :vocab_size]


def fp32_product(left_MK: Tensor, right_KN: Tensor) -> Tensor:
    """The product of half-precision matrices, not rounded to their dtype: nearly equal sides would seem a quarter further apart."""
    if left_MK.is_cuda:
        return torch.mm(left_MK, right_KN, out_dtype=torch.float32)
    return torch.mm(left_MK.float(), right_KN.float())


class _Side:
    """One model's projection: hidden states and head rows, in the dtype the product runs in."""

    def __init__(self, hidden_ND: Tensor, head_VD: Tensor, bias_V: Tensor | None, vocab_size: int, dtype: torch.dtype):
        autocast = torch.is_autocast_enabled(hidden_ND.device.type)
        product_dtype = torch.get_autocast_dtype(hidden_ND.device.type) if autocast else hidden_ND.dtype
        self.hidden_ND = hidden_ND.to(product_dtype)
        self.head_VD = head_VD[:vocab_size].to(product_dtype)  # a copy only where the dtypes differ
        # log 0 as a finite number: a bias of -inf switches a vocabulary row off without an `inf - inf` below
        self.bias_V = None if bias_V is None else bias_V[:vocab_size].to(dtype).clamp_min(MASKED_LOGPROB)
        self.dtype = dtype

    def logits(self, start: int, stop: int, temperature: float, out_CV: Tensor) -> Tensor:
        """Logits of tokens [start, stop), in the reduction dtype."""
        hidden_CD, logits_CV = self.hidden_ND[start:stop], out_CV[: stop - start]
        if hidden_CD.dtype == self.dtype:
            torch.mm(hidden_CD, self.head_VD.t(), out=logits_CV)
        else:
            for logits, head in zip(logits_CV.split(HEAD_ROWS, 1), self.head_VD.split(HEAD_ROWS), strict=True):
                logits.copy_(fp32_product(hidden_CD, head.t()))
        if self.bias_V is not None:
            logits_CV.add_(self.bias_V)
        if temperature != 1.0:
            logits_CV.div_(temperature)
        return logits_CV


class _Gradients:
    """Gradients of the student's hidden states, head and bias, filled chunk by chunk; None where not wanted."""

    def __init__(self, student: _Side, head_VD: Tensor, bias_V: Tensor | None, hidden_ND: Tensor, wanted: list[bool]):
        self.student, self.needed = student, any(wanted)
        # not in float16 before backward has multiplied it by the loss scale: small entries would vanish
        self.hidden_ND = torch.empty_like(hidden_ND, dtype=student.dtype) if wanted[0] else None
        self.head_VD = torch.zeros_like(head_VD, dtype=student.dtype) if wanted[1] else None
        self.bias_V = None if bias_V is None or not wanted[2] else torch.zeros_like(bias_V, dtype=student.dtype)

    def add(self, start: int, stop: int, logits_grad_CV: Tensor, scale_C1: Tensor) -> None:
        """Add tokens [start, stop): their logits' gradient is `scale_C1 * logits_grad_CV`."""
        student, vocab_size = self.student, logits_grad_CV.shape[1]
        # a bfloat16 product is wanted for its speed on an accelerator; on a CPU fp32 is faster and exact, and of float16
        # hidden states small entries, multiplied by a weight of one in thousands, would vanish
        half = logits_grad_CV.is_cuda and student.hidden_ND.dtype == torch.bfloat16
        if self.hidden_ND is not None:
            if student.head_VD.dtype == student.dtype:
                grad_CD = torch.mm(logits_grad_CV, student.head_VD)
            else:
                parts = zip(logits_grad_CV.split(HEAD_ROWS, 1), student.head_VD.split(HEAD_ROWS), strict=True)
                grad_CD = torch.zeros_like(student.hidden_ND[start:stop], dtype=student.dtype)
                for grad, head in parts:
                    grad_CD += fp32_product(grad.to(head.dtype), head)
            self.hidden_ND[start:stop] = grad_CD.mul_(scale_C1)
        if self.head_VD is not None:
            hidden_CD = student.hidden_ND[start:stop].to(student.dtype).mul(scale_C1)
            rows_VD = self.head_VD[:vocab_size]
            if half:
                for rows, grad in zip(rows_VD.split(HEAD_ROWS), logits_grad_CV.split(HEAD_ROWS, 1), strict=True):
                    rows += fp32_product(grad.t().to(student.head_VD.dtype), hidden_CD.to(student.head_VD.dtype))
            else:
                rows_VD.addmm_(logits_grad_CV.t(), hidden_CD)
        if self.bias_V is not None:
            self.bias_V[:vocab_size].addmv_(logits_grad_CV.t(), scale_C1[:, 0])


class _FusedJSD(torch.autograd.Function):
    """fused_jsd with its gradients computed in forward. Shapes as in the module's docstring."""

    @staticmethod
    def forward(ctx, hidden_ND, head_VD, bias_V, teacher_hidden_ND, teacher_head_VD, teacher_bias_V, weight_N, options):
        dtype, num_tokens, temperature = _reduction_dtype(hidden_ND.dtype), hidden_ND.shape[0], options.temperature
        student = _Side(hidden_ND, head_VD, bias_V, options.vocab_size, dtype)
        has_head, target = teacher_head_VD is not None, options.target
        teacher = _Side(teacher_hidden_ND, teacher_head_VD, teacher_bias_V, options.vocab_size, dtype) if has_head else None
        wanted = [needed and options.record_grad for needed in ctx.needs_input_grad[:3]]
        grads = _Gradients(student, head_VD, bias_V, hidden_ND, wanted)
        chunk, block = _chunk_and_block(options.vocab_size * dtype.itemsize, hidden_ND.is_cuda, num_tokens)
        buffers = [_rows(hidden_ND, rows, options.vocab_size, dtype) for rows in (chunk, chunk, block, block)]
        loss_N, weight_N = options.stats["loss_N"], weight_N.to(dtype)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            for start in range(0, num_tokens, chunk):
                stop = min(start + chunk, num_tokens)
                student_CV = student.logits(start, stop, temperature, buffers[0])
                told = teacher_hidden_ND[start:stop]
                teacher_CV = teacher.logits(start, stop, temperature, buffers[1]) if teacher else target(student_CV, told)
                _measure(options.stats, options.stats_mask_N, start, student_CV, teacher_CV)
                if teacher and target is not None:
                    teacher_CV = target(student_CV, teacher_CV)
                loss_C = loss_N[start:stop]
                for first in range(0, stop - start, block):
                    rows = slice(first, min(first + block, stop - start))
                    p_KV, q_KV = (buffer[: rows.stop - first] for buffer in buffers[2:])
                    loss_C[rows] = _divergence_(student_CV[rows], teacher_CV[rows], p_KV, q_KV, options.beta, grads.needed)
                if grads.needed:
                    scale_C1 = weight_N[start:stop, None] * (_gradient_scale(options.beta) / temperature)
                    grads.add(start, stop, student_CV, scale_C1)
            loss = torch.dot(loss_N, weight_N)
        ctx.grads = grads.hidden_ND, grads.head_VD, grads.bias_V
        ctx.dtypes = hidden_ND.dtype, head_VD.dtype, None if bias_V is None else bias_V.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, loss_grad):
        if ctx.grads is None:
            raise RuntimeError("fused_jsd frees its gradients in backward: call backward once per forward")
        grads, ctx.grads = ctx.grads, None
        if loss_grad.is_cuda or loss_grad.item() != 1.0:  # on a CPU the look saves a pass over the head's gradient
            for grad in grads:
                if grad is not None:
                    grad.mul_(loss_grad)
        cast = (None if grad is None else grad.to(dtype) for grad, dtype in zip(grads, ctx.dtypes, strict=True))
        return *cast, None, None, None, None, None


def _gradient_scale(beta: float) -> float:
    """Factor that `_divergence_` leaves out of the gradient, to be applied to rows of width D instead of V."""
    if beta == 0:
        return 1.0
    return -1.0 if beta == 1 else beta - 1.0


def _softmax_(logits_KV: Tensor, floor: float | None, out_KV: Tensor) -> tuple[Tensor, Tensor]:
    """Shift logits in place by their maximum -> (probabilities in `out_KV`, log of their former sum, (K, 1))."""
    logits_KV.sub_(logits_KV.amax(-1, keepdim=True))
    if floor is not None:
        logits_KV.clamp_min_(floor)
    probs_KV = torch.exp(logits_KV, out=out_KV)
    sum_K1 = probs_KV.sum(-1, keepdim=True)
    return probs_KV.div_(sum_K1), sum_K1.log_()


def _divergence_(student_KV: Tensor, teacher_KV: Tensor, p_KV: Tensor, q_KV: Tensor, beta: float, needs_grad: bool) -> Tensor:
    """Divergence of each row, (K,). Destroys both logits: `student_KV` then holds gradient / _gradient_scale."""
    inner = 0 < beta < 1
    # Below exp(floor) a probability adds nothing to an inner JSD, but log(m / p) must stay finite.
    floor = (-600.0 if student_KV.dtype == torch.float64 else -70.0) if inner else None
    p_KV, student_lse_K1 = _softmax_(student_KV, floor, p_KV)
    q_KV, teacher_lse_K1 = _softmax_(teacher_KV, floor, q_KV)
    shift_K = (student_lse_K1 - teacher_lse_K1)[:, 0]
    if not inner:
        log_ratio_KV = teacher_KV.sub_(student_KV)  # log(q / p) up to `shift_K`
        if beta == 0:
            divergence_K = torch.linalg.vecdot(q_KV, log_ratio_KV) + shift_K
            if needs_grad:
                torch.sub(p_KV, q_KV, out=student_KV)
            return divergence_K
        mean_K = torch.linalg.vecdot(p_KV, log_ratio_KV)
        if needs_grad:
            torch.mul(log_ratio_KV.sub_(mean_K[:, None]), p_KV, out=student_KV)
        return -(mean_K + shift_K)
    log_ratio_KV = teacher_KV.sub_(student_KV)
    u_KV = torch.lerp(p_KV, q_KV, beta, out=student_KV).div_(p_KV).log_()
    mean_K = torch.linalg.vecdot(p_KV, u_KV)
    kl_teacher_K = torch.linalg.vecdot(q_KV, log_ratio_KV.sub_(u_KV)) + shift_K
    if needs_grad:
        u_KV.sub_(mean_K[:, None]).mul_(p_KV)
    return beta * kl_teacher_K - (1 - beta) * mean_K


def _measure(stats: dict[str, Tensor], stats_mask_N: Tensor, start: int, student_CV: Tensor, teacher_CV: Tensor) -> None:
    """Fill the costly statistics of this chunk's selected tokens; the logits are read, not changed."""
    rows = stats_mask_N[start : start + len(student_CV)].nonzero()[:, 0]
    if not len(rows):
        return
    logprobs_N2V = torch.stack([student_CV[rows], teacher_CV[rows]], 1)
    largest_N2, top1_N2 = logprobs_N2V.max(-1)
    logprobs_N2V.sub_(largest_N2[..., None])
    probs_N2V = logprobs_N2V.exp()
    total_N21 = probs_N2V.sum(-1, keepdim=True)
    probs_N2V.div_(total_N21)
    logprobs_N2V.sub_(total_N21.log_())
    # one product for what four weighted sums would cost: p log p, p log q; q log p, q log q
    sums_N22 = torch.bmm(probs_N2V, logprobs_N2V.transpose(1, 2))
    values = {
        "forward_kl_N": (sums_N22[:, 1, 1] - sums_N22[:, 1, 0]).clamp_min(0.0),
        "reverse_kl_N": (sums_N22[:, 0, 0] - sums_N22[:, 0, 1]).clamp_min(0.0),
        "teacher_entropy_N": -sums_N22[:, 1, 1],
        "student_entropy_N": -sums_N22[:, 0, 0],
        "top1_agree_N": (top1_N2[:, 0] == top1_N2[:, 1]).to(logprobs_N2V.dtype),
    }
    for name in stats.keys() & values.keys():
        stats[name][start + rows] = values[name]
