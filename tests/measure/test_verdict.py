"""Whether a student has learned the style: what code which numbers get, and what the sentence says."""

import pytest

from gold_style.measure.summary import run_summary
from gold_style.measure.verdict import percent, verdict, verdict_of
from tests.helpers.run_files import TOGGLE, answer


def made(hits: int, leaks: int, number: int = 128, untagged: int | None = None, **changes) -> list:
    """Answers to `number` requests, of which so many hit under the first tag, under the neutral one and without a tag."""
    tags = {"chosun": hits, "none": leaks} | ({} if untagged is None else {None: untagged})
    return [answer(n, tag, "joseon" if n < count else "modern", **changes) for tag, count in tags.items() for n in range(number)]


def summary_of(after, teacher=None, steps: int = 160) -> dict:
    teacher = made(128, 0, untagged=0) if teacher is None else teacher
    samples = {"after": after, "teacher": teacher}
    return run_summary(samples, TOGGLE, steps=steps, train_seconds=1, status="completed", bootstrap_samples=100)


@pytest.mark.parametrize(
    ("after", "code", "words"),
    [
        (made(126, 0), "learned", "Learned: 98 % of the teacher's margin; leaks 0 % under the neutral tag"),
        (made(126, 0, untagged=2), "learned", "; leaks 0 % under the neutral tag, 2 % without a tag"),
        (
            made(126, 0, untagged=29),
            "partly",
            "Partly learned: 98 % of the teacher's margin; leaks 0 % under the neutral tag, 23 % without a tag",
        ),
        (made(128, 10), "partly", "leaks 8 % under the neutral tag"),
        (made(128, 0, degenerate=True), "partly", "degenerate 100 %"),
        (made(128, 0, content=False), "partly", "content 0 %"),
        (made(90, 0), "partly", "Partly learned: 70 % of the teacher's margin"),
        (made(124, 120), "not_learned", "Not learned yet: 3 % of the teacher's margin; leaks 94 % under the neutral tag"),
        (made(10, 20), "not_learned", "Not learned yet: -8 % of the teacher's margin"),
        (made(0, 0, 8), "not_learned", "Not learned yet: 0 %"),
        (made(2, 0, 2), "unknown", "Cannot be told: only 2 requests per tag; 100 % of the teacher's margin"),
        (made(0, 0, 2), "unknown", "only 2 requests per tag"),
        (made(16, 0, 16), "unknown", "only 16 requests per tag"),
        (made(32, 0, 32), "learned", "Learned: 100 %"),
    ],
)
def test_a_run_gets_the_code_that_its_numbers_allow(after, code, words):
    found = verdict(summary_of(after))
    assert found["code"] == code and words in found["sentence"], found


def test_what_cannot_be_held_against_a_teacher_is_unknown():
    ambiguous = [answer(n, tag, "ambiguous") for n in range(64) for tag in ("chosun", "none")]
    weak = verdict(summary_of(made(128, 0), teacher=made(50, 10)))
    assert weak == {
        "code": "unknown",
        "sentence": "Cannot be told: margin 1.00, but the teacher itself hardly toggles (0.31); leaks 0 % under the neutral tag",
    }
    alone = run_summary({"after": made(100, 3)}, TOGGLE, steps=0, train_seconds=0, status="completed", bootstrap_samples=100)
    assert "margin 0.76, without a teacher's to hold it against; leaks 2 %" in verdict(alone)["sentence"]
    for summary, words in ((summary_of(ambiguous), "ambiguous"), (summary_of([]), "no request"), ({}, "no request")):
        found = verdict(summary)
        assert found["code"] == "unknown" and words in found["sentence"]
    assert verdict(summary_of(made(128, 0), teacher=ambiguous))["code"] == "unknown"


def test_a_teacher_that_leaks_is_not_held_against_its_student():
    assert verdict(summary_of(made(120, 12), teacher=made(122, 12)))["code"] == "learned"
    assert verdict(summary_of(made(128, 0, untagged=126), teacher=made(128, 0, untagged=128)))["code"] == "learned"


def test_a_shorter_run_is_told_the_recipe():
    short = summary_of(made(10, 0), steps=3)
    assert verdict(short, 160)["sentence"].endswith("; the recipe is 160 steps, this run had 3")
    assert verdict(summary_of(made(0, 0, 2), steps=3), 160)["sentence"].endswith("; the recipe is 160 steps, this run had 3")
    for steps, recipe in ((160, 160), (0, 160), (3, None)):
        assert "recipe" not in verdict(summary_of(made(10, 0), steps=steps), recipe)["sentence"]
    assert "recipe" not in verdict(summary_of(made(128, 0), steps=3), 160)["sentence"]


def test_older_summaries_get_one_when_they_are_shown():
    summary = summary_of(made(126, 0))
    del summary["details"], summary["after"]["untagged"]
    assert verdict_of(summary) == {"code": "learned", "sentence": "Learned: 98 % of the teacher's margin; leaks 0 % under the neutral tag"}
    stored = {"code": "partly", "sentence": "as it was"}
    assert verdict_of({**summary, "details": {"verdict": stored}}) == stored


def test_percentages_are_whole_and_never_reach_the_ends_by_rounding():
    assert [percent(part) for part in (0, 0.001, 0.5, 0.996, 1, 1.02, -0.03)] == ["0 %", "1 %", "50 %", "99 %", "100 %", "102 %", "-3 %"]
