"""losses/tree: conservation, the slow twin, the true student as a fixed point, and what the loss can teach."""

import itertools
import random

import pytest
import torch

from gold_style.losses.divergence import JSD, log_probs
from gold_style.losses.tree.lifting import Lifting
from gold_style.losses.tree.loss import Tree
from gold_style.tokens.alignment import align, retokenise
from gold_style.tokens.token_bytes import TokenBytes
from tests.helpers.slow_losses import tree_reference
from tests.helpers.small_world import CHARACTERS, SHUFFLED, WEIGHTS, WORLD, sides_of, true_logits, true_model
from tests.helpers.toy_tokenizers import LLAMA_SPECIALS, byte_level, sentence_piece

BETAS = (0.0, 0.1, 0.3, 0.5, 0.9, 1.0)
STUDENT = byte_level(merges=60)
TEACHERS = {
    "finer": byte_level(merges=5, specials=LLAMA_SPECIALS),
    "coarser": byte_level(merges=300, specials=LLAMA_SPECIALS),
    "crossing": byte_level(merges=60, specials=LLAMA_SPECIALS, texts=SHUFFLED, words=CHARACTERS),
    "spaces": byte_level(merges=150, specials=LLAMA_SPECIALS, words=CHARACTERS),
    "pieces": sentence_piece(),
}
TEXTS = ("감사합니다. 안녕", "나는 밥을", "", "hello 감사")


def lifting_of(student, teacher):
    return Lifting(student, teacher, [student.eos_token_id], [teacher.eos_token_id])


LIFTINGS = {name: lifting_of(STUDENT, teacher) for name, teacher in TEACHERS.items()}


def rows(student, teacher, texts=TEXTS, unfinished=(1,), ids_of=None):
    """-> flat student ids, flat teacher ids, spans, teacher tokens per row."""
    tables = TokenBytes.from_tokenizer(student), TokenBytes.from_tokenizer(teacher)
    ids, others, spans, lengths = [], [], [], []
    for number, text in enumerate(texts):
        finished = number not in unfinished
        own = (ids_of or student.encode)(text) + [student.eos_token_id] * finished
        theirs, _ = retokenise(own, tables[0], teacher, finished, teacher.eos_token_id)
        moved = (len(ids), len(ids), len(others), len(others))
        spans += [tuple(map(sum, zip(span, moved, strict=True))) for span in align(own, theirs, *tables)]
        ids, others, lengths = ids + own, others + theirs, [*lengths, len(theirs)]
    return ids, others, spans, lengths


def logits(num_tokens, width, seed, scale=3.0):
    return torch.randn(num_tokens, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def summed(tree, student_logits, teacher_logits, ids, others, spans, lengths):
    """-> (sum of the tokens' losses, number of scored tokens)."""
    loss_P, _ = tree.per_unit(student_logits, teacher_logits, torch.tensor(ids), torch.tensor(others), torch.tensor(spans), lengths)
    return loss_P.sum(), len(loss_P)


def target_of(tree, student_logits, teacher_logits, ids, others, plan):
    positions = torch.from_numpy(plan.positions.student_P)
    student = log_probs(student_logits[positions, : len(tree.lifting.student)]).exp()
    teacher = log_probs(teacher_logits[:, : len(tree.lifting.teacher)])
    return tree.target(student, teacher, torch.tensor(ids)[positions], torch.tensor(others), plan)


def test_tokens_that_a_tokenizer_has_beyond_the_embedding_change_nothing():
    plain, wider = (byte_level(merges=60), byte_level(merges=5, specials=LLAMA_SPECIALS)), []
    for tokenizer in (byte_level(merges=60), byte_level(merges=5, specials=LLAMA_SPECIALS)):
        tokenizer.add_tokens(["<|one|>", "<|two|>"], special_tokens=True)
        wider.append(tokenizer)
    found = []
    for student, teacher in (plain, wider):
        ids, others, spans, lengths = rows(student, teacher)
        student_logits = logits(len(ids), len(plain[0]), 0).requires_grad_()
        tree = Tree(lifting=lifting_of(student, teacher), beta=0.3)
        loss, _ = summed(tree, student_logits, logits(len(others), len(plain[1]), 1), ids, others, spans, lengths)
        found.append((loss.detach(), *torch.autograd.grad(loss, student_logits)))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("beta", BETAS)
def test_value_and_gradient_are_the_slow_twin_s(name, beta):
    tree, teacher = Tree(lifting=LIFTINGS[name], beta=beta), TEACHERS[name]
    ids, others, spans, lengths = rows(STUDENT, teacher, TEXTS if beta == 0.3 else TEXTS[2:])
    student_logits = logits(len(ids), len(STUDENT) + 3, 0).requires_grad_()
    teacher_logits = logits(len(others), len(teacher) + 5, 1)
    loss, count = summed(tree, student_logits, teacher_logits, ids, others, spans, lengths)
    expected, expected_count = tree_reference(tree, student_logits, teacher_logits, ids, others, spans, lengths)
    gradients = [torch.autograd.grad(value, student_logits)[0] for value in (loss, expected)]
    assert count == expected_count == sum(s1 - s0 for s0, s1, _, _ in spans)
    torch.testing.assert_close(loss.detach(), expected.detach(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", TEACHERS)
def test_probability_is_conserved_on_both_sides(name):
    tree, teacher = Tree(lifting=LIFTINGS[name], beta=0.3), TEACHERS[name]
    ids, others, spans, lengths = rows(STUDENT, teacher)
    plan = tree.plan(ids, others, spans, lengths)
    cases = (torch.float64, 3.0, 1e-12), (torch.float64, 30.0, 1e-12), (torch.float32, 3.0, 2e-6)
    for dtype, scale, tolerance in cases:
        student_logits = logits(len(ids), len(STUDENT), 0, scale).to(dtype)
        teacher_logits = logits(len(others), len(teacher), 1, scale).to(dtype)
        target = target_of(tree, student_logits, teacher_logits, ids, others, plan)
        assert (target >= 0).all() and target.isfinite().all()
        torch.testing.assert_close(target.sum(-1), torch.ones(len(target), dtype=dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["finer", "crossing"])
def test_rows_add_up_whatever_batch_they_stand_in(name):
    tree, teacher = Tree(lifting=LIFTINGS[name], beta=0.3), TEACHERS[name]
    ids, others, spans, lengths = rows(STUDENT, teacher)
    student_logits, teacher_logits = logits(len(ids), len(STUDENT), 0), logits(len(others), len(teacher), 1)
    whole, count = summed(tree, student_logits, teacher_logits, ids, others, spans, lengths)
    total, total_count = 0.0, 0
    for row in range(len(lengths)):
        first, last = sum(lengths[:row]), sum(lengths[: row + 1])
        part = [span for span in spans if first <= span[2] < last]
        s0, s1 = part[0][0], part[-1][1]
        moved = [(a - s0, b - s0, c - first, d - first) for a, b, c, d in part]
        sides = student_logits[s0:s1], teacher_logits[first:last], ids[s0:s1], others[first:last]
        value, number = summed(tree, *sides, moved, [last - first])
        total, total_count = total + value, total_count + number
    assert total_count == count
    torch.testing.assert_close(total, whole)


@pytest.mark.parametrize("beta", BETAS)
def test_identical_tokenizers_give_the_token_exact_divergence(beta):
    tree = Tree(lifting=lifting_of(STUDENT, STUDENT), beta=beta, temperature=0.8)
    ids, others, spans, lengths = rows(STUDENT, STUDENT)
    student_logits, teacher_logits = logits(len(ids), len(STUDENT), 0), logits(len(ids), len(STUDENT), 1)
    loss, count = summed(tree, student_logits, teacher_logits, ids, others, spans, lengths)
    special = [i for i in range(len(STUDENT)) if tree.lifting.student.special[i] and i != STUDENT.eos_token_id]
    student, teacher = ((side / 0.8).log_softmax(-1) for side in (student_logits, teacher_logits))
    merged = [
        torch.cat([side[:, [i for i in range(len(STUDENT)) if i not in special]], side[:, special].logsumexp(-1, keepdim=True)], 1)
        for side in (student, teacher)
    ]
    torch.testing.assert_close(loss, JSD(beta=beta)(*merged).sum(), rtol=1e-6, atol=1e-9)
    assert count == len(ids)
    same, _ = summed(tree, student_logits, student_logits, ids, others, spans, lengths)
    assert abs(same.item()) <= 1e-7


def test_padding_rows_take_no_part():
    tree, teacher = Tree(lifting=LIFTINGS["spaces"], beta=0.3), TEACHERS["spaces"]
    ids, others, spans, lengths = rows(STUDENT, teacher)
    student_logits = logits(len(ids), len(STUDENT) + 9, 0)
    teacher_logits = logits(len(others), len(teacher) + 4, 1)
    loss, _ = summed(tree, student_logits.requires_grad_(), teacher_logits, ids, others, spans, lengths)
    gradient = torch.autograd.grad(loss, student_logits)[0]
    assert (gradient[:, len(STUDENT) :] == 0).all()
    raised = torch.cat([teacher_logits[:, : len(teacher)], torch.full((len(others), 4), 90.0).double()], 1)
    torch.testing.assert_close(summed(tree, student_logits, raised, ids, others, spans, lengths)[0], loss)


def test_a_completion_cut_short_and_one_against_its_own_tokenisation_are_scored():
    table = TokenBytes.from_tokenizer(STUDENT)
    for name in ("crossing", "pieces"):
        tree, teacher = Tree(lifting=LIFTINGS[name], beta=0.3), TEACHERS[name]
        ids, others, spans, lengths = rows(
            STUDENT, teacher, ("감사", "밥을"), (0,), lambda text: [table.id_of_byte[byte] for byte in text.encode()]
        )
        student_logits = logits(len(ids), len(STUDENT), 0).requires_grad_()
        teacher_logits = logits(len(others), len(teacher), 1)
        loss, count = summed(tree, student_logits, teacher_logits, ids, others, spans, lengths)
        expected, _ = tree_reference(tree, student_logits, teacher_logits, ids, others, spans, lengths)
        gradient = torch.autograd.grad(loss, student_logits)[0]
        assert count == sum(s1 - s0 for s0, s1, _, _ in spans) and gradient.isfinite().all()
        torch.testing.assert_close(loss.detach(), expected.detach(), rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finer", "crossing", "spaces"])
def test_who_cuts_against_its_own_segmentation_is_still_told_how_the_text_goes_on(name):
    """A student that writes single bytes where it has longer tokens, and a teacher that is sure of the text."""
    table = TokenBytes.from_tokenizer(STUDENT)
    tree, teacher = Tree(lifting=LIFTINGS[name], beta=0.3), TEACHERS[name]
    ids, others, spans, lengths = rows(
        STUDENT, teacher, ("감사합니다. 안녕", "나는 밥을"), (), lambda text: [table.id_of_byte[byte] for byte in text.encode()]
    )
    student_logits = logits(len(ids), len(STUDENT), 0)
    teacher_logits = logits(len(others), len(teacher), 1)
    teacher_logits[range(len(others)), others] += 40.0
    loss, _ = summed(tree, student_logits, teacher_logits, ids, others, spans, lengths)
    expected, _ = tree_reference(tree, student_logits, teacher_logits, ids, others, spans, lengths)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-10)
    plan = tree.plan(ids, others, spans, lengths)
    target = target_of(tree, student_logits, teacher_logits, ids, others, plan)
    right = [
        sum(row[u] for u, piece in enumerate(table.pieces) if piece and piece[:1] == table.pieces[ids[i]])
        for i, row in zip(plan.positions.student_P.tolist(), target, strict=True)
        if table.pieces[ids[i]]
    ]
    assert min(right) > 0.9


def test_a_token_that_many_words_fall_back_to_takes_no_share_of_them():
    """A lone space beside whole words: counted as the words' equal it would draw them apart, bit by bit."""
    lifting = LIFTINGS["finer"]
    exact = lifting.student.id_of[b" "]
    assert lifting.members("\u00a0 밥".encode(), (7, 9), exact) == (7, 9)
    assert lifting.members("\u00a0 밥".encode(), (), exact) == (exact,)
    assert lifting.members(b" ", (7, 9), None) == (7, 9, exact)


def test_units_are_student_tokens_and_a_skipped_stop_is_none():
    teacher = TEACHERS["crossing"]
    ids, others, spans, lengths = rows(STUDENT, teacher)
    student_logits, teacher_logits = logits(len(ids), len(STUDENT), 0), logits(len(others), len(teacher), 1)
    arguments = student_logits, teacher_logits, torch.tensor(ids), torch.tensor(others), torch.tensor(spans), lengths
    every, without = (Tree(lifting=LIFTINGS["crossing"], beta=0.3, skip_stop=skip) for skip in (False, True))
    loss_U, _ = every.per_unit(*arguments)
    skipped_U, _ = without.per_unit(*arguments)
    assert len(loss_U) == sum(every.units(span, ids) for span in spans) == len(ids)
    stops = torch.tensor(ids) == STUDENT.eos_token_id
    assert len(skipped_U) == sum(without.units(span, ids) for span in spans) == (~stops).sum()
    torch.testing.assert_close(loss_U[~stops], skipped_U)


@pytest.mark.parametrize("name", TEACHERS)
def test_large_levels_in_dense_blocks_change_nothing(name, monkeypatch):
    tree, teacher = Tree(lifting=LIFTINGS[name], beta=0.3), TEACHERS[name]
    ids, others, spans, lengths = rows(STUDENT, teacher)
    sides = logits(len(ids), len(STUDENT), 0), logits(len(others), len(teacher), 1)
    targets = []
    for large in (10**6, 20, 0):
        monkeypatch.setattr("gold_style.losses.tree.plan.LARGE", large)
        plan = tree.plan(ids, others, spans, lengths)
        assert large == 20 or bool(plan.tables) == (large == 0)
        targets.append(target_of(tree, *sides, ids, others, plan))
    for target in targets[1:]:
        torch.testing.assert_close(target, targets[0])


def test_scoring_in_groups_of_rows_changes_nothing(monkeypatch):
    tree, teacher = Tree(lifting=LIFTINGS["crossing"], beta=0.3), TEACHERS["crossing"]
    ids, others, spans, lengths = rows(STUDENT, teacher)
    student_logits = logits(len(ids), len(STUDENT), 0).requires_grad_()
    teacher_logits = logits(len(others), len(teacher), 1)
    arguments = student_logits, teacher_logits, torch.tensor(ids), torch.tensor(others), torch.tensor(spans), lengths
    results = []
    for max_tokens in (10**6, 12, 1):
        monkeypatch.setattr("gold_style.losses.tree.loss.MAX_CELLS", max_tokens * len(STUDENT))
        loss_U, _ = tree.per_unit(*arguments)
        results.append((loss_U.detach(), *torch.autograd.grad(loss_U.sum(), student_logits)))
    for grouped in results[1:]:
        torch.testing.assert_close(grouped, results[0])


# --- a world small enough to know the truth --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, limit",
    [("finer", 1e-6), ("bytes", 1e-6), ("coarser", 0.01), ("syllables cut", 0.03), ("crossing", 0.03), ("spaces apart", 1e-6)],
)
def test_the_student_that_writes_as_the_teacher_does_is_left_alone(name, limit):
    """The loss at the truth, in nats per token: 0 where the limits in loss.py's docstring do not reach."""
    student, teacher = sides_of(name)
    texts = random.Random(5).choices(WORLD, WEIGHTS, k=25)
    ids, others, spans, lengths = rows(student, teacher, texts, unfinished=())
    student_lengths = [len(student.encode(text)) + 1 for text in texts]
    teacher_logits = true_logits(true_model(teacher), others, lengths, len(teacher))
    tree = Tree(lifting=lifting_of(student, teacher), beta=0.3)
    truth = true_logits(true_model(student), ids, student_lengths, len(student))
    loss, count = summed(tree, truth, teacher_logits, ids, others, spans, lengths)
    assert count == len(ids)
    assert 0 <= loss.item() / count + 1e-9 < limit
    uniform, _ = summed(tree, torch.zeros_like(truth), teacher_logits, ids, others, spans, lengths)
    assert loss < 0.1 * uniform


@pytest.mark.slow
def test_training_finds_the_teacher_s_text_where_segmentations_cross():
    """A student of one free logit vector per context, trained on the world's texts alone by the tree loss."""
    student = byte_level(merges=60, texts=WORLD[::7])
    teacher = byte_level(merges=60, specials=LLAMA_SPECIALS, texts=SHUFFLED, words=CHARACTERS)
    texts = random.Random(5).choices(WORLD, WEIGHTS, k=40)
    ids, others, spans, lengths = rows(student, teacher, texts, unfinished=())
    crossing = [span for span in spans if span[1] - span[0] > 1 and span[3] - span[2] > 1]
    assert len(crossing) > 20
    model = true_model(student)
    starts = itertools.accumulate([0, *(len(student.encode(text)) + 1 for text in texts)])
    row_of = [start for start, text in zip(starts, texts, strict=False) for _ in range(len(student.encode(text)) + 1)]
    contexts = [tuple(ids[row_of[i] : i]) for i in range(len(ids))]
    number = {context: k for k, context in enumerate(dict.fromkeys(contexts))}
    index = torch.tensor([number[context] for context in contexts])
    table = torch.zeros(len(number), len(student), dtype=torch.float64, requires_grad=True)
    tree, optimizer = Tree(lifting=lifting_of(student, teacher), beta=0.3), torch.optim.Adam([table], lr=0.5)
    teacher_logits = true_logits(true_model(teacher), others, lengths, len(teacher))
    plan = tree.plan(ids, others, spans, lengths)
    for _ in range(60):
        optimizer.zero_grad()
        tree.per_token(table[index], teacher_logits, ids, others, plan).mean().backward()
        optimizer.step()
    learned = table.detach().softmax(-1)
    distance = []
    for context, k in number.items():
        truth = torch.zeros(len(student), dtype=torch.float64)
        for token, weight in model[context].items():
            truth[token] = weight / sum(model[context].values())
        distance.append(0.5 * (truth - learned[k]).abs().sum().item())
    assert sum(distance) / len(distance) < 0.1
