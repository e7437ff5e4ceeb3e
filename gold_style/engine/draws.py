"""Random numbers as a pure function of what they are for, never of a global generator.

Every draw of a run is keyed by (seed, purpose, step, row, ...): the on/off-policy choice of a row, the uniforms that sample its
completion. So the numbers do not depend on how rows are batched, on the number of processes, on logging or on a resume.

    uniform(0, "policy", step, row) < lmbda
"""

import hashlib

import torch
from torch import Tensor


def key64(*key: int | str) -> int:
    """A 63-bit integer that depends on every item of its key (BLAKE2b)."""
    text = "\x1f".join(str(item) for item in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def uniform(*key: int | str) -> float:
    """One number in [0, 1)."""
    return (key64(*key) >> 10) / 2**53


def uniforms(keys: list[tuple[int | str, ...]], num_tokens: int) -> Tensor:
    """For each key `num_tokens` numbers in [0, 1), shape (B, T), float64 on the CPU."""
    rows = [torch.rand(num_tokens, dtype=torch.float64, generator=torch.Generator().manual_seed(key64(*key))) for key in keys]
    return torch.stack(rows) if rows else torch.empty(0, num_tokens, dtype=torch.float64)
