"""The labels that judges and raters give: only a clear one counts."""

import pytest

from gold_style.opinions.labels import COMPARISON, CONTENT, FLUENCY, parsed, style_labels
from tests.helpers.rated_runs import PACK


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("조선", "joseon"),
        ("답: **현대**입니다.", "modern"),
        ("joseon", "joseon"),
        ('{"label": "모호"}', "unclear"),
        ("<think>현대\n아니, 옛 말투다</think>\n\n조선", "joseon"),
        ("조선\n\n'아뢰옵니다'로 맺었기 때문입니다.", "joseon"),
        ("정답은 한국어 아님", "not_korean"),
        ("비한국어", "not_korean"),
        ("조선\n현대", None),
        ("조선이 아니다", None),
        ("not joseon", None),
        ("<think>조선", None),
        ("", None),
        ("조선 또는 현대", None),
    ],
)
def test_only_a_clear_label_counts(text, label):
    assert parsed(text, style_labels(PACK)) == label


def test_every_label_is_read_back_by_name_and_word():
    for labels in (style_labels(PACK), CONTENT, FLUENCY, COMPARISON):
        for label in labels:
            assert parsed(label.name, labels) == parsed(f"{label.word}.", labels) == label.name
