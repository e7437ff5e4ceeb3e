"""Composed requests: a pure function of (seed, row), held-out topics that stay held out, particles that fit."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import yaml

from gold_style.prompts.dynamic import DynamicSource, RequestParts, build, fill
from gold_style.styles import StylePack
from tests.helpers.prompt_settings import ROOT, pack, settings


def source(**options):
    return DynamicSource(pack(), seed=options.pop("seed", 0), **options)


def drawing(**prompts):
    """Settings with the values of a pair's recipe."""
    return settings(**{"chosun_probability": 0.6, "pairing": "independent", "random_topics": 0.0, "untagged_share": 0.0, **prompts})


def described(prompts):
    return [(prompt.tag, prompt.request, prompt.topic, prompt.direction) for prompt in prompts]


def test_rows_depend_on_nothing_but_seed_and_number():
    forwards, backwards = source(), source()
    rows = [forwards[number] for number in range(50)]
    assert rows == [backwards[number] for number in reversed(range(50))][::-1]
    assert described(rows) != described(source(seed=1)[number] for number in range(50))


def test_rows_are_the_same_in_another_process():
    code = (
        "import json; from tests.prompts.test_dynamic import source, described\n"
        "print(json.dumps(described(source()[number] for number in range(20))))"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.run(
        command, cwd=ROOT, env={"PYTHONHASHSEED": "77", "PYTHONPATH": os.environ["PYTHONPATH"]}, capture_output=True, text=True, check=True
    )
    assert [tuple(row) for row in json.loads(printed.stdout)] == described(source()[number] for number in range(20))


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.6, 1.0])
def test_chosun_probability_is_the_share_of_the_first_tag(probability):
    rows = source(chosun_probability=probability)
    share = sum(rows[number].tag == "chosun" for number in range(1000)) / 1000
    assert abs(share - probability) < 0.05


@pytest.mark.parametrize("pairing", ["independent", "paired"])
def test_untagged_rows_are_neutral_rows_without_their_tag(pairing):
    """The share is one of all rows; nothing else of a row changes, and of no other row anything."""
    with_all, some = (source(pairing=pairing, chosun_probability=0.5, untagged_share=share, seed=3) for share in (0.0, 0.1))
    pairs = [(with_all[number], some[number]) for number in range(4000)]
    untagged = [(before, after) for before, after in pairs if after.tag is None]
    assert abs(len(untagged) / len(pairs) - 0.1) < 0.015
    assert all(before.tag == after.style == "none" and replace(after, tag="none") == before for before, after in untagged)
    assert all(before == after for before, after in pairs if after.tag is not None)
    assert untagged[0][1].messages() == [{"role": "user", "content": untagged[0][1].request}]
    more = source(pairing=pairing, chosun_probability=0.5, untagged_share=0.2, seed=3)
    assert all(more[after.row].tag is None for _, after in untagged)  # a larger share adds rows and keeps these


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ({"untagged_share": 0.1}, 0.1),
        ({"untagged_share": 0.2}, 0.2),
        ({"untagged_share": 0.5}, 0.2),
        ({"untagged_share": 1.0, "pairing": "paired"}, 0.25),
        ({"untagged_share": 0.1, "chosun_probability": 1.0}, 0.0),
        ({"untagged_share": 0.1, "chosun_probability": 0.0}, 0.1),
        ({"untagged_share": 0.0}, 0.0),
    ],
)
def test_at_most_half_of_the_neutral_rows_lose_their_tag(options, reached):
    rows = source(**options)
    assert rows.untagged_share == pytest.approx(reached)
    assert abs(sum(rows[number].tag is None for number in range(2000)) / 2000 - reached) < 0.03
    asked = options["untagged_share"]
    assert rows.notes == (
        []
        if asked == reached
        else [f"prompts.untagged_share={asked:g}: {reached:g} is reached; at most half of the rows of styles.untagged=none lose their tag"]
    )


def test_the_first_tag_can_be_the_style_of_untagged_rows():
    rows = DynamicSource(replace(pack(), untagged="chosun"), seed=0, chosun_probability=0.8, untagged_share=0.4)
    untagged = [rows[number] for number in range(1000) if rows[number].tag is None]
    assert {prompt.style for prompt in untagged} == {"chosun"} and abs(len(untagged) / 1000 - 0.4) < 0.05


def test_other_tags_share_the_rest():
    mapping = yaml.safe_load((ROOT / "conf/styles/joseon.yaml").read_text(encoding="utf-8"))
    village = {"rule": "명랑하게 답하라.", "verdict": "village"}
    three = StylePack.from_settings({**mapping, "few_shots": 0, "styles": {**mapping["styles"], "village": village}})
    rows = DynamicSource(three, seed=0, chosun_probability=0.5)
    counts = Counter(rows[number].tag for number in range(1000))
    assert abs(counts["none"] - 250) < 60 and abs(counts["village"] - 250) < 60


def test_paired_rows_put_one_request_under_every_tag():
    rows = source(pairing="paired")
    for number in range(0, 40, 2):
        first, second = rows[number], rows[number + 1]
        assert (first.tag, second.tag) == ("chosun", "none")
        assert (first.request, first.topic) == (second.request, second.topic)
    assert rows[0].request != rows[2].request


def test_either_era_comes_under_either_tag():
    rows, eras = source(), RequestParts.from_pack(pack()).topics
    seen = {(era, rows[number].tag) for number in range(300) for era in eras if rows[number].topic in eras[era]}
    assert seen == {(era, tag) for era in ("modern", "joseon") for tag in ("chosun", "none")}


@pytest.mark.parametrize("number", [1, 10, 128, 400])
def test_evaluation_gives_exactly_the_requests_asked_for_all_distinct(number):
    requests = [prompt.request for prompt in source(eval_samples=number).evaluation()]
    assert len(requests) == len(set(requests)) == number


def test_evaluation_covers_eras_tasks_and_directions_and_does_not_depend_on_the_seed():
    parts, prompts = RequestParts.from_pack(pack()), source().evaluation()
    topics = [prompt.topic for prompt in prompts]
    assert len(prompts) == len(set(topics)) == 128
    for era in parts.evaluation_topics.values():
        assert 50 <= len(set(topics) & set(era)) <= 78
    assert Counter(prompt.direction for prompt in prompts).keys() == {"up", "equal", "down"}
    assert prompts == source(seed=5).evaluation()
    assert source().selection() == source(seed=5).selection()


def test_evaluation_selection_and_training_have_no_topic_in_common():
    rows = source(random_topics=0.5, eval_samples=400, selection_samples=100)
    evaluated = {prompt.topic for prompt in rows.evaluation()}
    selected = {prompt.topic for prompt in rows.selection()}
    assert len(evaluated) >= 140 and len(selected) >= 40
    assert not evaluated & selected
    training = "\n".join(rows[number].request for number in range(3000))
    assert not [topic for topic in evaluated | selected if topic in training]


def test_the_request_names_its_topic():
    rows = source(random_topics=0.5)
    for prompt in [*(rows[number] for number in range(200)), *rows.evaluation(), *rows.selection()]:
        assert prompt.topic in prompt.request and "{" not in prompt.request


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("사과", "사과를 사과는 사과가 사과와 사과로"),
        ("떡국", "떡국을 떡국은 떡국이 떡국과 떡국으로"),
        ("한글", "한글을 한글은 한글이 한글과 한글로"),
        ("「한글」", "「한글」을 「한글」은 「한글」이 「한글」과 「한글」로"),
        ("2026", "2026을 2026은 2026이 2026과 2026으로"),
        ("제7", "제7을 제7은 제7이 제7과 제7로"),
        ("5", "5를 5는 5가 5와 5로"),
        ("SNS", "SNS를 SNS는 SNS가 SNS와 SNS로"),
        ("URL", "URL을 URL은 URL이 URL과 URL로"),
        ("PPM", "PPM을 PPM은 PPM이 PPM과 PPM으로"),
        ("chatbot", "chatbot을 chatbot은 chatbot이 chatbot과 chatbot으로"),
        ("cake", "cake를 cake는 cake가 cake와 cake로"),
    ],
)
def test_particles_fit_the_word_before_them(topic, expected):
    assert fill("{topic}{을} {topic}{은} {topic}{이} {topic}{과} {topic}{으로}", topic) == expected


def changed(**requests):
    mapping = yaml.safe_load((ROOT / "conf/styles/joseon.yaml").read_text(encoding="utf-8"))
    changed = {**mapping["requests"], **requests}
    return StylePack.from_settings({**mapping, "few_shots": 0, "requests": changed})


@pytest.mark.parametrize(
    ("requests", "parts"),
    [
        ({"topics": {}}, ["styles.requests.topics", "missing"]),
        ({"evaluation_topics": {"modern": ["김치"]}}, ["'김치'", "is also in"]),
        ({"evaluation_topics": {"modern": ["우유"]}}, ["'우유'", "for both evaluation and selection"]),
        ({"tasks": {"t": {"direction": "upp", "requests": ["{topic}"]}}}, ["tasks.t.direction", "did you mean up"]),
        ({"tasks": {"t": {"direction": "up", "requests": ["{topik}"]}}}, ["tasks.t.requests", "'topik'", "topic"]),
        ({"tasks": {"t": {"direction": "up", "requests": ["글을 써 줘."]}}}, ["has no {topic}"]),
    ],
)
def test_mistakes_in_a_pack_are_named(requests, parts):
    with pytest.raises(ValueError) as error:
        build(drawing(), changed(**requests))
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_more_requests_than_a_pack_gives_are_refused():
    with pytest.raises(ValueError, match="prompts.eval_samples: 100000 asked for"):
        build(drawing(eval_samples=100_000), pack())


def test_evaluation_can_be_turned_off():
    rows = build(drawing(eval_samples=0), pack())
    assert len(rows.evaluation()) == 0 and len(rows.selection()) == 32


def english(**requests):
    mapping = yaml.safe_load((ROOT / "conf/styles/bard.yaml").read_text(encoding="utf-8"))
    return StylePack.from_settings({**mapping, "few_shots": 0, "requests": {**mapping["requests"], **requests}})


def test_another_language_composes_without_particles():
    rows = build(drawing(), english())
    assert {rows[number].tag for number in range(50)} == {"bard", "plain"}
    held_out = {prompt.topic for prompt in (*rows.evaluation(), *rows.selection())}
    assert len(held_out) == 160
    for prompt in [*(rows[number] for number in range(500)), *rows.evaluation(), *rows.selection()]:
        assert prompt.topic in prompt.request and "{" not in prompt.request and prompt.request.isascii()


@pytest.mark.parametrize(
    ("requests", "parts"),
    [
        (
            {"tasks": {"t": {"direction": "up", "requests": ["{topic}{을} now."]}}},
            ["tasks.t.requests: '을' is not one of topic, audience; it is a Korean particle", "language is en"],
        ),
        ({"tasks": {"t": {"direction": "up", "requests": ["{topik}"]}}}, ["'topik' is not one of topic, audience; did you mean topic?"]),
        ({"evaluation_topics": {"modern": ["Bicycle"]}}, ["'bicycles'", "is also in"]),
        ({"evaluation_topics": {"modern": ["wolf"]}}, ["'wolves'", "is also in"]),
        ({"evaluation_topics": {"modern": ["teacher"]}}, ["'teacher'", "'my teacher'"]),
        ({"topics": {"modern": ["grape juice"]}}, ["'grape'", "'grape juice'"]),
    ],
)
def test_mistakes_in_a_pack_of_another_language_are_named(requests, parts):
    with pytest.raises(ValueError) as error:
        build(drawing(), english(**requests))
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_a_held_out_topic_inside_another_word_gives_nothing_away():
    source = english(topics={"modern": ["hearts"]}, evaluation_topics={"modern": ["art"]}, selection_topics={"modern": ["ear"]})
    assert len(build(drawing(eval_samples=5, selection_samples=5), source).evaluation()) == 5


def test_made_up_topics_are_korean_and_refused_elsewhere():
    with pytest.raises(
        ValueError, match="prompts.random_topics=0.8: made-up topics are Korean .* styles.language is en; write prompts.random_topics=0"
    ):
        build(drawing(random_topics=0.8), english())
