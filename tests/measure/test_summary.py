"""From texts to summary.json: what counts as kept, copied and in style; samples.jsonl gives it all again."""

import json
from dataclasses import replace
from math import isclose

import pytest

from gold_style.measure.answers import Answer, finished_part, judge
from gold_style.measure.cheats import cheats
from gold_style.measure.content import bigram_overlap, chrf, content_words, copies_request, distinct, keeps_request_words, keeps_topic
from gold_style.measure.details import forgetting, pairs
from gold_style.measure.rates import Toggle, gap_closed, joint_score, score, toggled_share
from gold_style.measure.samples import sample_rows
from gold_style.measure.summary import run_summary
from gold_style.runs.files import write_json, write_json_lines
from gold_style.styles import StylePack
from gold_style.verdicts import build_classifier
from tests.helpers.run_files import TOGGLE, answer, answers, read_samples, summary_again

PACK = StylePack.from_settings(
    {
        "name": "test",
        "neutral": "none",
        "untagged": "none",
        "styles": {
            "chosun": {"rule": "조선 말투로 답하라.", "verdict": "joseon", "levels": {"up": ["하소서체"], "down": ["해라체", "하오체"]}},
            "none": {"rule": "현대 말투로 답하라.", "verdict": "modern"},
        },
    }
)
CLASSIFIER = build_classifier({"name": "speech_level", "backend": "rules"})
JOSEON, MODERN = "{} 일을 삼가 아뢰옵나이다.", "{} 소식을 알려 드립니다."
TOPICS = ["나비", "봄 축제", "측우기", "물", "거북선", "인공지능", "소나기", "보험"]


def written(texts: dict[str, str], topics=TOPICS, **fields) -> list:
    """Judged answers: `texts` per tag, with the topic filled in, one request per topic."""
    made = [
        Answer(id=number, style=tag, request=f"{topic}에 대해 알려 줘.", text=text.format(topic), topic=topic, **fields)
        for number, topic in enumerate(topics)
        for tag, text in texts.items()
    ]
    return judge(made, CLASSIFIER, PACK)


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("봄 축제", "이번 봄축제에 와 주세요."),
        ("봄축제", "봄 축제를 여노라."),
        ("봄 축제", "봄의 축제가 열렸소."),
        ("봄 축제", "**봄** 축제"),
        ("물", "물을 아끼시오."),
        ("물", "맑은 물이로다."),
        ("나비", "나비옵니다."),
        ("거북선", "큰거북선이 뜨니"),
        ("AI", "ai를 쓰자."),
        ("축제", "축제입니다."),  # NFD
    ],
)
def test_topic_is_found_with_particles_and_other_spacing(topic, text):
    assert keeps_topic(topic, text)


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("물", "선물을 샀소."),
        ("물", "물건을 샀소."),
        ("비", "나비가 나오."),
        ("가자", "뭔가 자꾸 생각나오."),
        ("봄 축제", "봄이 왔소."),
        ("?", "?"),
        ("나비", ""),
    ],
)
def test_topic_inside_another_word_does_not_count(topic, text):
    assert not keeps_topic(topic, text)


def test_content_words_stand_in_where_no_topic_is_known():
    assert content_words("봄 축제를 소개하는 글을 써 줘.") == ("봄", "축제", "소개하")
    assert content_words("마을의 물을 아끼는 법") == ("마을", "물", "아끼", "법")
    assert keeps_request_words("봄 축제를 알려 줘.", "봄에 축제가 열리옵니다.")
    assert not keeps_request_words("봄 축제를 알려 줘.", "신이 삼가 아뢰옵나이다.")
    assert keeps_request_words("알려 줘.", "무엇을 말이옵니까.") is None


def test_copies_are_recognised():
    request = "친구에게 나비를 소개해 줘."
    for text in (request, f"<style:none> {request}", request * 2, request + " 네!", "친구에게 나비를 소개해 주게."):
        assert copies_request(request, text), text
    for text in ("", "나비는 날개가 고운 벌레라오.", f"{request} 나비는 봄에 나는 벌레로, 날개가 곱고 가볍소."):
        assert not copies_request(request, text), text


def test_chrf_by_hand():
    # n-grams of "abcd" against "abce", both 4 characters: 3/4, 2/3, 1/2, 0/1; longer ones neither has
    mean = (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4
    assert chrf("ab cd", "abce") == pytest.approx(mean)  # precision and recall are equal, and so is F
    # "abc" against "abcd": precisions 1, 1, 1; recalls 3/4, 2/3, 1/2
    precision, recall = 1.0, (3 / 4 + 2 / 3 + 1 / 2) / 3
    assert chrf("abc", "abcd") == pytest.approx(5 * precision * recall / (4 * precision + recall))
    assert chrf("가나다", "가나다") == 1.0 and chrf("가나다", "라마바") == 0.0 and chrf("", "가") == 0.0


def test_overlap_and_distinct():
    assert bigram_overlap("나비가 난다.", "나비가 난다!") == 1.0
    assert bigram_overlap("나비", "나비가") == pytest.approx(2 / 3)
    assert distinct(["가 나 가", "나 가"], 1) == pytest.approx(2 / 5)
    assert distinct(["가 나 가", "나 가"], 2) == pytest.approx(2 / 3)
    assert distinct(["가"], 2) is None


def test_a_cut_answer_is_judged_without_its_broken_end():
    assert finished_part("나비가 나옵니다. 그리고 꽃이") == "나비가 나옵니다."
    assert finished_part("그리고 꽃이") == "그리고 꽃이"
    [cut] = written({"chosun": "{}를 아뢰옵나이다. 그리고 좋은 꽃이"}, ["나비"], finished=False)
    assert cut.verdict == "joseon"


def test_degenerate_answers_fail_in_every_way():
    for text in ("", "{} 옵니다옵니다옵니다옵니다옵니다옵니다", "\ufffd\ufffd"):
        [judged] = written({"chosun": text}, ["나비"])
        assert (judged.verdict, judged.strict, judged.degenerate, judged.content) == ("other", "other", True, False)


def test_level_is_judged_by_direction_where_the_pack_lists_levels():
    [up] = written({"chosun": JOSEON}, ["나비"], direction="up")
    [down] = written({"chosun": JOSEON}, ["나비"], direction="down")
    [unlisted] = written({"none": MODERN}, ["나비"], direction="up")
    [unknown] = written({"chosun": JOSEON}, ["나비"])
    assert (up.level, up.accepted_level, down.accepted_level) == ("하소서체", True, False)
    assert unlisted.accepted_level is None and unknown.accepted_level is None


def test_mixed_answers_are_not_strict():
    [mixed] = written({"chosun": "{}는 좋아요. 신이 삼가 아뢰옵나이다."}, ["나비"])
    assert (mixed.verdict, mixed.strict) == ("joseon", "mixed")


def test_rates_follow_their_definitions():
    verdicts = {"chosun": ["joseon"] * 6 + ["modern"] * 2 + ["other", "ambiguous"], "none": ["modern"] * 8 + ["joseon"] * 2}
    made = [answer(number, tag, verdict) for tag, given in verdicts.items() for number, verdict in enumerate(given)]
    found = score([*made, answer(0, None, "joseon"), answer(0, "chosum", "joseon")], TOGGLE)
    assert found["chosun_rate"] == pytest.approx(6 / 9)
    assert found["leakage"] == pytest.approx(2 / 10)
    assert found["margin"] == found["chosun_rate"] - found["leakage"]
    assert found["degenerate"] == pytest.approx(1 / 19)
    assert found["ambiguous"] == pytest.approx(1 / 20)
    assert found["content"] == pytest.approx(19 / 20)
    assert found["prompts"] == 10
    assert found["rates"]["chosun"] == pytest.approx({"joseon": 6 / 9, "modern": 2 / 9, "other": 1 / 9})
    assert all(isclose(sum(rates.values()), 1) for rates in found["rates"].values())
    assert set(found) == {"chosun_rate", "leakage", "margin", "content", "degenerate", "ambiguous", "rates", "prompts"}


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
        ("chosun_rate", "leakage", "margin", "content", "degenerate", "ambiguous")
    )
    summary = run_summary({}, TOGGLE, steps=0, train_seconds=0.0, status="completed")
    assert [summary[key] for key in ("before", "after", "teacher", "gap_closed")] == [None] * 4


def test_gap_closed():
    assert gap_closed({"margin": 0.1}, {"margin": 0.7}, {"margin": 0.9}) == pytest.approx(0.75)
    assert gap_closed({"margin": 0.9}, {"margin": 0.7}, {"margin": 0.9}) is None
    assert gap_closed(None, {"margin": 0.7}, {"margin": 0.9}) is None
    assert gap_closed({"margin": None}, {"margin": 0.7}, {"margin": 0.9}) is None


def test_trivial_cheats_earn_nothing():
    honest = written({"chosun": JOSEON, "none": MODERN}, [f"{topic}{number}호" for topic in TOPICS for number in range(8)])
    toggle = Toggle.from_pack(PACK)
    assert joint_score(honest, toggle) == 1.0 and toggled_share(honest, toggle) == 1.0
    found = cheats(honest, CLASSIFIER, PACK)
    assert {name: joint_score(judged, toggle) <= 0.05 for name, judged in found.items()} == {"constant": True, "copy": True}
    assert score(found["constant"], toggle)["chosun_rate"] == 1.0  # what the joint score is for
    untopical = [replace(entry, topic=None) for entry in honest]  # nor where topics are not known
    assert all(joint_score(judged, toggle) <= 0.05 for judged in cheats(untopical, CLASSIFIER, PACK).values())


def test_a_student_that_ignores_the_tag_does_not_toggle():
    deaf = written({"chosun": MODERN, "none": MODERN})
    toggle = Toggle.from_pack(PACK)
    assert joint_score(deaf, toggle) == 0.5 and toggled_share(deaf, toggle) == 0.0


def test_pairs_and_forgetting():
    toggle = Toggle.from_pack(PACK)
    before, after = written({"chosun": MODERN, "none": MODERN}), written({"chosun": JOSEON, "none": MODERN})
    assert pairs(before, toggle) == {"requests": len(TOPICS), "chrf": 1.0, "lemma_overlap": 1.0, "lemma_backend": "rules", "identical": 1.0}
    assert 0 < pairs(after, toggle)["lemma_overlap"] < 0.7 and pairs(after, toggle)["identical"] == 0.0
    kept = forgetting(before, after, toggle)
    assert kept["identical"] == 1.0 and kept["style_rate_change"] == 0.0 and kept["length_ratio"] == 1.0


def test_untagged_and_misspelt_are_only_in_the_details():
    made = written({"chosun": JOSEON, "none": MODERN, None: MODERN, "chosum": JOSEON})
    summary = run_summary({"after": made}, Toggle.from_pack(PACK), steps=0, train_seconds=0, status="completed")
    assert list(summary["after"]["rates"]) == ["chosun", "none"]
    tags = summary["details"]["models"]["after"]["tags"]
    assert list(tags) == ["chosun", "none", "untagged", "misspelt"]
    assert tags["untagged"]["target_rate"] == 0.0 and tags["misspelt"]["target_rate"] == 1.0
    assert tags["misspelt"]["joint"] is None


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
