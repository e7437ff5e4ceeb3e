"""Guided rows: the student writes them with the teacher's private context in its prompt and is trained on them without."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig

from gold_style.config.settings import Settings
from gold_style.engine.teacher import Teacher
from gold_style.job.inputs import Inputs
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
OTHER = toys.llama3_tokenizer()


def maker(**changes):
    """Of a student whose teacher has its weights."""
    return toy_runs.row_maker(TOKENIZER, Teacher(toys.model(VOCAB), TOKENIZER), toys.prompts(8), **changes)


def rows_of(tmp_path, **changes):
    trained = toy_runs.trainer(toys.model(VOCAB), maker(**changes), tmp_path)
    return trained.row_maker.make(0, trained.accelerator, trained.student_copy)


def test_a_guided_row_is_what_the_teacher_would_write_and_is_trained_without_the_context(tmp_path):
    """Where both have the same weights; the draws are the row's own on either side."""
    guided = rows_of(tmp_path, lmbda=1.0, guided_share=1.0)
    taught = rows_of(tmp_path, lmbda=0.0, seq_kd=True)
    plain = rows_of(tmp_path, lmbda=1.0)
    assert [row.completion for row in guided] == [row.completion for row in taught] != [row.completion for row in plain]
    assert [row.student_prompt for row in guided] == [row.student_prompt for row in plain]
    assert all(row.is_guided and row.on_policy for row in guided) and not any(row.is_guided for row in (*taught, *plain))


def test_which_rows_are_guided_is_drawn_by_number_among_the_students_own():
    def drawn(**options):
        made = maker(lmbda=0.5, guided_share=0.4, **options)
        return [made._draw(step, step * 8 + place) for step in range(50) for place in range(8)]

    own = [row for row in drawn() if row.on_policy]
    guided = [row.number for row in drawn() if row.is_guided]
    assert 0.3 < len(guided) / len(own) < 0.5 and set(guided) <= {row.number for row in own}
    assert guided != [row.number for row in drawn(seed=1) if row.is_guided]
    assert not any(row.is_guided for row in drawn(warm_start_steps=50))


@pytest.mark.parametrize("kind", ["one tokenizer", "two tokenizers", "LoRA"])
def test_a_mixed_window_trains_and_logs_its_guided_rows_apart(kind, tmp_path):
    changes = {"lmbda": 0.8, "seq_kd": True, "guided_share": 0.5, "rows_per_window": 16}
    teacher = Teacher(toys.model(VOCAB, seed=1), TOKENIZER)
    if kind == "two tokenizers":
        teacher = Teacher(toys.model(len(OTHER), seed=1), OTHER)
        changes["objective"] = toy_runs.cross_objective(TOKENIZER, teacher, "uld_hybrid")
    peft = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]) if kind == "LoRA" else None
    trained = toy_runs.train(TOKENIZER, teacher, tmp_path, peft_config=peft, training={"max_steps": 2}, **changes)
    for row in trained.run.rows:
        assert torch.tensor([row["train/loss"], row["train/loss/guided"], row["train/completion_tokens/guided"]]).isfinite().all()
    prompt = trained.row_maker.source[0]
    text = TOKENIZER.decode(trained.row_maker.chat.guided_ids(prompt))
    assert trained.row_maker.chat.teacher_system(prompt) in text and text.endswith(trained.row_maker.chat.student_text(prompt)[-30:])


def test_the_private_context_counts_against_the_students_context(tmp_path):
    """As many tokens as the longest guided prompt fit; one fewer do not, and the message says what to lower."""
    asked = ("loss.guided_share=0.5", "styles.examples=turns", "styles.few_shots=3")
    inputs = Inputs.load(Settings.compose(*asked))
    rows = (*inputs.training_prompts(), *inputs.source.evaluation(), *inputs.source.selection())
    longest = max(len(inputs.chat.guided_ids(prompt)) for prompt in rows)
    small, room = shutil.copytree(inputs.settings.model.student, tmp_path / "student"), inputs.settings.train["max_completion_length"]
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**config, "max_position_embeddings": longest + room - 1}))
    fits = f"the student's guided prompt has {longest} tokens, {longest - 1} fit; shorten the request or lower styles.few_shots"
    with pytest.raises(ValueError, match=fits):
        Inputs.load(Settings.compose(*asked, f"model.student={small}"))
    assert Inputs.load(Settings.compose(*asked[1:], f"model.student={small}")).mistakes() == []
