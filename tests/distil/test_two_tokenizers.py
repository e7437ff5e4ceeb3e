"""Training across two tokenizers: what is read, scored, weighed and counted. (The losses: tests/test_losses_*.py.)"""

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
import torch

from gold_style.distil.micro_batch import collate
from gold_style.engine.backbone import Backbone
from gold_style.engine.rollout import GREEDY, Completion
from gold_style.engine.teacher import Teacher
from tests.helpers import stock, toy_runs, toys

STUDENT = toys.byte_tokenizer((("h", "e"), ("l", "l")))
TEACHER = toys.llama3_tokenizer((("e", "l"), ("Ġ", "w")))  # neither segmentation is finer than the other
VOCAB = len(STUDENT)
STOP, TEACHER_STOP = STUDENT.eos_token_id, TEACHER.eos_token_id
KINDS = ["uld", "uld_hybrid", "tree"]


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(len(TEACHER), seed=1), TEACHER)


def asked(num: int = 8):
    """Requests with answers of different lengths on which the two tokenizers disagree."""
    return [replace(p, reference="hello world, hello " * (1 + p.row % 3) + "그러하옵니다.") for p in toys.prompts(num)]


def maker(kind: str = "uld", *, of: Teacher | None = None, rows=None, **changes):
    of = of or teacher()
    objective = toy_runs.cross_objective(STUDENT, of, kind)
    changes = {"max_completion_length": 120, **changes}
    return toy_runs.row_maker(STUDENT, of, rows or asked(), objective=objective, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_step_does_not_depend_on_the_split(kind, tmp_path):
    whole, loss, _ = toy_runs.one_step(toys.model(VOCAB), maker(kind), tmp_path)
    assert loss > 0.01 and whole.norm() > 0.001
    for split in ({"rows_per_microbatch": 2}, {"rows_per_microbatch": 1}, {"tokens_per_microbatch": 300}):
        gradient, logged, _ = toy_runs.one_step(toys.model(VOCAB), maker(kind, **split), tmp_path)
        assert logged == pytest.approx(loss, rel=1e-5)
        assert toy_runs.distance(gradient, whole) < 2e-5


@pytest.mark.parametrize("kind", ["uld_hybrid", "tree"])
def test_beta_may_change_from_step_to_step(kind, tmp_path):
    betas = [0.0, 0.7]
    given = maker(kind)
    given.options = replace(given.options, beta=lambda step: betas[step])
    _, _, moved = toy_runs.one_step(toys.model(VOCAB), given, tmp_path, max_steps=2, learning_rate=0.0)
    for step, beta in enumerate(betas):
        constant = maker(kind)
        constant.objective.set_beta(beta)
        _, _, trained = toy_runs.one_step(toys.model(VOCAB), constant, tmp_path, max_steps=2, learning_rate=0.0)
        assert moved.run.rows[step]["train/loss"] == trained.run.rows[step]["train/loss"] != moved.run.rows[1 - step]["train/loss"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_completion_token_is_scored(kind, tmp_path):
    """The states that receive a gradient predict the first token, ..., the stop; the teacher reads its own ids."""
    student, model = toys.model(VOCAB), toys.model(len(TEACHER), seed=1)
    found = toy_runs.scored_positions(student)
    reads = stock.Reads(model.get_decoder())
    given = maker(kind, of=Teacher(model, TEACHER, prefix_cache_bytes=0), rows=asked(4), rows_per_window=4)
    _, _, trained = toy_runs.one_step(student, given, tmp_path)
    chat = given.chat
    for prompt, scored in zip(asked(4), found, strict=True):
        answer = STUDENT(prompt.reference)["input_ids"]
        first = len(chat.student_ids(prompt)) - 1
        assert scored == list(range(first, first + len(answer) + 1))
        theirs = chat.teacher_ids(prompt)
        read = theirs.prefix + theirs.rest + tuple(TEACHER(prompt.reference)["input_ids"])
        assert any(row[: len(read)] == read for row in reads.rows)
    assert trained.run.rows[0]["train/matched_tokens"] == 1
    assert not [name for name in trained.run.rows[0] if name.startswith("train/not_aligned/")]


def test_an_answer_that_stops_at_once_is_trained(tmp_path):
    """Stop is paired with stop: an empty answer has a loss (stock: exactly none, fact 8)."""
    student = toys.scripted_model(VOCAB, [STOP, 5], sharpness=0.5)
    given = maker(rows=toys.prompts(1), lmbda=1.0, rows_per_window=1, sampling=GREEDY)
    gradient, loss, trained = toy_runs.one_step(student, given, tmp_path)
    assert trained.run.rows[0]["train/completion_tokens"] == 1 and loss > 0 and gradient.norm() > 0


def test_a_teachers_stop_becomes_the_students():
    objective = toy_runs.cross_objective(STUDENT, teacher())
    ids = tuple(TEACHER("hello world 가")["input_ids"])
    finished = objective.to_student_ids(Completion((*ids, TEACHER_STOP), True))
    assert finished == Completion((*STUDENT("hello world 가")["input_ids"], STOP), True)
    cut = objective.to_student_ids(Completion(ids, False))
    assert cut == Completion(finished.ids[:-1], False)
    assert objective.to_student_ids(Completion((TEACHER_STOP,), True)) == Completion((STOP,), True)


def test_seq_kd_carries_the_teachers_text_over(tmp_path):
    """Teacher-written rows, decoded by the student's tokenizer, are the teacher's own words."""
    spoken = TEACHER("ab")["input_ids"]
    model = toys.scripted_model(len(TEACHER), [*spoken, TEACHER_STOP])
    given = maker(of=Teacher(model, TEACHER), seq_kd=True, rows=toys.prompts(8, references=False))
    trained = toy_runs.trainer(toys.model(VOCAB), given, tmp_path)
    rows = given.make(0, trained.accelerator, trained.student_copy)
    assert {row.completion for row in rows} == {(*STUDENT("ab")["input_ids"], STOP)} and all(row.finished for row in rows)


BROKEN = {
    "half a syllable, then text": [*STUDENT("가")["input_ids"][:2], *STUDENT("x")["input_ids"], STOP],
    "half a syllable at the limit": [*STUDENT("a")["input_ids"], *STUDENT("가")["input_ids"][:2]],
    "a control token amid text": [*STUDENT("a")["input_ids"], VOCAB - 2, *STUDENT("b")["input_ids"], STOP],
    "decomposed syllables": [*STUDENT("\u1100\u1161x")["input_ids"], STOP],
    "a special token's name, written out": [*STUDENT("<|eot_id|>", split_special_tokens=True)["input_ids"], STOP],
    "an emoji of several code points": [*STUDENT("👩‍👧")["input_ids"], STOP],
}
COUNTED = {"half a syllable, then text", "half a syllable at the limit", "a control token amid text"}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_carry_over_is_counted_and_the_rest_scored(kind, name, tmp_path):
    given = maker(kind, rows=toys.prompts(1), rows_per_window=1)
    completion = tuple(BROKEN[name])
    given.answer = lambda prompt: Completion(completion, completion[-1] == STOP)
    gradient, loss, trained = toy_runs.one_step(toys.model(VOCAB), given, tmp_path)
    row = trained.run.rows[0]
    counts = {key: count for key, count in row.items() if key.startswith("train/not_aligned/")}
    assert (sum(counts.values()) == 1) == (name in COUNTED)
    assert gradient.isfinite().all() and 0 < loss < 10
    assert row["train/matched_tokens"] > 0 and (name in COUNTED or row["train/matched_tokens"] == 1)
    (scored,) = given.make(0, trained.accelerator, trained.student_copy)
    given.objective.prepare([scored])
    sides = [side.bytes for side in given.objective.sides]
    for s0, s1, t0, t1 in scored.spans:  # never misaligned: a span covers the same bytes, or is stop against stop
        ours, theirs = scored.completion[s0:s1], scored.teacher_completion[t0:t1]
        assert (ours, theirs) == ((STOP,), (TEACHER_STOP,)) or sides[0].join(ours) == sides[1].join(theirs) != b""


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_aligned_every_weight_still_gets_its_gradient(kind):
    """A zero, but there: DDP waits for every weight's gradient of every process, a head of its own included."""
    student, given = toys.model(VOCAB, tie_word_embeddings=False), maker(kind, rows_per_window=2)
    rows = [replace(given._draw(0, number), completion=(5, 6, 7)) for number in range(2)]
    batch = collate(rows, [torch.zeros(0, 32)] * 2, weight=1.0, pad_id=0, device=torch.device("cpu"), stats_every=0)
    loss = given.objective.loss(Backbone(student), Backbone(student).hidden(batch.student_ids_BT)[batch.row_N, batch.position_N], batch)
    loss.backward()
    assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in student.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_padded_vocabulary_rows_take_no_part(kind, tmp_path):
    """Heads wider than either tokenizer: the same step, and no gradient for ids that do not exist."""
    wide_student = toys.model(VOCAB + 7, tie_word_embeddings=False)
    wide_teacher = Teacher(toys.model(len(TEACHER) + 9, seed=1, tie_word_embeddings=False), TEACHER)
    recorder = toy_runs.GradientRecorder()
    given = maker(kind, of=wide_teacher)
    toy_runs.trainer(wide_student, given, tmp_path, callbacks=[recorder]).train()
    head = recorder.steps[0]["lm_head.weight"]
    assert not head[VOCAB:].any() and head[:VOCAB].abs().max() > 0
    wide_teacher.model.lm_head.weight.data[len(TEACHER) :] += 5.0
    again = toy_runs.GradientRecorder()
    wide_student = toys.model(VOCAB + 7, tie_word_embeddings=False)
    toy_runs.trainer(wide_student, maker(kind, of=wide_teacher), tmp_path, callbacks=[again]).train()
    assert torch.equal(again.steps[0]["lm_head.weight"], head)


def test_the_stop_can_be_left_out(tmp_path):
    given = maker(rows=asked(4), rows_per_window=4)
    _, _, trained = toy_runs.one_step(toys.model(VOCAB), given, tmp_path)
    skipping = maker(rows=asked(4), rows_per_window=4)
    skipping.objective.span_loss = replace(skipping.objective.span_loss, unscored_ids=skipping.output_ids.stop_ids)
    rows = skipping.make(0, trained.accelerator, trained.student_copy)
    given.objective.prepare(rows)
    with_stop = Counter({row.number: row.num_scored for row in rows})
    skipping.objective.prepare(rows)
    assert all(with_stop[row.number] == row.num_scored + 1 and row.num_matched == len(row.completion) for row in rows)
