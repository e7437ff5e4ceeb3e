"""What the teacher's likelihood says about an answer's style: a second opinion, never the headline.

The ratio of an answer y is log p_T(y | request under the first tag) - log p_T(y | request under the neutral tag), in
nats per token, each context with the teacher's system prompt. It is circular with the training loss; its AUC on
human-written references says how far it can be trusted at all.

Example: `likelihood_ratio([-1.0, -2.0], [-3.0, -1.0])` is 0.5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gold_style.measure.answers import Judged
from gold_style.measure.rates import Toggle, decided
from gold_style.measure.statistics import auc


def likelihood_ratio(first_logprobs: Sequence[float], neutral_logprobs: Sequence[float]) -> float | None:
    """Nats per token by which the first context makes an answer likelier, from the answer's token logprobs under each.

    None for an answer without tokens. Raises ValueError where the two are not about the same tokens.
    """
    if len(first_logprobs) != len(neutral_logprobs):
        raise ValueError(f"{len(first_logprobs)} logprobs under the first context, {len(neutral_logprobs)} under the other")
    return float(np.mean(np.subtract(first_logprobs, neutral_logprobs))) if len(first_logprobs) else None


def likelihood_summary(answers: Sequence[Judged], toggle: Toggle) -> dict[str, Any] | None:
    """Mean ratio per tag of the pack, and its AUC for the target verdict; None where no ratio was computed."""
    known = [answer for answer in answers if answer.likelihood_ratio is not None and answer.style in toggle.verdicts]
    if not known:
        return None
    tags = {tag: [answer.likelihood_ratio for answer in known if answer.style == tag] for tag in toggle.verdicts}
    scored = decided(known)
    return {
        "nats_per_token": {tag: float(np.mean(ratios)) if ratios else None for tag, ratios in tags.items()},
        "auc": auc([answer.likelihood_ratio for answer in scored], [answer.verdict == toggle.target for answer in scored]),
    }
