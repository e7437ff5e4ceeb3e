"""The least that a step must cost: its necessary floating-point operations at the best rate this machine multiplies matrices with.

Necessary is: the student reads each prompt once and each new token once, with the head only where a token is drawn; the teacher reads
the prompts (without its cached system prompt) and completions once, attends to the prefix, and projects scored tokens; the student's
forward and backward over the same tokens count three times its forward. Softmax, sampling, norms, clipping and the optimizer count
as nothing, as do masks: attention counts the causal half only.
"""

from collections.abc import Callable

import torch

from stepping.shapes import Body, Pair, Shape


def body_flops(body: Body, tokens: int) -> float:
    """Of the projections of all layers for so many tokens."""
    head_width = body.hidden_size // body.num_attention_heads
    attention = 2 * body.hidden_size**2 + 2 * body.hidden_size * body.num_key_value_heads * head_width
    return 2.0 * tokens * body.num_hidden_layers * (attention + 3 * body.hidden_size * body.intermediate_size)


def attention_flops(body: Body, lengths: list[int], prefix: int = 0) -> float:
    """Of scores and weighted sums: each token sees the prefix, the tokens before it and itself."""
    seen = sum(length * prefix + length * (length + 1) / 2 for length in lengths)
    return 4.0 * seen * body.hidden_size * body.num_hidden_layers


def head_flops(body: Body, shape: Shape, tokens: int) -> float:
    return 2.0 * tokens * shape.vocab_size * body.hidden_size


def step_flops(pair: Pair, shape: Shape, prompt_tokens: list[int], completion_tokens: list[int] | None = None) -> float:
    """Of one step on prompts and completions of these lengths; None: every completion has `shape.new_tokens` tokens."""
    completion_tokens = completion_tokens or [shape.new_tokens] * len(prompt_tokens)
    lengths = [p + c - 1 for p, c in zip(prompt_tokens, completion_tokens, strict=True)]  # the last new token is read by nobody
    scored = sum(completion_tokens)
    student = body_flops(pair.student, sum(lengths)) + attention_flops(pair.student, lengths) + head_flops(pair.student, shape, scored)
    teacher = body_flops(pair.teacher, sum(lengths)) + attention_flops(pair.teacher, lengths, shape.system_tokens)
    return (1 + 3) * student + teacher + head_flops(pair.teacher, shape, scored)


def step_bytes(pair: Pair, shape: Shape, prompt_tokens: list[int], itemsize: int = 2) -> float:
    """Memory that one step must move on a GPU: weights for every new token of the batch and once each for the other passes, keys and
    values of each token as they are read again, and the optimizer's fp32 weights, gradients and two moments, read and written."""
    weights = {side: parameters(body, shape) for side, body in (("student", pair.student), ("teacher", pair.teacher))}
    student = pair.student
    kv_token = 2 * student.num_hidden_layers * student.num_key_value_heads * student.hidden_size // student.num_attention_heads
    kv = sum(sum(range(length, length + shape.new_tokens)) for length in prompt_tokens) * kv_token * itemsize
    passes = weights["student"] * (shape.new_tokens + 3) + weights["teacher"]
    return passes * itemsize + kv + weights["student"] * 4 * 7


def parameters(body: Body, shape: Shape) -> float:
    """Of the matrices; biases and norms are a thousandth more."""
    return body_flops(body, 1) / 2 + shape.vocab * body.hidden_size


def best_rate(now: Callable[[], float], device: str = "cpu", dtype: torch.dtype = torch.float32, size: int = 2048, tries: int = 5) -> float:
    """Floating-point operations a second of the fastest of a few products of size^3."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2.0 * size**3 / _fastest(lambda: a @ b, now, tries)


def best_bandwidth(now: Callable[[], float], device: str = "cuda", tries: int = 5, size: int = 2**30) -> float:
    """Bytes a second, read and written together, of the fastest of a few copies of `size` bytes."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2.0 * source.nbytes / _fastest(lambda: target.copy_(source), now, tries)


def _fastest(call: Callable[[], object], now: Callable[[], float], tries: int) -> float:
    call()
    best = float("inf")
    for _ in range(tries):
        start = now()
        call()
        best = min(best, now() - start)
    return max(best, 1e-9)
