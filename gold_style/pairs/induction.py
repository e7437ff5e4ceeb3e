"""A starting point from which a small transformer copies words that it has never seen.

Copying takes two attention heads in a row (an induction head, https://arxiv.org/abs/2209.11895): one that looks at the
previous token, and one that looks for the place where the current token stood before and reads what came next.
Gradient descent takes long to find them in a small model; `induction_init` lays them down, and training only has to
keep them.

Shapes: D hidden, H head, R = half of H (RoPE rotates dimension r together with r + R).
"""

import torch
from transformers import Qwen2ForCausalLM

HEADS = 2  # of the first and of the last layer
PEAK = 6.0  # size of the biases that make the first layer look one token back
FAST = 0.03  # RoPE frequencies above it, in radians per token, tell neighbours apart; slower ones carry content


@torch.no_grad()
def induction_init(model: Qwen2ForCausalLM, seed: int) -> None:
    """Lays previous-token heads into the first layer and matching heads into the last one, in place.

    The model has as many key/value heads as heads, two or more layers, and biases on q and k (as Qwen2).
    """
    config = model.config
    hidden, heads = config.hidden_size, config.num_attention_heads
    size = hidden // heads
    generator = torch.Generator().manual_seed(seed)
    content, previous, output = (torch.linalg.qr(torch.randn(hidden, hidden, generator=generator))[0] for _ in range(3))
    theta = config.rope_parameters["rope_theta"]
    frequency_R = torch.tensor([theta ** (-2 * r / size) for r in range(size // 2)])
    fast_R = frequency_R > FAST
    slow_H1 = torch.cat([~fast_R, ~fast_R]).float()[:, None]
    first, last = model.model.layers[0].self_attn, model.model.layers[-1].self_attn
    for head in range(HEADS):
        rows = slice(head * size, (head + 1) * size)
        read_HD, write_DH = content[rows], previous[:, rows]
        first.q_proj.weight[rows] *= 0.1
        first.k_proj.weight[rows] *= 0.1
        #  a constant key and a constant query, one RoPE step apart: their product peaks one token back, whatever the
        # tokens are
        key_H, query_H = torch.zeros(size), torch.zeros(size)
        key_H[: size // 2][fast_R] = PEAK
        query_H[: size // 2][fast_R] = PEAK * torch.cos(-frequency_R[fast_R])
        query_H[size // 2 :][fast_R] = PEAK * torch.sin(-frequency_R[fast_R])
        first.q_proj.bias[rows], first.k_proj.bias[rows] = query_H, key_H
        first.v_proj.weight[rows] = read_HD
        first.o_proj.weight[:, rows] = 0.5 * write_DH
        #  the last layer's query is the current token, its key the token before, on RoPE pairs too slow to mind the
        # distance
        last.q_proj.weight[rows] = 1.5 * slow_H1 * read_HD
        last.k_proj.weight[rows] = 1.5 * slow_H1 * write_DH.T
    last.v_proj.weight.copy_(output)
    last.o_proj.weight.copy_(output.T)
