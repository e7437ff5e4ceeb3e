"""RowMaker.read: whose states of which text a loss is handed, and that every loss trains on them however a window is cut."""

from functools import cache

import pytest
import torch

from gold_style.distil.objective import TokenExact
from gold_style.engine.teacher import Teacher
from gold_style.losses.contrast import Contrast
from gold_style.losses.no_teacher import NoTeacher
from gold_style.losses.topk_tail import TopkTail
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
DOUBLE = {"dtype": torch.float64}
LOSSES = {"topk_tail": TopkTail(beta=0.3, tail_k=5), "contrast": Contrast(beta=0.3, strength=0.5), "no_teacher": NoTeacher()}
READS = {"contrast": ("bare",)}


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1, **DOUBLE), TOKENIZER)


def maker(token_loss, reads=("bare",), **changes):
    objective = TokenExact(teacher=teacher(), vocab_size=VOCAB, token_loss=token_loss, readings=reads)
    changes = {"compute_dtype": torch.float64, "student_system_prompt": "간단히.", **changes}
    return toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), objective=objective, **changes)


def test_bare_is_the_teacher_on_what_the_student_reads(tmp_path):
    made = maker(LOSSES["contrast"])
    trained = toy_runs.trainer(toys.model(VOCAB, **DOUBLE), made, tmp_path)
    rows = made.make(0, trained.accelerator, trained.student_copy)
    for row, reading in zip(rows, made.read(rows), strict=True):
        ids = torch.tensor([[*made.chat.student_ids(row.prompt), *row.completion[:-1]]])
        with torch.no_grad():
            expected = made.teacher.model.model(ids).last_hidden_state[0, -len(row.completion) :]
        torch.testing.assert_close(reading["bare"], expected)
        assert reading["teacher"].shape == expected.shape and not torch.allclose(reading["teacher"], reading["bare"])


@pytest.mark.parametrize("kind", LOSSES)
def test_gradients_do_not_depend_on_the_cut_or_on_the_fused_form(kind, tmp_path):
    def step(plain_head=None, **changes):
        student = toys.model(VOCAB, **DOUBLE)
        trained = toy_runs.trainer(
            student, maker(LOSSES[kind], READS.get(kind, ()), **changes), tmp_path, callbacks=[seen := toy_runs.GradientRecorder()]
        )
        trained.backbone.reading.plain_head = plain_head
        trained.train()
        return toy_runs.flat(seen.steps[0]), trained.run.rows[0]

    whole, logged = step(rows_per_microbatch=8)
    assert whole.norm() > 0.01
    for gradient, row in (step(rows_per_microbatch=3), step(rows_per_microbatch=1), step(plain_head=False)):
        assert toy_runs.distance(gradient, whole) < 1e-6  # the rows' weights are float32
        assert row["train/loss"] == pytest.approx(logged["train/loss"], rel=1e-6)  # summed in float32


@pytest.mark.parametrize("kind", ["topk_tail", "contrast"])
def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient(kind, tmp_path):
    own = Teacher(toys.model(VOCAB, **DOUBLE), TOKENIZER)
    objective = TokenExact(teacher=own, vocab_size=VOCAB, token_loss=LOSSES[kind], readings=READS.get(kind, ()))
    nothing = {"teacher_system_prompt": "", "compute_dtype": torch.float64}
    made = toy_runs.row_maker(TOKENIZER, own, toys.prompts(8), objective=objective, **nothing)
    gradient, logged, _ = toy_runs.one_step(toys.model(VOCAB, **DOUBLE), made, tmp_path)
    assert abs(logged) <= 1e-7 and gradient.norm() <= 1e-6
