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


def test_the_student_is_not_served_where_the_teacher_is():
    asked = ["hardware=vllm_server", "teacher_backend=openai", "loss=topk_tail", "teacher_backend.address=http://127.0.0.1:8000/v1"]
    with pytest.raises(SettingsError, match="hardware.vllm_server=http://127.0.0.1:8000: serves the teacher"):
        check(asked, "config")
    check([*asked, "hardware.vllm_server=http://127.0.0.1:80"], "config")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["loss=uld"], "teacher_backend.kind=openai: .* loss.kind=uld cannot compare; add loss=topk_tail"),
        (["teacher_backend.address=null"], "teacher_backend.address=null: must be given with teacher_backend=openai"),
        (["loss.temperature=0.7"], "loss.temperature=0.7: .*; add loss.temperature=1"),
        (["evaluation.retention=true"], "evaluation.retention=true: needs the teacher's weights"),
        (["teacher_backend=opnai"], "did you mean"),
    ],
)
def test_what_a_served_teacher_cannot_do_is_refused(changes, reason):
    asked = ["teacher_backend=openai", "loss=topk_tail", "teacher_backend.address=http://127.0.0.1:8000/v1"]
    check(asked, "config")
    kept = [text for text in asked if text.partition("=")[0] != changes[0].partition("=")[0]]
    with pytest.raises(SettingsError, match=reason):
        check([*kept, *changes], "config")
