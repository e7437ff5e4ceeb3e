"""The number of summary.json that a sweep compares its jobs by."""

from gold_style.runs.summary_number import summary_number


def test_dotted_keys_are_read_and_null_is_nan():
    summary = {"after": {"margin": 0.5, "leakage": None}, "before": None}
    assert summary_number(summary, "after.margin") == 0.5
    assert all(value != value for value in (summary_number(summary, key) for key in ("after.leakage", "before.margin", "after", None)))
