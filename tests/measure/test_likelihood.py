"""The teacher's likelihood ratio."""

import pytest

from gold_style.measure.likelihood import likelihood_ratio


def test_likelihood_ratio_is_per_token():
    assert likelihood_ratio([-1.0, -2.0], [-3.0, -1.0]) == pytest.approx(0.5)
    assert likelihood_ratio([], []) is None
    with pytest.raises(ValueError, match="2 logprobs"):
        likelihood_ratio([-1.0, -2.0], [-3.0])
