"""What a student has kept of its start, beside the style that it has learned: `details.retention` of summary.json.

- `kl_nats`: KL(before || after) of the next token, mean over the tokens of the start's own answers to requests without a tag
- `bits_per_byte`: -log2 p(text) / bytes of UTF-8, of a held-out plain text; `change` is after - before
- `choice`: share of right choices of a test with held-out items; `change` is after - before, `chance` what guessing gives, `teacher`
  the teacher's share, without what only the teacher reads

Every `interval` resamples what is independent: requests, windows of the text, items. Before and after are paired; the two latter
intervals are of the change. Example: `retention(before, after, kl=[(0.5, 20)], sizes=[512], options=[4], samples=1000, confidence=0.95)`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gold_style.measure.statistics import margin_interval, percentiles, resampled_shares

Recall = tuple[Sequence[float], Sequence[bool]]  # of one model: nats of each window, and whether its choice of each item was right


def retention(
    before: Recall, after: Recall, kl: Sequence, sizes: Sequence[int], options: Sequence[int], teacher=None, **how
) -> dict[str, Any]:
    """`details.retention`.

    Args: what the start and what the student made of the texts; (nats, tokens) of each request; bytes of each window; number of options
    of each item; whether each of the teacher's choices was right; `samples` of the bootstrap and `confidence`.
    """
    nats_R, tokens_R = np.array(kl, np.float64).reshape(-1, 2).T
    bits_R, ones_R = np.array(sizes) * math.log(2), np.ones(len(options))
    bits = [float(sum(nats) / bits_R.sum()) for nats, _ in (before, after)]
    before_S, after_S, kl_S = (
        resampled_shares(*counts, how["samples"])
        for counts in ((np.array(before[0]), bits_R), (np.array(after[0]), bits_R), (nats_R, tokens_R))
    )
    right_R = [np.array(right, np.float64) for _, right in (before, after)]
    gained_R, lost_R = (np.maximum(0, sign * (right_R[1] - right_R[0])) for sign in (1, -1))
    right = changed(*(float(hits_R.mean()) for hits_R in right_R), margin_interval((gained_R, ones_R), (lost_R, ones_R), **how))
    chance, of_teacher = float(np.mean(1 / np.array(options))), float(np.mean(teacher)) if teacher else None
    return {
        "kl_nats": {"value": float(nats_R.sum() / tokens_R.sum()) if kl else None, "interval": percentiles(kl_S, how["confidence"])},
        "bits_per_byte": changed(*bits, percentiles(after_S - before_S, how["confidence"])) | {"bytes": sum(sizes)},
        "choice": right | {"chance": chance, "teacher": of_teacher, "items": len(options)},
    }


def changed(before: float, after: float, interval: Sequence[float] | None) -> dict[str, Any]:
    return {"before": before, "after": after, "change": after - before, "interval": interval and [*map(float, interval)]}


def retention_numbers(summary: dict[str, Any]) -> dict[str, float | None]:
    """The numbers of a summary that runs are compared by; None where they were not measured.

    `bits_percent`: change of bits per byte, relative; `neutral_chrf`: of the answers under the neutral tag, against those before, in
    [0, 1]. The latter is in `details.forgetting`, which needs no held-out texts.
    """
    details = summary.get("details", {})
    kept = details.get("retention") or {"bits_per_byte": {}, "choice": {}, "kl_nats": {}}
    return {
        "bits_percent": 100 * kept["bits_per_byte"]["change"] / kept["bits_per_byte"]["before"] if kept["bits_per_byte"] else None,
        "choice_change": kept["choice"].get("change"),
        "kl_nats": kept["kl_nats"].get("value"),
        "neutral_chrf": (details.get("forgetting") or {}).get("chrf"),
    }
