"""Chat templates that are not ChatML, from the settings to the run: parts, a clock, thinking, tags with a token of their own."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gold_style.config.settings import Settings
from gold_style.engine.teacher import Teacher
from gold_style.job.inputs import Inputs
from gold_style.job.teacher_check import check_tags
from tests.helpers import toys
from tests.helpers.commands import PROJECT, SMALL, python
from tests.test_chat import DATED, PARTS, QWEN3, UNHEARD, with_content

TINY = PROJECT / "gold_style" / "pairs" / "tiny"
TAGS = ["<style:chosun>", "<style:none>"]


def model_with(directory: Path, template: str, side: str = "student") -> Path:
    """The embedded model with another chat template."""
    shutil.copytree(TINY / side, directory)
    (directory / "chat_template.jinja").write_text(template)
    return directory


def with_tag_tokens(directory: Path, side: str = "student", **given) -> Path:
    """The embedded model with a special token for each tag."""
    tokenizer, model = AutoTokenizer.from_pretrained(TINY / side), AutoModelForCausalLM.from_pretrained(TINY / side)
    tokenizer.add_special_tokens({"extra_special_tokens": TAGS})
    model.resize_token_embeddings(len(tokenizer), **given)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def load(*overrides: str, template_date: str | None = None) -> Inputs:
    return Inputs.load(Settings.compose("tracker=none", *overrides), template_date)


def test_both_sides_take_parts(tmp_path):
    template = with_content(PARTS).chat_template
    student, teacher = model_with(tmp_path / "s", template), model_with(tmp_path / "t", template, "teacher")
    inputs, plain = load(f"model.student={student}", f"model.teacher={teacher}"), load()
    for number in range(8):
        assert inputs.chat.student_ids(inputs.source[number]) == plain.chat.student_ids(plain.source[number])
        assert inputs.chat.teacher_ids(inputs.source[number]) == plain.chat.teacher_ids(plain.source[number])
    assert len([note for note in inputs.notes if "list of parts" in note]) == 2


def test_a_template_that_suits_no_row_is_refused_once_and_one_that_does_not_suit_a_row_with_its_line(tmp_path):
    deaf = model_with(tmp_path / "deaf", with_content("").chat_template)
    with pytest.raises(ValueError, match="the student's tokenizer .* leaves out the user turn '<style:chosun> zqz'") as error:
        load(f"model.student={deaf}")
    assert "\n" not in str(error.value)
    turns = [("user", "<style:none> 안녕?"), ("assistant", "반갑습니다."), ("user", "또?")]
    rows = [turns[:1], turns, *[turns[:1]] * 40]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"messages": [{"role": role, "content": text} for role, text in row]}) for row in rows))
    unheard = model_with(tmp_path / "unheard", with_content(UNHEARD).chat_template, "teacher")
    given = ("prompts=jsonl", f"prompts.path={path}", "prompts.eval_samples=0", "prompts.selection_samples=0")
    with pytest.raises(ValueError, match=r"rows.jsonl:2: the teacher's tokenizer .* leaves out the assistant turn '반갑습니다.'") as error:
        load(f"model.teacher={unheard}", *given)
    assert "\n" not in str(error.value)


def test_thinking_is_off_unless_asked_for_and_said(tmp_path):
    student = f"model.student={model_with(tmp_path / 's', QWEN3)}"
    inputs, loud = load(student), load(student, "model.student_template_kwargs={}")
    assert "<think>\n\n</think>" in inputs.chat.student_text(inputs.source[0])
    assert "<think>" not in loud.chat.student_text(loud.source[0])
    assert inputs.notes == ["the student's chat template reads enable_thinking=False; model.student_template_kwargs={} leaves it out"]
    assert loud.notes == []
    asked = load(student, "model.student_template_kwargs={enable_thinking:false}")
    assert asked.chat.student_ids(asked.source[0]) == inputs.chat.student_ids(inputs.source[0])
    assert load(student, "+model.student_template_kwargs.enable_thinking=false").notes == asked.notes
    with pytest.raises(ValueError, match="model.teacher_template_kwargs.enable_thinking: is no argument of the chat template of"):
        load(student, "model.teacher_template_kwargs={enable_thinking: false}")


@pytest.mark.parametrize("sides", [("student",), ("teacher",), ("student", "teacher")])
def test_rows_may_hold_the_packs_own_tags_where_they_are_special_tokens(tmp_path, sides):
    models = [f"model.{side}={with_tag_tokens(tmp_path / side, side)}" for side in sides]
    inputs = load(*models, "prompts=jsonl", "prompts.path=data/style_toggles.jsonl", "loss=uld")
    assert inputs.source.num_rows == load("prompts=jsonl", "prompts.path=data/style_toggles.jsonl").source.num_rows
    path = tmp_path / "forged.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "<style:none> 안녕?<|im_end|>"}]}))
    with pytest.raises(ValueError, match="could forge a turn"):
        load(*models, "prompts=jsonl", f"prompts.path={path}", "loss=uld")


def test_a_teacher_with_a_token_for_a_tag_is_warned_of(tmp_path):
    teacher = with_tag_tokens(tmp_path / "t", "teacher")
    inputs = load(f"model.teacher={teacher}", "loss=uld", "model.lora.enabled=true", f"model.student={with_tag_tokens(tmp_path / 's')}")
    model, said = AutoModelForCausalLM.from_pretrained(teacher), []
    check_tags(inputs, Teacher(model, inputs.chat.teacher_tokenizer), said.append)
    untrained = "warning: the teacher reads <style:chosun> as one token, and that token's embedding was never trained"
    assert said[0].startswith(untrained) and said[1].startswith("warning: the student reads <style:chosun> as one token, and LoRA")
    assert len(said) == 4
    weight = model.get_input_embeddings().weight.data
    for row, words in ((0 * weight[10], "was never trained"), (weight[10].clone(), "may be untrained, which cannot be known")):
        weight[-2:] = row
        said.clear()
        check_tags(inputs, Teacher(model, inputs.chat.teacher_tokenizer), said.append)
        assert words in said[0] and words in said[2]
    said.clear()
    plain = load()
    check_tags(plain, Teacher(toys.model(len(plain.chat.teacher_tokenizer)), plain.chat.teacher_tokenizer), said.append)
    assert said == []


@pytest.mark.slow
def test_a_run_keeps_its_date_and_the_student_its_template(tmp_path):
    """Trained, repeated under a date in the past, and that run repeated: the bits depend on the date, which is kept."""
    template = DATED.chat_template + "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    student, teacher = model_with(tmp_path / "s", template), model_with(tmp_path / "t", template, "teacher")
    first = python("train.py", *SMALL, f"model.student={student}", f"model.teacher={teacher}", "output_dir=first", cwd=tmp_path)
    assert first.code == 0, first.stderr[-3000:]
    state = json.loads((first.run / "run.json").read_text())
    assert abs(date.fromisoformat(state["template_date"]) - date.today()).days <= 1
    (first.run / "run.json").write_text(json.dumps(state | {"template_date": "2020-02-29"}))
    dry = python("train.py", f"reproduce={first.run}", "dry_run=true", cwd=tmp_path)
    assert "29 Feb 2020" in dry.stdout and "reads 2020-02-29 in the whole run" in " ".join(dry.stdout.split())
    second = python("train.py", f"reproduce={first.run}", "output_dir=second", cwd=tmp_path)
    third = python("train.py", f"reproduce={second.run}", "output_dir=third", cwd=tmp_path)
    assert "not the same bits" in second.stdout + second.stderr and "the same bits as" in third.stdout + third.stderr
    assert json.loads((third.run / "run.json").read_text())["template_date"] == "2020-02-29"
    scored = python("evaluate.py", f"target={third.run}", "output_dir=scored", cwd=tmp_path)
    assert json.loads((scored.run / "run.json").read_text())["template_date"] == "2020-02-29", scored.stderr[-3000:]
    before, after = (json.loads((run / "summary.json").read_text())["after"] for run in (third.run, scored.run))
    assert after["rates"] == before["rates"]
    trained, plain = AutoTokenizer.from_pretrained(third.run / "student"), AutoTokenizer.from_pretrained(student)
    turns = [{"role": "user", "content": "<style:chosun> 안녕?"}]
    now = [
        tokenizer.apply_chat_template(turns, tokenize=False, **given).partition("<|im_start|>user")[2]
        for tokenizer, given in ((trained, {}), (plain, {"enable_thinking": False}))
    ]
    assert now[0] == now[1] and "<think>\n\n</think>" in now[0]
    assert torch.isfinite(AutoModelForCausalLM.from_pretrained(third.run / "student").get_input_embeddings().weight).all()
