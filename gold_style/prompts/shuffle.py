"""Orders that are pure functions of their keys: no generator whose state a resume would have to restore.

Row i of n gets a 64-bit number by SplitMix64 (Steele, Lea, Flood 2014, https://doi.org/10.1145/2714064.2660195) of a
key, and rows are sorted by it. The definition is ours: an order does not change with the version of numpy or Python.

Example: `permutation(5, seed, epoch)` holds 0..4 in an order that only (5, seed, epoch) decides.
"""

from hashlib import blake2b

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashed(*parts: object, num_bytes: int = 8) -> int:
    """A number of `num_bytes` bytes that depends on nothing but the parts (strings, numbers, None, and tuples of them)."""
    return int.from_bytes(blake2b(repr(parts).encode("utf-8", "backslashreplace"), digest_size=num_bytes).digest(), "big")


def permutation(n: int, *key: object) -> np.ndarray:
    """The numbers 0..n-1 in the order that `key` decides, shape (n,), int64."""
    z = np.arange(1, n + 1, dtype=np.uint64) * GOLDEN + np.uint64(hashed(*key))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(z ^ (z >> np.uint64(31)), kind="stable")
