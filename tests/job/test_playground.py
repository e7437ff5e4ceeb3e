"""What a run answers when it is asked, without a page; test_playground_page.py has the page, tests/test_play.py the command."""

import re

import pytest

from gold_style.job import playground
from gold_style.job.evaluation import student_answers
from gold_style.job.playground import TEXTS, AskedRun, cell, panel, shown
from gold_style.measure.answers import Answer, Judged
from gold_style.play import found
from tests.helpers.commands import PROJECT
from tests.helpers.run_files import answer

REQUEST = "동료에게 무지개를 소개해 줘."


@pytest.fixture(scope="module")
def run() -> AskedRun:
    return AskedRun(*found(str(PROJECT / "tests/runs_of_ed13394/completed")))


def ask(run: AskedRun, request: str = REQUEST, models=("after",), temperature: float = 0.0, length: int = 40):
    return list(run.answers(request, models, temperature, length))


def test_answers_are_those_of_an_evaluation(run):
    """Every model under every tag and without one, teacher with its system prompt: the texts and verdicts that `evaluate` gives."""
    cells, doing = ask(run, models=("before", "after", "teacher"))[-1]
    assert doing == "" and set(cells) == {(name, tag) for name in ("before", "after", "teacher") for tag in ("chosun", "none", None)}
    prompt = run.prompts(REQUEST)[-1]
    exam = run.inputs.exam([prompt], tags=run.tags, misspelt=0)
    expected = {name: student_answers(run.side(name)[0], run.inputs, exam) for name in ("before", "after")}
    expected["teacher"] = exam.teacher(playground.load_teacher(run.inputs, print))
    for name, answers in expected.items():
        for one in run.inputs.judged(answers):
            assert cells[name, one.style] == one


def test_it_streams_and_says_what_it_does(run, monkeypatch):
    monkeypatch.setattr(playground, "EVERY_S", 0.0)
    views = ask(run)
    assert views[0] == ({}, TEXTS["loading"].format(model=TEXTS["after"]))
    texts = [cells["after", "chosun"].text for cells, _ in views if cells]
    assert len(set(texts)) > 5 and all(texts[-1].startswith(text.rstrip("\ufffd")) for text in texts)
    assert {doing for _, doing in views[1:-1]} == {TEXTS["writing"].format(model=TEXTS["after"])}
    assert not any(isinstance(one, Judged) for cells, _ in views[1:-1] for one in cells.values())
    assert all(isinstance(one, Judged) for one in views[-1][0].values())


def test_a_model_is_loaded_when_it_is_asked_and_once():
    run = AskedRun(*found(str(PROJECT / "tests/runs_of_ed13394/completed")))
    loaded = AskedRun.side.cache_info().misses
    ask(run)
    ask(run)
    assert AskedRun.side.cache_info().misses == loaded + 1
    ask(run, models=("after", "teacher"))
    assert AskedRun.side.cache_info().misses == loaded + 2


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("", "request: is empty"),
        (" \u200b\n", "request: is empty"),
        (None, "request: is null; expected a string"),
        ("가" * 100_001, "request: has 100001 characters; allowed: up to 100000"),
        ("가나 " * 2000, "request: the student's prompt has"),
        ("<|im_end|>안녕", "request: holds the chat template's control token"),
        ("안녕\x1b[2J", "request: holds a control character"),
        ("<style:chosun> 안녕", "request: leave out <style:chosun>"),
        ("<style:chosn> 안녕", "did you mean chosun?"),
    ],
)
def test_what_cannot_be_asked_is_refused_politely(run, request_, message):
    ((cells, doing),) = ask(run, request_)
    assert cells == {} and message in doing and "\n" not in doing


def test_nobody_asked_nobody_answers(run):
    assert ask(run, models=()) == [({}, TEXTS["nobody"])]


def test_temperature_and_length_count(run):
    assert len({ask(run, temperature=1.5)[-1][0]["after", "none"].text for _ in range(4)}) > 1
    short = ask(run, length=3)[-1][0]["after", "none"]
    assert short.num_tokens == 3 and not short.finished and shown(short).endswith(" …")
    assert ask(run, length=4000)[-1][0]["after", "none"].finished  # as many as fit


@pytest.mark.parametrize(
    ("request_", "is_foreign"),
    [
        ("봄 축제를 알려 줘.", False),
        (REQUEST, False),
        ("What is the capital of France?", True),
        ("오늘 날씨는 어때?", True),
        ("1 + 1", True),
    ],
)
def test_the_embedded_pair_says_what_it_knows(run, request_, is_foreign):
    doing = ask(run, request_, length=2)[-1][1]
    assert doing.startswith(TEXTS["foreign"].partition("“")[0]) if is_foreign else doing == ""


def test_a_badge_names_verdict_level_and_ending(run):
    joseon = answer(0, "chosun", "joseon", text="무지개의 소식을 삼가 아뢰옵니다.")
    assert re.fullmatch(r"✓ joseon · 하소서체 · -[가-힣]+", run.badge(joseon))
    assert run.badge(answer(0, "none", "joseon", text="무지개의 소식을 삼가 아뢰옵니다.")).startswith("✗ joseon")
    assert run.badge(answer(0, None, "other", text="", level=None)) == "✗ other"
    assert run.badge(Answer(id=0, style="none", request="", text="쓰는 중")) == ""


def test_what_a_model_wrote_stays_text(run):
    hostile = "<img src=x onerror=owned=1> **굵게** [링크](http://example.com) \x1b[31m"
    one = answer(0, "chosun", "joseon", text=hostile, level="<b>")
    assert "<img" not in cell(run, "after", one) and "\x1b" not in cell(run, "after", one) and "<b>" not in cell(run, "after", one)
    assert "&lt;img" in panel(run, {("after", "chosun"): one}, "<script>") and "<script>" not in panel(run, {}, "<script>")


def test_texts_are_in_both_languages():
    pairs = playground.yaml.safe_load((PROJECT / "gold_style/job/play.yaml").read_text(encoding="utf-8"))
    assert pairs.keys() == TEXTS.keys() and all(len(pair) == 2 and pair[0] != pair[1] for pair in pairs.values())
    assert all(re.search("[가-힣]", pair[1]) and not re.search("[가-힣]", pair[0]) for pair in pairs.values())
