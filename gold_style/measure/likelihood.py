"""What somebody else says about the same answers: the teacher's likelihood, or another rater. Never the headline.

Likelihood ratio of an answer y: log p_T(y | request under the first tag) - log p_T(y | request under the neutral tag),
nats per token, each context with the teacher's system prompt. It is circular with the training loss; its AUC on
human-written references says how far it can be trusted at all.

Example: `auc([0.9, 0.2], [True, False])` is 1.0.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from gold_style.measure.answers import Judged
from gold_style.measure.rates import Toggle, decided
from gold_style.measure.statistics import krippendorff_alpha


def likelihood_ratio(first_logprobs: Sequence[float], neutral_logprobs: Sequence[float]) -> float | None:
    """Nats per token by which the first context makes an answer likelier, from the answer's token logprobs under each.

    None for an answer without tokens. Raises ValueError where the two are not about the same tokens.
    """
    if len(first_logprobs) != len(neutral_logprobs):
        raise ValueError(f"{len(first_logprobs)} logprobs under the first context, {len(neutral_logprobs)} under the other")
    return float(np.mean(np.subtract(first_logprobs, neutral_logprobs))) if len(first_logprobs) else None


def auc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Chance that a positive scores higher than a negative, ties counted half; None without both kinds.

    Mann-Whitney's U over its maximum, by ranks.
    """
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    number = int(positive.sum())
    if not 0 < number < len(positive):
        return None
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]  # of tied scores: the mean of the ranks that they take
    return float((ranks[positive].sum() - number * (number + 1) / 2) / (number * (len(positive) - number)))


def likelihood_opinion(answers: Sequence[Judged], toggle: Toggle) -> dict[str, Any] | None:
    """Mean likelihood ratio per tag, and its AUC for the target verdict; None where no ratio was computed."""
    known = [answer for answer in answers if answer.likelihood_ratio is not None]
    if not known:
        return None
    tags = {tag: [answer.likelihood_ratio for answer in known if answer.style == tag] for tag in toggle.verdicts}
    scored = decided(known)
    return {
        "nats_per_token": {tag: float(np.mean(values)) if values else None for tag, values in tags.items()},
        "auc": auc([answer.likelihood_ratio for answer in scored], [answer.verdict == toggle.target for answer in scored]),
    }


def agreement(own: Sequence[Hashable | None], other: Sequence[Hashable | None]) -> dict[str, Any]:
    """How far another rater gives our verdicts, unit by unit; None: not rated, or not understood."""
    both = [(ours, theirs) for ours, theirs in zip(own, other, strict=True) if ours is not None and theirs is not None]
    return {
        "alpha": krippendorff_alpha([own, other]),
        "equal": sum(ours == theirs for ours, theirs in both) / len(both) if both else None,
        "units": len(both),
    }
