"""summary.json: when its headline is null, and that samples.jsonl gives it all again."""

import json

import pytest

from gold_style.measure.rates import score
from gold_style.measure.samples import sample_rows
from gold_style.measure.summary import run_summary
from gold_style.runs.files import write_json, write_json_lines
from tests.helpers.run_files import TOGGLE, answer, answers, read_samples, summary_again


@pytest.mark.parametrize(("ambiguous", "is_null"), [(2, False), (3, True)])
def test_more_than_a_tenth_ambiguous_makes_the_headline_null(ambiguous, is_null):
    made = [answer(n, "chosun", "ambiguous" if n < ambiguous else "joseon") for n in range(10)]
    made += [answer(n, "none", "modern") for n in range(10)]
    found = score(made, TOGGLE)
    assert [found[name] is None for name in ("chosun_rate", "leakage", "margin")] == [is_null] * 3
    summary = run_summary({"after": made}, TOGGLE, steps=1, train_seconds=1.0, status="completed", bootstrap_samples=50)
    said = " ".join(summary["details"]["warnings"]["after"])
    assert ("no headline" in said) == is_null and "only 10 requests" in said


def test_nothing_scored_is_null_not_zero():
    found = score([], TOGGLE)
    assert {name: found[name] for name in found if name not in ("rates", "prompts")} == dict.fromkeys(
        ("chosun_rate", "leakage", "untagged", "margin", "content", "degenerate", "ambiguous")
    )
    summary = run_summary({}, TOGGLE, steps=0, train_seconds=0.0, status="completed")
    assert [summary[key] for key in ("before", "after", "teacher", "gap_closed")] == [None] * 4


def test_everything_comes_again_from_samples(tmp_path):
    awkward = [
        answer(99, "chosun", "joseon", text='따옴표 " 역사선 \\ 줄\u2028바꿈\n탭\t{"verdict_after": "modern"}', topic=None),
        answer(99, "none", "ambiguous", finished=None, num_tokens=None, likelihood_ratio=0.25),
        answer(99, None, "modern", era=None, direction=None),
    ]
    samples = {"before": answers(0.1, 0.0), "after": answers(0.9, 0.1) + awkward, "teacher": answers(1.0, 0.0)}
    summary = run_summary(samples, TOGGLE, steps=3, train_seconds=1.5, status="completed", bootstrap_samples=300)
    write_json_lines(tmp_path / "samples.jsonl", sample_rows(samples))
    write_json(tmp_path / "summary.json", summary)
    read = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert read == summary and summary_again(tmp_path, read) == summary
    assert {name: sorted(made, key=str) for name, made in read_samples(tmp_path).items()} == {
        name: sorted(made, key=str) for name, made in samples.items()
    }
