"""P(style opening): what is printed before training, and when it warns."""

import math

import pytest
import torch

from gold_style.distil.openings import OPENING_TOKENS, Opening, _can_be_drawn, _scored, cold_start_warning, measure_openings
from gold_style.engine.backbone import Backbone
from gold_style.engine.rollout import GREEDY, Sampling, draw
from gold_style.engine.teacher import Teacher
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)


def test_probabilities_are_the_models_own():
    """Greedy openings of the teacher, behind its system prompt; the student reads the request alone."""
    teacher, student = Teacher(toys.model(VOCAB, seed=1), TOKENIZER), toys.model(VOCAB)
    maker = toy_runs.row_maker(TOKENIZER, teacher, toys.prompts(4), sampling=GREEDY)
    (found,) = measure_openings(maker, Backbone(student), toys.prompts(4), ["chosun"])
    expected = {"student": [], "teacher": []}
    for prompt in toys.prompts(4):
        prompt = prompt.under("chosun", "chosun")
        theirs = maker.chat.teacher_ids(prompt)
        ids = theirs.prefix + theirs.rest
        opening = teacher.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=OPENING_TOKENS)[0, len(ids) :]
        for side, model, asked in (("teacher", teacher.model, ids), ("student", student, maker.chat.student_ids(prompt))):
            with torch.no_grad():
                logits = model(torch.tensor([[*asked, *opening[:-1]]])).logits[0, len(asked) - 1 :]
            expected[side].append(logits.softmax(-1).gather(1, opening[:, None]).prod().item())
    assert found.style == "chosun"
    assert found.student == pytest.approx(sum(expected["student"]) / 4, rel=1e-3)
    assert found.teacher == pytest.approx(sum(expected["teacher"]) / 4, rel=1e-3)


def test_a_student_that_is_the_teacher_knows_every_opening():
    teacher = Teacher(toys.model(VOCAB), TOKENIZER)
    maker = toy_runs.row_maker(TOKENIZER, teacher, toys.prompts(4), teacher_system_prompt="", sampling=Sampling(top_p=0.8))
    for found in measure_openings(maker, Backbone(toys.model(VOCAB)), toys.prompts(4), toys.PACK.tags):
        assert found.student == pytest.approx(found.teacher, rel=1e-3) and found.student_in_nucleus == 1


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(top_p=0.7), Sampling(top_k=9), Sampling(temperature=0.4, top_p=0.9, top_k=20), GREEDY]
)
def test_the_nucleus_is_what_can_be_drawn(sampling):
    logits_1V = torch.randn(1, 40, generator=torch.Generator().manual_seed(0)) * 2
    grid = (torch.arange(20_000) + 0.5).double() / 20_000
    drawn = set(draw(logits_1V.expand(20_000, -1), grid, sampling).tolist())
    inside = _can_be_drawn(logits_1V.expand(40, -1), torch.arange(40)[:, None], sampling)
    assert drawn == set(inside.nonzero()[:, 0].tolist())


def test_a_warning_where_the_student_never_begins_that_way():
    cold = Opening(style="chosun", student=2e-5, teacher=0.7, student_in_nucleus=0.0)
    text = cold_start_warning(cold, on_policy_rows=3200)
    assert "P(style opening | <style:chosun>)" in text and "2.0e-05" in text and "0.1 of the run's 3200" in text
    assert "Set loss.beta=0" in text and "loss.warm_start_steps" in text and "loss.seq_kd=true" in text
    assert "beta" not in cold_start_warning(cold, on_policy_rows=3200, reads_beta=False)
    assert cold_start_warning(Opening("chosun", 0.1, 0.7, 1.0), on_policy_rows=3200) is None
    assert cold_start_warning(cold, on_policy_rows=0) is None, "nothing is on-policy"


def test_no_prompts_no_numbers():
    teacher = Teacher(toys.model(VOCAB), TOKENIZER)
    maker = toy_runs.row_maker(TOKENIZER, teacher, toys.prompts(4))
    (found,) = measure_openings(maker, Backbone(toys.model(VOCAB)), [], ["chosun"])
    assert math.isnan(found.student) and math.isnan(found.teacher)


def test_all_prompts_are_read_together_with_the_values_of_one_by_one():
    model, maker = (
        toys.model(VOCAB, scale=0.3),
        toy_runs.row_maker(TOKENIZER, Teacher(toys.model(VOCAB, seed=1), TOKENIZER), toys.prompts(4)),
    )
    rows = [(tuple(range(3, 9 + 5 * i)), (7, 1 + i, 40)[: 1 + i % 3]) for i in range(6)]
    together = _scored(Backbone(model), rows, maker)
    for row, (logprob, inside) in zip(rows, together, strict=True):
        ((alone, is_inside),) = _scored(Backbone(model), [row], maker)
        assert logprob == pytest.approx(alone, rel=1e-5) and inside == is_inside
    calls = []
    model.model.register_forward_hook(lambda *_: calls.append(1))  # the model's own forward then reads, padded
    padded = _scored(Backbone(model), rows, maker)
    assert [logprob for logprob, _ in padded] == pytest.approx([logprob for logprob, _ in together], rel=1e-5) and len(calls) == 1
