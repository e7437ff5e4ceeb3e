"""The number of a summary.json that a sweep compares its jobs by.

value_of({"after": {"margin": 0.98}}, "after.margin")     # 0.98
"""

import math


def value_of(summary: dict, objective: str | None) -> float:
    """The number under a dotted key of summary.json; NaN for null or without an objective."""
    value = summary
    for word in objective.split(".") if objective else ():
        value = value and value.get(word)
    return math.nan if value is None or isinstance(value, dict) else float(value)
