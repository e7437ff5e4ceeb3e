"""The reader's language: how it is chosen, and that the Korean of what a run says is whole."""

import re

import pytest

from gold_style.measure.summary import run_summary
from gold_style.measure.verdict import verdict
from gold_style.show.words import TEXTS, both, language, word
from tests.helpers.run_files import TOGGLE, answer


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "C.UTF-8", "GOLD_STYLE_LANG": "ko"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "GOLD_STYLE_LANG": "en"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_the_language_is_asked_for_or_the_locales(variables, expected, monkeypatch):
    for name in ("GOLD_STYLE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def made(hits: int, leaks: int, number: int = 64, **changes) -> list:
    tags = {"chosun": hits, "none": leaks, None: leaks}
    return [answer(n, tag, "joseon" if n < count else "modern", **changes) for tag, count in tags.items() for n in range(number)]


@pytest.mark.parametrize("after", [made(64, 0), made(40, 0), made(1, 40), made(64, 0, degenerate=True, content=False), made(4, 0, 4), []])
@pytest.mark.parametrize("teacher", [made(64, 0), made(5, 2), []])
def test_every_verdict_has_its_korean(after, teacher):
    samples = {"after": after, "teacher": teacher}
    summary = run_summary(samples, TOGGLE, steps=10, train_seconds=1, status="completed", bootstrap_samples=20)
    said = word(verdict(summary, recipe_steps=160)["sentence"], "ko")
    assert not re.search("[A-Za-z]", said), said
    for sentences in summary["details"]["warnings"].values():
        for sentence in sentences:
            assert not re.search("[A-Za-z]", word(sentence, "ko").replace("<style:chosun>", "").replace("<style:none>", "")), sentence


def test_text_of_others_stays_text():
    assert both("<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"
    assert both("Curves", tag="tspan") == '<tspan class="en">Curves</tspan><tspan class="ko" lang="ko">곡선</tspan>'
    assert all(word(text, "ko") != text for text in TEXTS["next"].values())
