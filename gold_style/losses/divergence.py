"""Token-level divergences between a teacher's and a student's next-token distribution.

Generalised Jensen-Shannon, eq. 1 of GKD (https://arxiv.org/abs/2306.13649), with TRL's `beta`:
0 is forward KL(teacher || student), 1 is reverse KL(student || teacher); there is no T^2 factor.
This is the readable reference; `fused.py` gives the same numbers without an (N, V) tensor of the window.

    divergence_N = JSD(beta=0.3)(student_logits_NV, teacher_logits_NV)

Shapes: N = scored tokens, V = shared vocabulary. Unit of every result: nats.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MASKED_LOGPROB = -1e4  # instead of log 0: exp() of it is exactly 0 in every dtype, and differences stay finite


def log_probs(logits_NV: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities in at least fp32, shape (N, V); float64 stays float64.

    A vocabulary row switched off with a logit of -inf gets MASKED_LOGPROB: probability exactly 0, gradient exactly 0,
    and no `inf - inf` later. Every finite logit keeps its exact log-probability, however small.
    """
    if logits_NV.dtype in (torch.float16, torch.bfloat16):
        logits_NV = logits_NV.float()
    if temperature != 1.0:
        logits_NV = logits_NV / temperature
    logprobs_NV = F.log_softmax(logits_NV, dim=-1)
    return logprobs_NV.masked_fill(logprobs_NV == -math.inf, MASKED_LOGPROB)


def kl(p_NV: Tensor, q_NV: Tensor) -> Tensor:
    """KL(p || q) of each row in nats, shape (N,), from log-probabilities."""
    return (p_NV.exp() * (p_NV - q_NV)).sum(-1)


def forward_kl(student_logits_NV: Tensor, teacher_logits_NV: Tensor) -> Tensor:
    """KL(teacher || student) of each token in nats, shape (N,)."""
    return kl(log_probs(teacher_logits_NV), log_probs(student_logits_NV))


def reverse_kl(student_logits_NV: Tensor, teacher_logits_NV: Tensor) -> Tensor:
    """KL(student || teacher) of each token in nats, shape (N,)."""
    return kl(log_probs(student_logits_NV), log_probs(teacher_logits_NV))


def entropy(logits_NV: Tensor) -> Tensor:
    """Entropy of each token's distribution in nats, shape (N,)."""
    logprobs_NV = log_probs(logits_NV)
    return -(logprobs_NV.exp() * logprobs_NV).sum(-1)


def jsd_of_logprobs(student_NV: Tensor, teacher_NV: Tensor, beta: float) -> Tensor:
    """Generalised JSD of each row in nats, shape (N,), from log-probabilities (rows need not sum to 1)."""
    assert 0 <= beta <= 1, beta
    if beta == 0:  # JSD vanishes at both ends; KL is the limit of JSD / beta, JSD / (1 - beta)
        return kl(teacher_NV, student_NV)
    if beta == 1:
        return kl(student_NV, teacher_NV)
    mixture_NV = torch.logaddexp(student_NV + math.log1p(-beta), teacher_NV + math.log(beta))
    return beta * kl(teacher_NV, mixture_NV) + (1 - beta) * kl(student_NV, mixture_NV)


@dataclass(frozen=True, kw_only=True)
class JSD:
    """Generalised Jensen-Shannon divergence of each token, for `beta` in [0, 1]."""

    beta: float = 0.5

    def __call__(self, student_logits_NV: Tensor, teacher_logits_NV: Tensor) -> Tensor:
        """Divergence of each token in nats, shape (N,). The caller masks, sums and normalises."""
        return jsd_of_logprobs(log_probs(student_logits_NV), log_probs(teacher_logits_NV), self.beta)
