"""Classifiers of style packs."""

from pathlib import Path

import pytest
import yaml

from gold_style.speech import LEVELS, classify
from gold_style.verdicts import build_classifier

STYLES = Path(__file__).resolve().parents[1] / "conf" / "styles"
VILLAGE = {"name": "markers", "markers": {"village": [", 도토!"], "cat": ["다냥", "냥"]}, "otherwise": "modern"}


@pytest.mark.parametrize("pack", sorted(path.stem for path in STYLES.glob("*.yaml")))
def test_examples_of_every_pack_get_the_verdict_of_their_tag(pack):
    source = yaml.safe_load((STYLES / f"{pack}.yaml").read_text(encoding="utf-8"))
    classifier = build_classifier(source["classifier"])
    for tag, style in source["styles"].items():
        assert style["verdict"] in classifier.labels
        for shot in style["few_shots"]:
            assert classifier(shot["answer"]) == style["verdict"], (tag, shot["answer"])
            assert set(classifier.sentences(shot["answer"])) == {style["verdict"]}
            if style.get("levels"):
                assert classifier.level(shot["answer"]) in LEVELS


def test_speech_level():
    classifier = build_classifier({"name": "speech_level", "backend": "rules"})
    assert classifier.labels == ("joseon", "modern", "ambiguous", "other")
    assert classifier.backend == "rules"
    text = "그대의 말이 옳소. 이만 가 보겠소."
    assert (classifier(text), classifier.level(text)) == ("joseon", "하오체") == (classify(text).verdict, classify(text).level)
    assert classifier.sentences("물러가거라. 알겠어요.") == ["joseon", "modern"]


def test_markers_need_a_majority_of_sentences():
    classifier = build_classifier(VILLAGE)
    assert classifier.labels == ("village", "cat", "modern", "ambiguous", "other")
    assert classifier("숲에 가자, 도토! 꿀차도 마시자, 도토!!") == "village"
    assert classifier("숲에 가자, 도토. 꿀차도 마시자, 도토 🌰\n집에 가자.") == "village"
    assert classifier("배가 고프다냥. 밥을 달라냥!") == "cat"
    assert classifier("숲에 가자, 도토! 꿀차도 마시자.") == "ambiguous"
    assert classifier("도토는 도토리의 준말입니다.") == "modern", "a marker inside a sentence is no marker"
    assert classifier.sentences("숲에 가자, 도토! 집에 가요.") == ["village", "modern"]
    assert classifier.level("숲에 가요.") == "해요체"


@pytest.mark.parametrize("text", ["", "   ", "Hello there!", "도토! 도토! 도토! 도토!", "숲에 가자, 도토\ufffd"])
def test_garbage_is_other_for_every_classifier(text):
    for spec in ({"name": "speech_level"}, VILLAGE):
        classifier = build_classifier(spec)
        assert classifier(text) == "other"
        assert classifier.sentences(text) == []


@pytest.mark.parametrize(
    "spec, message",
    [
        ({}, "classifier.name: None is unknown; allowed: speech_level, markers"),
        ({"name": "speech_levels"}, "did you mean speech_level?"),
        ({"name": ["speech_level"]}, "classifier.name: ['speech_level'] is unknown"),
        ({"name": "os.system"}, "allowed: speech_level, markers"),
        ({"name": "speech_level", "_target_": "os.system"}, "key '_target_' of speech_level is unknown"),
        ({"name": "speech_level", "bakend": "rules"}, "did you mean backend?"),
        ({"name": "speech_level", "backend": "rule"}, "did you mean rules?"),
        ({"name": "markers"}, "classifier.markers: None is empty"),
        ({"name": "markers", "markers": {"a": "도토"}}, "classifier.markers.a: '도토' is not a list"),
        ({"name": "markers", "markers": {"a": ["!"]}}, "classifier.markers.a: '!' has no letter"),
        ({"name": "markers", "markers": {"other": ["도토"]}}, "verdict 'other' is reserved"),
        ({"name": "markers", "markers": {"a": ["도토"], "b": ["도토!"]}}, "marks 'a' already"),
        ({"name": "markers", "markers": {"a": ["도토"]}, "otherwise": "a"}, "classifier.otherwise: 'a' must be"),
        ("speech_level", "is not a mapping"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(ValueError) as error:
        build_classifier(spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
