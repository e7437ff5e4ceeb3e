"""Classifiers of style packs."""

from pathlib import Path

import pytest
import yaml

from gold_style.speech import LEVELS, classify
from gold_style.styles import StylePack
from gold_style.verdicts import build_classifier, classifier_of, label_mistakes

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


CAT = {"name": "markers", "markers": {"cat": ["냥"]}, "otherwise": "modern"}
BOTH = [{"name": "speech_level"}, CAT]


def test_the_first_of_a_list_that_gives_a_verdict_of_the_pack_decides():
    cat_or_modern = build_classifier([{"name": "speech_level"}, CAT], verdicts=["cat", "modern"])
    assert cat_or_modern.labels == ("joseon", "modern", "ambiguous", "other", "cat") and cat_or_modern.backend == "rules"
    assert cat_or_modern("배가 고프다냥. 밥을 달라냥!") == "cat" and cat_or_modern("밥을 먹어요.") == "modern"
    village_first = build_classifier([VILLAGE, {"name": "speech_level"}], verdicts=["village", "joseon", "modern"])
    assert village_first("숲에 가자, 도토! 꿀차도 마시자, 도토!") == "village"
    assert village_first("전하, 성은이 망극하옵니다.") == "joseon", "`otherwise` of the first decides nothing"
    assert village_first("숲에 가요.") == "modern" and village_first.level("숲에 가요.") == "해요체"
    assert village_first("") == "other" and village_first.sentences("") == []
    assert set(village_first.sentences("전하, 성은이 망극하옵니다.")) == {"joseon"}


def test_two_lists_of_markers_share_their_otherwise():
    dog = {**CAT, "markers": {"dog": ["멍"]}}
    classifier = build_classifier([CAT, dog], verdicts=["cat", "dog", "modern"])
    assert [classifier(text) for text in ("밥을 달라냥.", "밥을 달라멍.", "밥을 주세요.")] == ["cat", "dog", "modern"]
    assert classifier("밥을 달라냥. 물도 주세요. 고마워요.") == "ambiguous"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "classifier: [] is not a mapping"),
        (
            [{"name": "speech_level"}, {"name": "marker"}],
            "classifier[1].name: 'marker' is unknown; allowed: speech_level, markers; did you mean",
        ),
        ([CAT, {**CAT, "markers": {"dog": "멍"}}], "classifier[1].markers.dog: '멍' is not a list"),
        ([CAT, "speech_level"], "classifier[1]: 'speech_level' is not a mapping"),
        ([{**CAT, "backend": "x"}], "classifier[0].backend: 'x' is unknown"),
    ],
)
def test_mistakes_in_a_list_are_named_with_their_number(spec, message):
    with pytest.raises(ValueError) as error:
        build_classifier(spec)
    assert message in str(error.value)


def test_each_verdict_must_be_given_by_one_of_the_list():
    pack = JOSEON | {"classifier": BOTH}
    assert label_mistakes(changed(pack, "cat", verdict="cat")) == []
    (line,) = label_mistakes(changed(pack, "cat", verdict="dog"))
    assert "styles.styles.cat.verdict: 'dog' is not one of joseon, modern, cat" in line


def test_korean_readers_are_refused_for_another_language():
    for spec, word in (({"name": "speech_level"}, "classifier.name: speech_level"), ({**CAT, "backend": "kiwi"}, "classifier.backend")):
        with pytest.raises(ValueError) as error:
            build_classifier(spec, "en")
        assert word in str(error.value) and "styles.language is en" in str(error.value)


def test_a_list_in_another_language_closes_sentences_there():
    classifier = build_classifier({"name": "markers", "markers": {"pirate": ["arr"]}, "otherwise": "modern"}, "en")
    assert classifier("We sail, arr! The sea is wide, arr.") == "pirate" and classifier("We sail the sea.") == "modern"
    assert classifier("바다로 가자, arr!") == "other" and classifier.level("We sail, arr!") is None


def test_a_pack_says_its_language():
    assert StylePack.from_settings(VILLAGE_PACK).language == "ko"
    assert StylePack.from_settings({key: value for key, value in VILLAGE_PACK.items() if key != "language"}).language == "ko"
    assert classifier_of(StylePack.from_settings(VILLAGE_PACK | {"language": "en"}))("숲에 가자, 도토!") == "other"
    with pytest.raises(ValueError, match="styles.language: 'english' is not one of ko, de"):
        StylePack.from_settings(VILLAGE_PACK | {"language": "english"})
