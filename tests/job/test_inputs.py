"""What is read before any weights: how many rows and steps a run has."""

import json
import shutil

import pytest

from gold_style.config.settings import Settings
from gold_style.job.inputs import Inputs
from gold_style.job.steps import prompts_per_step, rows_per_step

EPOCHS = ("train.max_steps=-1", "train.num_train_epochs=3", "train.per_device_train_batch_size=2", "train.gradient_accumulation_steps=2")


def test_epochs_are_counted_in_prompts(tmp_path):
    """Ten rows, four completions a step: 2.5 steps an epoch, twice that where every prompt is answered twice."""
    rows = [{"messages": [{"role": "user", "content": f"<style:none> {number}번 요청이오."}]} for number in range(10)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    given = ("prompts=jsonl", f"prompts.path={path}", "prompts.eval_samples=0", "prompts.selection_samples=0", *EPOCHS)
    for num_generations, num_steps in ((1, 8), (2, 15)):
        inputs = Inputs.load(Settings.compose(*given, f"train.num_generations={num_generations}"))
        assert (rows_per_step(inputs.settings), prompts_per_step(inputs.settings)) == (4, 4 // num_generations)
        assert inputs.num_steps == num_steps
    assert Inputs.load(Settings.compose(*given, "train.max_steps=7")).num_steps == 7


def test_a_source_without_end_has_no_epochs():
    inputs = Inputs.load(Settings.compose(*EPOCHS))
    with pytest.raises(ValueError, match="give the number of optimizer steps"):
        assert inputs.num_steps


@pytest.mark.parametrize("lmbda", ["0.5", "{from:0,to:1,steps:40}", "{from:1,to:0.5,steps:40}"])
def test_rows_need_answers_where_the_student_ever_writes_fewer_than_all(tmp_path, lmbda):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"<style:none> {number}번 요청이오."}) for number in range(10)))
    given = ("prompts=jsonl", f"prompts.path={path}", "prompts.eval_samples=0", "prompts.selection_samples=0", "train.max_steps=2")
    given += ("train.per_device_train_batch_size=2", "train.gradient_accumulation_steps=1", f"loss.lmbda={lmbda}")
    text = {"0": "0.5", "{from:0": "0->1/40", "{from:1": "1->0.5/40"}[lmbda.partition(",")[0].partition(".")[0]]
    with pytest.raises(ValueError, match=f"loss.lmbda={text}: off-policy rows need an assistant turn"):
        Inputs.load(Settings.compose(*given))
    assert Inputs.load(Settings.compose(*given, "loss.seq_kd=true")).mistakes() == []


TURNS = ("styles.examples=turns", "styles.few_shots=3")


def test_examples_count_against_the_teachers_context(tmp_path):
    """As many tokens as the longest prompt with its examples fit; one fewer do not, and the message says what to lower."""
    inputs = Inputs.load(Settings.compose(*TURNS))
    asked = (*inputs.training_prompts(), *inputs.source.evaluation(), *inputs.source.selection())
    longest = max(len(ids.prefix) + len(ids.rest) for ids in map(inputs.chat.teacher_ids, asked))
    small, room = shutil.copytree(inputs.settings.model.teacher, tmp_path / "teacher"), inputs.settings.train["max_completion_length"]
    config = json.loads((small / "config.json").read_text())
    for missing in (0, 1):
        (small / "config.json").write_text(json.dumps({**config, "max_position_embeddings": longest + room - missing}))
        settings = Settings.compose(*TURNS, f"model.teacher={small}")
        if not missing:
            assert Inputs.load(settings).mistakes() == []
    fits = f"the teacher's prompt has {longest} tokens, {longest - 1} fit; shorten the request or lower styles.few_shots"
    with pytest.raises(ValueError, match=fits):
        Inputs.load(settings)
