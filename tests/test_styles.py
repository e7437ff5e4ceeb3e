"""A style pack: what is checked, what the teacher reads, and that a third style is its YAML and nothing else."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from gold_style.speech import LEVELS
from gold_style.styles import DIRECTIONS, StylePack
from gold_style.verdicts import classifier_of

CONF = Path(__file__).resolve().parents[1] / "conf/styles"


def joseon(**changes):
    """The default pack's mapping with other values."""
    return {**yaml.safe_load((CONF / "joseon.yaml").read_text(encoding="utf-8")), "few_shots": 0, **changes}


def third_style():
    """The default pack with one more tag."""
    source = joseon()
    animal = {"rule": "숲속 동물 주민처럼 명랑하게 답하라.", "verdict": "village"}
    return {**source, "styles": {**source["styles"], "village": animal}}


def test_combined_prompt_holds_every_rule_and_is_the_same_for_every_row():
    pack = StylePack.from_settings(joseon())
    text = pack.teacher_system("chosun")
    assert text == pack.teacher_system("none")
    assert text.startswith(pack.intro)
    for style in pack.styles:
        assert f"<style:{style.tag}>: {style.rule}" in text
    assert len(text) <= 180  # every row of the embedded teacher pays for it


def test_per_style_prompt_holds_only_the_rows_own_rule():
    pack = StylePack.from_settings(joseon(teacher_prompt="per_style"))
    for style in pack.styles:
        others = [other.rule for other in pack.styles if other is not style]
        text = pack.teacher_system(style.tag)
        assert style.rule in text and not any(rule in text for rule in others)


@pytest.mark.parametrize(("teacher_prompt", "shown"), [("combined", {"chosun", "none"}), ("per_style", {"chosun"})])
def test_few_shots_of_the_styles_that_the_prompt_speaks_of_are_appended(teacher_prompt, shown):
    pack = StylePack.from_settings(joseon(teacher_prompt=teacher_prompt, few_shots=2))
    text = pack.teacher_system("chosun")
    for style in pack.styles:
        present = [shot.answer in text for shot in style.few_shots]
        assert present == [style.tag in shown and number < 2 for number in range(len(present))]


def test_examples_as_turns_take_one_of_each_style_in_turn_and_leave_the_system_text():
    pack = StylePack.from_settings(joseon(few_shots=2, examples="turns"))
    bare = StylePack.from_settings(joseon())
    (chosun, none), turns = pack.styles, pack.example_turns("none")
    in_order = [("chosun", chosun.few_shots[0]), ("none", none.few_shots[0]), ("chosun", chosun.few_shots[1]), ("none", none.few_shots[1])]
    assert turns[::2] == tuple(("user", f"<style:{tag}> {shot.request}") for tag, shot in in_order)
    assert turns[1::2] == tuple(("assistant", shot.answer) for _, shot in in_order)
    assert turns == pack.example_turns("chosun"), "one prefix for every tagged row"
    assert pack.teacher_system("chosun") == bare.teacher_system("chosun")
    assert bare.example_turns("chosun") == StylePack.from_settings(joseon(few_shots=2)).example_turns("chosun") == ()


@pytest.mark.parametrize("teacher_prompt", ["combined", "per_style"])
def test_an_untagged_row_has_its_own_styles_examples_without_tag(teacher_prompt):
    pack = StylePack.from_settings(joseon(few_shots=2, examples="turns", teacher_prompt=teacher_prompt))
    shots = pack.style("none").few_shots[:2]
    assert pack.example_turns("none", False) == tuple(turn for s in shots for turn in (("user", s.request), ("assistant", s.answer)))
    own = pack.example_turns("none")
    assert len(own) == (8 if teacher_prompt == "combined" else 4)
    assert all(text.startswith("<style:none> ") for role, text in own if role == "user") == (teacher_prompt == "per_style")


def test_shipped_few_shots_are_written_in_their_style():
    for path in CONF.glob("*.yaml"):
        pack = StylePack.from_settings({**yaml.safe_load(path.read_text(encoding="utf-8")), "few_shots": 0})
        for style in pack.styles:
            assert len(style.few_shots) >= 2, (path, style.tag)
            assert {classifier_of(pack)(shot.answer) for shot in style.few_shots} == {style.verdict}


def test_accepted_levels_are_levels_that_speech_knows():
    pack = StylePack.from_settings(joseon())
    for style in pack.styles:
        assert set(style.levels) == set(DIRECTIONS)
        assert set(pack.levels(style.tag, None)) <= set(LEVELS)
    assert "하소서체" in pack.levels("chosun", "up")
    assert "하소서체" not in pack.levels("chosun", "down")


def test_a_third_style_is_its_yaml_and_nothing_else():
    pack = StylePack.from_settings(third_style())
    assert pack.tags == ("chosun", "none", "village")
    assert pack.verdict_of("village") == "village" and pack.target_verdict == "joseon"
    assert "<style:village>: 숲속 동물 주민처럼" in pack.teacher_system("village")
    assert pack.levels("village", "up") == ()


def test_typed_settings_are_read_like_a_mapping():
    assert StylePack.from_settings(SimpleNamespace(**joseon())) == StylePack.from_settings(joseon())


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"neutral": "nnoe"}, ["styles.neutral", "'nnoe'", "did you mean none"]),
        ({"untagged": "chosen"}, ["styles.untagged", "did you mean chosun"]),
        ({"neutral": "chosun"}, ["styles.neutral", "style of interest"]),
        ({"few_shots": 9}, ["styles.few_shots", "9"]),
        ({"styles": {"chosun": {"rule": "가", "verdict": "joseon"}}}, ["styles.styles", "two or more"]),
        (
            {"styles": {"chosun": {"verdict": "joseon"}, "none": {"rule": "나", "verdict": "modern"}}},
            ["styles.styles.chosun.rule", "missing"],
        ),
        (
            {"styles": {"chosun": {"rule": "가", "verdict": "joseon", "level": {}}, "none": {"rule": "나", "verdict": "modern"}}},
            ["styles.styles.chosun", "'level'", "did you mean levels"],
        ),
        (
            {"styles": {"Cho sun>": {"rule": "가", "verdict": "joseon"}, "none": {"rule": "나", "verdict": "modern"}}},
            ["styles.styles.Cho sun>", "a-z"],
        ),
    ],
)
def test_mistakes_are_named_with_their_key(changes, parts):
    with pytest.raises(ValueError) as error:
        StylePack.from_settings(joseon(**changes))
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_all_mistakes_come_in_one_message():
    with pytest.raises(ValueError) as error:
        StylePack.from_settings(joseon(neutral="x", untagged="y", few_shots=9))
    assert all(key in str(error.value) for key in ("styles.neutral", "styles.untagged", "styles.few_shots"))


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="did you mean chosun"):
        StylePack.from_settings(joseon()).style("chosum")
