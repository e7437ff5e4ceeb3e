"""Rules that need to know what was typed."""

import pytest

from gold_style.config.check.command_line import check
from gold_style.config.check.rules import rule_mistakes
from gold_style.config.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["prompts=jsonl", "prompts.untagged_share=0.1"], "in those of prompts=jsonl, leave the tag out yourself"),
        (["prompts=hf", "prompts.name=data", "model.recipe.untagged_share=0.2"], "in those of prompts=hf"),
        (["prompts.chosun_probability=1", "prompts.untagged_share=0.1"], "no row is under styles.untagged=none"),
        (
            ["prompts.chosun_probability=0", "styles.untagged=chosun", "prompts.untagged_share=0.1"],
            "no row is under styles.untagged=chosun",
        ),
        (["prompts.untagged_share=1.5"], "must be between 0 and 1"),
    ],
)
def test_a_share_of_untagged_rows_that_no_row_can_give_is_refused(overrides, reason):
    with pytest.raises(SettingsError, match=reason) as refused:
        check(overrides, "config")
    assert [mistake.key.endswith(".untagged_share") for mistake in refused.value.mistakes] == [True]


@pytest.mark.parametrize(
    "overrides",
    [
        ["prompts=jsonl"],
        ["prompts=jsonl", "prompts.untagged_share=0"],
        ["prompts.chosun_probability=1"],
        ["prompts.chosun_probability=1", "prompts.pairing=paired", "prompts.untagged_share=0.1"],
        ["prompts.untagged_share=0.9"],
    ],
)
def test_a_share_of_untagged_rows_that_has_an_effect_is_let_through(overrides):
    check(overrides, "config")


@pytest.mark.parametrize(
    ("overrides", "key", "remedy"),
    [
        (("experiment=control_no_prompt", "loss=contrast"), "prompts.teacher_context", "prompts.teacher_context=full"),
        (("experiment=control_no_prompt", "loss=contrast"), "prompts.teacher_context", "loss=jsd"),
        (
            ("experiment=control_swapped", "prompts.teacher_system_prompt=Briefly"),
            "prompts.teacher_context",
            "prompts.teacher_system_prompt=null",
        ),
    ],
)
def test_readings_that_cannot_be_had_together_are_refused_with_what_helps(overrides, key, remedy):
    model = "model=qwen3b_to_1p5b"
    (mistake,) = rule_mistakes(Settings.compose(model, *overrides))
    assert mistake.key == key and remedy.removesuffix("=null") in str(mistake)
    kept = [override for override in overrides if override.partition("=")[0] != remedy.partition("=")[0]]
    assert rule_mistakes(Settings.compose(model, *kept, remedy)) == []
