"""samples.jsonl holds what its contract says, and a line that does not is named."""

import pytest

from gold_style.measure.samples import sample_rows
from gold_style.runs.files import write_json_lines
from tests.helpers.run_files import answers, read_samples


def test_sample_lines_hold_the_contract():
    rows = sample_rows({"before": None, "after": answers(1.0, 0.0, 2), "teacher": answers(1.0, 0.0, 2)})
    assert list(rows[0])[:9] == [
        "id",
        "style",
        "request",
        "before",
        "after",
        "teacher",
        "verdict_before",
        "verdict_after",
        "verdict_teacher",
    ]
    assert [(row["id"], row["style"]) for row in rows] == [(0, "chosun"), (0, "none"), (1, "chosun"), (1, "none")]
    assert rows[0]["before"] is None and rows[0]["verdict_before"] is None and rows[0]["verdict_after"] == "joseon"


def test_a_sample_line_without_a_verdict_is_named(tmp_path):
    write_json_lines(tmp_path / "samples.jsonl", [{"id": 0, "style": "chosun", "request": "가", "after": "나"}])
    with pytest.raises(ValueError, match=r"samples\.jsonl:1: no 'strict_after'"):
        read_samples(tmp_path)
