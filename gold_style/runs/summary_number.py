"""One number of a run's summary.json: what a sweep compares its jobs by.

summary_number({"after": {"margin": 0.98}}, "after.margin")     # 0.98
"""

import math
from typing import Any


def summary_number(summary: dict[str, Any], key: str | None) -> float:
    """The number under a dotted key; NaN where there is none, or without a key."""
    value: Any = summary
    for word in key.split(".") if key else ():
        value = value and value.get(word)
    return math.nan if value is None or isinstance(value, dict) else float(value)
