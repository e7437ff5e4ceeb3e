"""Projection, log-softmax and divergence chunk by chunk, gradients included: no (N, V) tensor of the window ever exists.

The numbers are those of `divergence.JSD` on `hidden @ head.T`; the gradients with respect to the student's hidden
states and head are formed in the forward pass, while a chunk's logits still lie in the cache, and only scaled in the
backward pass (the idea of fused linear losses, e.g. Liger Kernel, https://arxiv.org/abs/2410.10989).

    loss = fused_jsd(student_hidden_ND, student.lm_head.weight, teacher_hidden_ND, teacher.lm_head.weight,
                     weight_N, beta=0.3, vocab_size=len(tokenizer))

With p, q the student's and the teacher's probabilities, m = (1 - beta) p + beta q and u = log(m / p):
    JSD = beta sum q (log(q / p) - u) - (1 - beta) sum p u,      dJSD/dlogit = (1 - beta) p (sum p u - u).
Both vanish exactly where the two sides' logits are bitwise equal.

Shapes: N = scored tokens, D = hidden size (student's and teacher's differ), V = vocabulary rows of a head,
C = rows of one chunk (one matrix product), K = rows of one block (pointwise work that stays in the cache).
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gold_style.losses.divergence import check_beta

# Measured on one and two CPU threads (512 KiB L2 a core): products want many rows, pointwise work few.
CPU_CHUNK_BYTES = 8 * 2**20
CPU_BLOCK_BYTES = 2**20
GPU_CHUNK_BYTES = 256 * 2**20
STATISTICS = ("forward_kl_N", "reverse_kl_N", "teacher_entropy_N", "student_entropy_N", "top1_agree_N")


def fused_jsd(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_ND: Tensor,
    teacher_head_VD: Tensor,
    weight_N: Tensor,
    beta: float,
    temperature: float = 1.0,
    vocab_size: int | None = None,
    chunk: int | None = None,
    student_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    with_stats: bool = False,
    stats_mask_N: Tensor | None = None,
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """Sum over tokens of weight x JSD(beta) in nats, a scalar; gradients reach the student's side only.

    Only the first `vocab_size` rows of both heads are compared (default: as many as both have), so padded vocabulary
    rows take no part. `temperature` divides both sides' logits. Half-precision inputs are multiplied as they are and
    everything after the product, the head's gradient included, is in fp32; float64 inputs stay float64.
    A head or bias that needs no gradient costs nothing, nor does anything under `torch.no_grad`.

    With `with_stats` a dict of detached (N,) tensors comes second: `loss_N` (unweighted) for every token, and
    forward_kl_N, reverse_kl_N, teacher_entropy_N, student_entropy_N (at this temperature), top1_agree_N (0 or 1)
    for the tokens of the boolean `stats_mask_N` (default: all), NaN elsewhere.
    Raises ValueError for beta outside [0, 1], a temperature <= 0, or a vocab_size that a head does not have.
    """
    check_beta(beta)
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be greater than 0")
    smallest = min(student_head_VD.shape[0], teacher_head_VD.shape[0])
    vocab_size = smallest if vocab_size is None else vocab_size
    if not 0 < vocab_size <= smallest:
        raise ValueError(f"vocab_size={vocab_size}: the narrower head has {smallest} rows (allowed: 1..{smallest})")
    stats = _empty_stats(student_hidden_ND, stats_mask_N) if with_stats else None
    record_grad = torch.is_grad_enabled()
    loss = _FusedJSD.apply(
        student_hidden_ND,
        student_head_VD,
        student_bias,
        teacher_hidden_ND.detach(),
        teacher_head_VD.detach(),
        None if teacher_bias is None else teacher_bias.detach(),
        weight_N.detach(),
        (beta, temperature, vocab_size, chunk, record_grad, stats, stats_mask_N),
    )
    return (loss, stats) if with_stats else loss


def _empty_stats(hidden_ND: Tensor, stats_mask_N: Tensor | None) -> dict[str, Tensor]:
    """Result tensors, NaN where nothing is measured."""
    dtype = _reduction_dtype(hidden_ND.dtype)
    num_tokens = hidden_ND.shape[0]
    assert stats_mask_N is None or stats_mask_N.shape == (num_tokens,)
    names = ("loss_N", *STATISTICS)
    return {name: torch.full((num_tokens,), float("nan"), dtype=dtype, device=hidden_ND.device) for name in names}


def _reduction_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _rows_per(num_bytes: int, vocab_size: int, dtype: torch.dtype) -> int:
    return max(1, num_bytes // (vocab_size * dtype.itemsize))


class _Side:
    """One model's projection: hidden states and head rows, in the dtype the product runs in."""

    def __init__(self, hidden_ND: Tensor, head_VD: Tensor, bias_V: Tensor | None, vocab_size: int, dtype: torch.dtype):
        autocast = torch.is_autocast_enabled(hidden_ND.device.type)
        product_dtype = torch.get_autocast_dtype(hidden_ND.device.type) if autocast else hidden_ND.dtype
        self.hidden_ND = hidden_ND.to(product_dtype)
        self.head_VD = head_VD[:vocab_size].to(product_dtype)  # a copy only where the dtypes differ
        # log 0 as a finite number: a bias of -inf switches a vocabulary row off without an `inf - inf` below
        self.bias_V = None if bias_V is None else bias_V[:vocab_size].to(dtype).clamp_min(-1e4)
        self.dtype = dtype

    def logits(self, start: int, stop: int, temperature: float, out_CV: Tensor) -> Tensor:
        """Logits of tokens [start, stop), in the reduction dtype."""
        hidden_CD = self.hidden_ND[start:stop]
        if hidden_CD.dtype == self.dtype:
            logits_CV = torch.mm(hidden_CD, self.head_VD.t(), out=out_CV[: stop - start])
        else:
            logits_CV = out_CV[: stop - start].copy_(torch.mm(hidden_CD, self.head_VD.t()))
        if self.bias_V is not None:
            logits_CV.add_(self.bias_V)
        if temperature != 1.0:
            logits_CV.div_(temperature)
        return logits_CV


class _FusedJSD(torch.autograd.Function):
    """fused_jsd with its gradients computed in forward. Shapes as in the module's docstring."""

    @staticmethod
    def forward(ctx, student_hidden, student_head, student_bias, teacher_hidden, teacher_head, teacher_bias, weight, options):
        beta, temperature, vocab_size, chunk, record_grad, stats, stats_mask = options
        needs_hidden, needs_head, needs_bias = (needed and record_grad for needed in ctx.needs_input_grad[:3])
        needs_any = needs_hidden or needs_head or needs_bias
        num_tokens, device = student_hidden.shape[0], student_hidden.device
        dtype = _reduction_dtype(student_hidden.dtype)
        on_cpu = device.type == "cpu"
        if chunk is None:
            chunk = _rows_per(CPU_CHUNK_BYTES if on_cpu else GPU_CHUNK_BYTES, vocab_size, dtype)
        chunk = max(1, min(chunk, num_tokens))
        block = min(chunk, _rows_per(CPU_BLOCK_BYTES, vocab_size, dtype)) if on_cpu else chunk
        student = _Side(student_hidden, student_head, student_bias, vocab_size, dtype)
        teacher = _Side(teacher_hidden, teacher_head, teacher_bias, vocab_size, dtype)
        hidden_grad = torch.empty_like(student_hidden) if needs_hidden else None
        head_grad = torch.zeros(student_head.shape, dtype=dtype, device=device) if needs_head else None
        bias_grad = torch.zeros(student_bias.shape, dtype=dtype, device=device) if needs_bias else None
        loss_N = torch.empty(num_tokens, dtype=dtype, device=device) if stats is None else stats["loss_N"]
        buffers = [torch.empty(rows, vocab_size, dtype=dtype, device=device) for rows in (chunk, chunk, block, block)]
        with torch.autocast(device.type, enabled=False):
            for start in range(0, num_tokens, chunk):
                stop = min(start + chunk, num_tokens)
                student_CV = student.logits(start, stop, temperature, buffers[0])
                teacher_CV = teacher.logits(start, stop, temperature, buffers[1])
                if stats is not None:
                    _measure(stats, stats_mask, start, student_CV, teacher_CV)
                for first in range(0, stop - start, block):
                    last = min(first + block, stop - start)
                    loss_N[start + first : start + last] = _divergence_(
                        student_CV[first:last], teacher_CV[first:last], buffers[2][: last - first],
                        buffers[3][: last - first], beta, needs_any,
                    )  # fmt: skip
                if needs_any:
                    scale_C1 = weight[start:stop, None].to(dtype) * (_gradient_scale(beta) / temperature)
                    _accumulate(student, start, stop, student_CV, scale_C1, hidden_grad, head_grad, bias_grad)
            loss = torch.dot(loss_N, weight.to(dtype))
        ctx.grads = hidden_grad, head_grad, bias_grad
        ctx.dtypes = student_head.dtype, None if student_bias is None else student_bias.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, loss_grad):
        if ctx.grads is None:
            raise RuntimeError("fused_jsd frees its gradients in backward: call backward once per forward")
        hidden_grad, head_grad, bias_grad = ctx.grads
        ctx.grads = None
        unscaled = loss_grad.device.type == "cpu" and loss_grad.item() == 1.0  # saves a pass over the head's gradient
        for grad in (hidden_grad, head_grad, bias_grad):
            if grad is not None and not unscaled:
                grad.mul_(loss_grad)
        head_grad = None if head_grad is None else head_grad.to(ctx.dtypes[0])
        bias_grad = None if bias_grad is None else bias_grad.to(ctx.dtypes[1])
        return hidden_grad, head_grad, bias_grad, None, None, None, None, None


def _gradient_scale(beta: float) -> float:
    """Factor that `_divergence_` leaves out of the gradient, to be applied to rows of width D instead of V."""
    if beta == 0:
        return 1.0
    return -1.0 if beta == 1 else beta - 1.0


def _softmax_(logits_KV: Tensor, floor: float | None, out_KV: Tensor) -> tuple[Tensor, Tensor]:
    """Shift logits in place by their maximum; probabilities go to `out_KV`. -> (probabilities, log of the sum, (K, 1))."""
    logits_KV.sub_(logits_KV.amax(-1, keepdim=True))
    if floor is not None:
        logits_KV.clamp_min_(floor)
    probs_KV = torch.exp(logits_KV, out=out_KV)
    sum_K1 = probs_KV.sum(-1, keepdim=True)
    return probs_KV.div_(sum_K1), sum_K1.log_()


def _divergence_(
    student_KV: Tensor, teacher_KV: Tensor, p_KV: Tensor, q_KV: Tensor, beta: float, needs_grad: bool
) -> Tensor:
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


def _accumulate(student, start, stop, grad_CV, scale_C1, hidden_grad, head_grad, bias_grad) -> None:
    """Add one chunk's logit gradient (before the row factors `scale_C1`) to the gradients wanted."""
    dtype, hidden_CD = student.dtype, student.hidden_ND[start:stop]
    if hidden_grad is not None:
        grad_CD = torch.mm(grad_CV.to(student.head_VD.dtype), student.head_VD)
        hidden_grad[start:stop] = grad_CD.to(dtype).mul_(scale_C1)
    if head_grad is not None:  # fp32 product: a sum over thousands of tokens would not survive in half precision
        head_grad[: grad_CV.shape[1]].addmm_(grad_CV.t(), hidden_CD.to(dtype).mul(scale_C1))
    if bias_grad is not None:
        bias_grad[: grad_CV.shape[1]].add_(torch.mv(grad_CV.t(), scale_C1[:, 0]))


def _measure(stats: dict[str, Tensor], stats_mask_N: Tensor | None, start: int, student_CV: Tensor, teacher_CV: Tensor):
    """Fill the costly statistics of this chunk's selected tokens; the logits are read, not changed."""
    rows = slice(None)
    if stats_mask_N is not None:
        rows = stats_mask_N[start : start + student_CV.shape[0]].nonzero()[:, 0]
        if not rows.numel():
            return
    student_NV = torch.log_softmax(student_CV[rows], -1)
    teacher_NV = torch.log_softmax(teacher_CV[rows], -1)
    p_NV, q_NV = student_NV.exp(), teacher_NV.exp()
    values = {
        "forward_kl_N": torch.linalg.vecdot(q_NV, teacher_NV - student_NV),
        "reverse_kl_N": torch.linalg.vecdot(p_NV, student_NV - teacher_NV),
        "teacher_entropy_N": -torch.linalg.vecdot(q_NV, teacher_NV),
        "student_entropy_N": -torch.linalg.vecdot(p_NV, student_NV),
        "top1_agree_N": (student_NV.argmax(-1) == teacher_NV.argmax(-1)).to(student_NV.dtype),
    }
    for name, value_N in values.items():
        chunk_C = stats[name][start : start + student_CV.shape[0]]
        chunk_C[rows] = value_N
