"""Orders that nothing but their keys decides."""

from collections import Counter

import numpy as np

from gold_style.prompts.shuffle import hashed, permutation

FIXED_PERMUTATION = [4, 7, 1, 2, 5, 3, 6, 0]


def test_permutations_are_fixed_by_their_definition():
    assert permutation(8, 0, "epoch", 0).tolist() == FIXED_PERMUTATION  # another order would break every resume
    assert hashed("seed", 0) != hashed("seed", 1) and hashed(("a", "b")) != hashed("a", "b")
    firsts = Counter(int(permutation(6, seed)[0]) for seed in range(6000))
    assert all(abs(count - 1000) < 5 * np.sqrt(1000) for count in firsts.values()) and len(firsts) == 6
