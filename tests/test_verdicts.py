"""Classifiers of style packs."""

from pathlib import Path

import pytest
import yaml

from gold_style.speech import LEVELS, classify
from gold_style.styles import StylePack
from gold_style.verdicts import build_classifier, label_mistakes

STYLES = Path(__file__).resolve().parents[1] / "conf" / "styles"
VILLAGE = {"name": "markers", "markers": {"village": [", 도토!"], "cat": ["다냥", "냥"]}, "otherwise": "modern"}


@pytest.mark.parametrize("pack", sorted(path.stem for path in STYLES.glob("*.yaml")))
def test_examples_of_every_pack_get_the_verdict_of_their_tag(pack):
    source = yaml.safe_load((STYLES / f"{pack}.yaml").read_text(encoding="utf-8"))
    classifier = build_classifier(source["classifier"], source["language"])
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


JOSEON = yaml.safe_load((STYLES / "joseon.yaml").read_text(encoding="utf-8")) | {"few_shots": 0}
VILLAGE_PACK = yaml.safe_load((STYLES / "village.yaml").read_text(encoding="utf-8")) | {"few_shots": 0}


def changed(pack: dict, tag: str, **values) -> StylePack:
    """A pack with other values of one style; a tag that it lacks is added."""
    style = {"rule": "말하라.", **pack["styles"].get(tag, {}), **values}
    return StylePack.from_settings({**pack, "styles": {**pack["styles"], tag: style}})


@pytest.mark.parametrize(
    ("pack", "tag", "values", "message"),
    [
        (JOSEON, "chosun", {"verdict": "zebra"}, "styles.styles.chosun.verdict: 'zebra' is not one of joseon, modern"),
        (JOSEON, "none", {"verdict": "moderm"}, "'moderm' is not one of joseon, modern; did you mean modern?"),
        (JOSEON, "third", {"verdict": "village"}, "styles.styles.third.verdict: 'village' is not one of joseon, modern"),
        (JOSEON, "none", {"verdict": "other"}, "'other' is not one of joseon, modern"),
        (JOSEON, "none", {"verdict": "ambiguous"}, "'ambiguous' is not one of joseon, modern"),
        (JOSEON, "none", {"verdict": "joseon"}, "styles.styles.none.verdict: 'joseon' is the verdict of the first tag, chosun, too"),
        (JOSEON, "chosun", {"levels": {"up": ["하소사체"]}}, "styles.styles.chosun.levels.up: '하소사체' is not one of 하소서체, "),
        (JOSEON, "chosun", {"levels": {"up": "하소"}}, "'하소' is not one of 하소서체, "),
        (VILLAGE_PACK, "village", {"verdict": "vilage"}, "'vilage' is not one of village, modern; did you mean village?"),
        (VILLAGE_PACK, "none", {"verdict": "joseon"}, "styles.styles.none.verdict: 'joseon' is not one of village, modern"),
    ],
)
def test_labels_that_nobody_can_give_are_named(pack, tag, values, message):
    (line,) = label_mistakes(changed(pack, tag, **values))
    assert message in line


def test_what_a_pack_may_share_passes():
    assert label_mistakes(changed(JOSEON, "casual", verdict="modern", levels={"up": "해요체"})) == []
    spare = VILLAGE_PACK | {"classifier": {**VILLAGE_PACK["classifier"], "markers": {"village": ["도토"], "cat": ["냥"]}}}
    assert label_mistakes(StylePack.from_settings(spare)) == []  # a marker that no tag asks for tells a third style apart
