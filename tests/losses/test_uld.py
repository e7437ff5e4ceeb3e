"""losses/uld: the fast loss against its slow twin and against TRL's ULDLoss, whose defects it must not share."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from trl.experimental.gold import GOLDConfig
from trl.experimental.gold.gold_trainer import ULDLoss, build_teacher_inputs_from_texts

from gold_style.losses.sorted_l1 import TAIL_TOLERANCE, TOP_K
from gold_style.losses.uld import ULD
from gold_style.tokens.alignment import align, retokenise
from gold_style.tokens.token_bytes import TokenBytes
from gold_style.tokens.vocabulary import VocabularyMatch
from tests.helpers.slow_losses import uld_reference
from tests.helpers.toy_tokenizers import LLAMA_SPECIALS, byte_level

BETAS = (0.0, 0.1, 0.3, 0.5, 0.9, 1.0)
STUDENT = byte_level(merges=60)
TEACHER = byte_level(merges=150, specials=LLAMA_SPECIALS, words=r"\p{L}+|\s|[^\s\p{L}]")
STUDENT_BYTES, TEACHER_BYTES = TokenBytes.from_tokenizer(STUDENT), TokenBytes.from_tokenizer(TEACHER)
MATCH = VocabularyMatch.between(STUDENT_BYTES, TEACHER_BYTES, STUDENT.eos_token_id, TEACHER.eos_token_id)


def logits(num_tokens, width, seed, scale=3.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(num_tokens, width, generator=generator, dtype=torch.float64) * scale).to(dtype)


def batch(texts=("감사합니다. 안녕", "hello", "", "나는 밥을 먹었습니다"), padding=(5, 9), dtype=torch.float64):
    """Ragged rows, all finished but the last: -> student logits, teacher logits, student ids, teacher ids, spans."""
    student_ids, teacher_ids, spans = [], [], []
    for number, text in enumerate(texts):
        finished = number < len(texts) - 1
        ids = STUDENT.encode(text) + [STUDENT.eos_token_id] * finished
        others, _ = retokenise(ids, STUDENT_BYTES, TEACHER, finished, TEACHER.eos_token_id)
        spans += [
            (len(student_ids) + s0, len(student_ids) + s1, len(teacher_ids) + t0, len(teacher_ids) + t1)
            for s0, s1, t0, t1 in align(ids, others, STUDENT_BYTES, TEACHER_BYTES)
        ]
        student_ids, teacher_ids = student_ids + ids, teacher_ids + others
    student = logits(len(student_ids), len(STUDENT) + padding[0], 0, dtype=dtype)
    teacher = logits(len(teacher_ids), len(TEACHER) + padding[1], 1, dtype=dtype)
    return student, teacher, torch.tensor(student_ids), torch.tensor(teacher_ids), torch.tensor(spans)


def run(loss, student, *rest):
    student = student.clone().requires_grad_()
    loss_S, _ = loss.per_unit(student, *rest)
    return loss_S.sum().detach(), torch.autograd.grad(loss_S.sum(), student)[0], len(loss_S)


def same_ids(vocab_size, stop_id):
    """The match of one tokenizer with itself: every id is its own partner, special tokens included."""
    ids, none = torch.arange(vocab_size), torch.empty(0, dtype=torch.long)
    return VocabularyMatch(
        student_matched_M=ids,
        teacher_matched_M=ids,
        student_unmatched_U=none,
        teacher_unmatched_W=none,
        student_stop_id=stop_id,
        teacher_stop_id=stop_id,
    )


def token_spans(num_tokens):
    """Every token is a span of its own."""
    return torch.tensor([(i, i + 1, i, i + 1) for i in range(num_tokens)])


SETTINGS = [
    {},
    {"hybrid": False},
    {"matched_weight": 0.8, "unmatched_weight": 0.3, "distillation_weight": 2.0},
    {"student_temperature": 0.7, "teacher_temperature": 1.5, "crossentropy_weight": 0.4},
    {"unscored_ids": (MATCH.student_stop_id,)},
    {"unscored_ids": (MATCH.student_stop_id,), "hybrid": False},
]


@pytest.mark.slow
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_value_and_gradient_are_the_slow_twin_s(beta, settings, monkeypatch):
    shortcut = len(settings) == 2 and "unscored_ids" in settings  # only the largest 16 probabilities are sorted
    monkeypatch.setattr("gold_style.losses.sorted_l1.TOP_K", 16 if shortcut else TOP_K)
    loss, inputs = ULD(match=MATCH, beta=beta, **settings), batch()
    assert any(s1 - s0 > 1 for s0, s1, _, _ in inputs[4].tolist()) and any(t1 - t0 > 1 for _, _, t0, t1 in inputs[4].tolist())
    value, gradient, count = run(loss, *inputs)
    leaf = inputs[0].clone().requires_grad_()
    expected, expected_count = uld_reference(loss, leaf, inputs[1], *(ids.tolist() for ids in inputs[2:]))
    (expected_gradient,) = torch.autograd.grad(expected, leaf)
    assert count == expected_count == len(inputs[4]) - (3 if settings.get("unscored_ids") else 0)
    certified = count * TAIL_TOLERANCE if shortcut else 1e-12
    torch.testing.assert_close(value, expected.detach(), rtol=1e-9, atol=certified)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=2 * certified)


def test_rows_add_up_whatever_batch_they_stand_in():
    loss = ULD(match=MATCH, beta=0.3)
    student, teacher, student_ids, teacher_ids, spans = batch()
    whole, gradient, count = run(loss, student, teacher, student_ids, teacher_ids, spans)
    halves = [run(loss, student, teacher, student_ids, teacher_ids, part) for part in (spans[:7], spans[7:])]
    torch.testing.assert_close(whole, halves[0][0] + halves[1][0])
    torch.testing.assert_close(gradient, halves[0][1] + halves[1][1])
    assert count == halves[0][2] + halves[1][2]


def test_special_tokens_and_padding_rows_take_no_part():
    """UPSTREAM row 10. Raising such a logit by 50 changes nothing, and nothing pulls at it."""
    loss = ULD(match=MATCH, beta=0.3)
    inputs = batch(padding=(7, 20))
    value, gradient, _ = run(loss, *inputs)
    others = [i for i in STUDENT.all_special_ids if i != STUDENT.eos_token_id] + [len(STUDENT), len(STUDENT) + 6]
    assert (gradient[:, others] == 0).all() and (gradient[:, STUDENT.eos_token_id] != 0).any()
    inputs[0][:, others] += 50
    inputs[1][:, [i for i in TEACHER.all_special_ids if i != TEACHER.eos_token_id]] += 50
    inputs[1][:, len(TEACHER) :] += 50
    raised, raised_gradient, _ = run(loss, *inputs)
    torch.testing.assert_close(raised, value)
    torch.testing.assert_close(raised_gradient, gradient)


@pytest.mark.parametrize("hybrid", [True, False])
@pytest.mark.parametrize("beta", BETAS)
def test_identical_sides_give_exactly_nothing(beta, hybrid):
    match = same_ids(60, stop_id=2)
    student, ids = logits(9, 64, 0), torch.arange(9)
    loss = ULD(match=match, beta=beta, hybrid=hybrid)
    value, gradient, count = run(loss, student, student.clone(), ids, ids, token_spans(9))
    assert count == 9 and abs(value.item()) <= 1e-7
    other = run(loss, student, logits(9, 64, 1), ids, ids, token_spans(9))[1]
    assert gradient.norm() <= 1e-6 * other.norm()


def test_no_spans_give_zero():
    inputs = batch()
    value, gradient, count = run(ULD(match=MATCH), *inputs[:4], torch.empty(0, 4, dtype=torch.long))
    assert value == 0 and count == 0 and (gradient == 0).all()


def test_matching_is_by_bytes_and_one_to_one():
    pairs = list(zip(MATCH.student_matched_M.tolist(), MATCH.teacher_matched_M.tolist(), strict=True))
    assert pairs[-1] == (STUDENT.eos_token_id, TEACHER.eos_token_id)
    assert all(STUDENT_BYTES.pieces[i] == TEACHER_BYTES.pieces[j] for i, j in pairs[:-1])
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert not set(MATCH.student_unmatched_U.tolist()) & set(STUDENT.all_special_ids)
    usable = len(TEACHER) - int(TEACHER_BYTES.special.sum()) + 1  # every text token and the stop
    assert len(pairs) + len(MATCH.teacher_unmatched_W) == usable
    assert MATCH.matched_share == len(pairs) / usable


# --- next to TRL's own ULDLoss ---------------------------------------------------------------------------------------


def stock_loss(path, student=STUDENT, teacher=TEACHER, **options):
    options = {
        "uld_token_merge_strategy": "bayesian",
        "uld_skip_student_eos": False,
        "uld_skip_teacher_eos": False,
        "uld_use_hybrid_loss": True,
        "beta": 0.3,
    } | options
    config = GOLDConfig(output_dir=str(path), use_cpu=True, bf16=False, use_uld_loss=True, **options)
    return ULDLoss(config, student, teacher, device="cpu")


def stock_match(stock, student_width, teacher_width):
    """The stock loss's own matching: by token string, special tokens and padding rows included."""
    teacher_ids = torch.tensor(sorted(stock._teacher_matched_ids))
    student_ids = stock.mapping_tensor[teacher_ids]

    def rest(width, ids):
        return torch.tensor(sorted(set(range(width)) - set(ids.tolist())))

    return VocabularyMatch(
        student_matched_M=student_ids,
        teacher_matched_M=teacher_ids,
        student_stop_id=-1,
        teacher_stop_id=-1,
        student_unmatched_U=rest(student_width, student_ids),
        teacher_unmatched_W=rest(teacher_width, teacher_ids),
    )


def stock_inputs(student, teacher, student_ids, teacher_ids):
    """One row with one prompt token in front, in the shapes that ULDLoss wants."""

    def framed(logits_NV, ids_N, table):
        padded = torch.cat([logits_NV, torch.zeros_like(logits_NV[:1])])[None]
        ids = torch.cat([torch.zeros(1, dtype=torch.long), ids_N])[None]
        ends = torch.tensor([0, *table.lengths[ids_N.numpy()]]).cumsum(0)
        offsets = torch.stack([ends.roll(1), ends], -1)[None]
        return padded, torch.where(torch.arange(ids.shape[1]) == 0, -100, ids), ids, offsets

    s, t = framed(student, student_ids, STUDENT_BYTES), framed(teacher, teacher_ids, TEACHER_BYTES)
    return s[0], t[0], s[1], t[1], s[2], t[2], s[3], t[3]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(
    "options, settings",
    [
        ({}, {}),
        ({"uld_use_hybrid_loss": False}, {"hybrid": False}),
        ({"uld_hybrid_matched_weight": 0.9, "uld_hybrid_unmatched_weight": 0.2}, {"matched_weight": 0.9, "unmatched_weight": 0.2}),
        ({"uld_student_temperature": 0.8, "uld_teacher_temperature": 1.2}, {"student_temperature": 0.8, "teacher_temperature": 1.2}),
        ({"uld_distillation_weight": 3.0}, {"distillation_weight": 3.0}),
    ],
    ids=["adaptive", "plain", "fixed", "temperatures", "weight"],
)
def test_where_stock_is_right_ours_is_the_same(tmp_path, beta, options, settings):
    """Bayesian merging, no eos skipped, the stock's own matching, text without a stop: equal up to its clamp."""
    student, teacher, student_ids, teacher_ids, spans = batch(("감사합니다. 안녕 hello",), padding=(0, 0))
    # a multiple-token span of unlikely tokens would fall below the clamp: make the real tokens likely
    student = (student / 3).scatter_add(1, student_ids[:, None], torch.full((len(student), 1), 8.0).double())
    teacher = (teacher / 3).scatter_add(1, teacher_ids[:, None], torch.full((len(teacher), 1), 8.0).double())
    stock = stock_loss(tmp_path, beta=beta, **options)
    leaf = student.clone().requires_grad_()
    expected = stock(*stock_inputs(leaf, teacher, student_ids, teacher_ids))
    (expected_gradient,) = torch.autograd.grad(expected, leaf)
    match = stock_match(stock_loss(tmp_path), student.shape[1], teacher.shape[1])
    value, gradient, count = run(ULD(match=match, beta=beta, **settings), student, teacher, student_ids, teacher_ids, spans)
    torch.testing.assert_close(value / count, expected.detach(), rtol=2e-4, atol=1e-7)
    assert (gradient / count - expected_gradient).norm() < 2e-3 * expected_gradient.norm()


def test_stock_by_default_never_trains_the_first_answer_token_nor_the_stop_and_ours_does(tmp_path):
    """UPSTREAM row 6: with "observed" the logits that predict the first token have no part in the loss."""
    student, teacher, student_ids, teacher_ids, spans = batch(("감사합니다", "x"), padding=(0, 0))
    student, teacher, student_ids, teacher_ids = (side[:-1] for side in (student, teacher, student_ids, teacher_ids))
    spans = spans[:-1]  # the second row only made the first one a finished one
    stop = len(student_ids) - 1
    assert student_ids[stop] == STUDENT.eos_token_id
    defaults = {"uld_token_merge_strategy": "observed", "uld_skip_student_eos": True, "uld_skip_teacher_eos": True}
    leaf = student.clone().requires_grad_()
    stock_loss(tmp_path, **defaults)(*stock_inputs(leaf, teacher, student_ids, teacher_ids)).backward()
    ours = run(ULD(match=MATCH, beta=0.3), student, teacher, student_ids, teacher_ids, spans)[1]
    assert (leaf.grad[0] == 0).all() and (ours[0] != 0).any()
    assert (ours[stop] != 0).any()


def test_stock_sends_identical_tokenizers_through_text_and_loses_ids_that_ours_keeps():
    """UPSTREAM row 7: random completions of one tokenizer come back from decode and encode as other ids."""
    generator = torch.Generator().manual_seed(0)
    ordinary = [i for i in range(len(STUDENT)) if not STUDENT_BYTES.special[i]]
    changed = 0
    for _ in range(50):
        ids = [ordinary[i] for i in torch.randint(len(ordinary), (16,), generator=generator).tolist()]
        _, labels, _, _ = build_teacher_inputs_from_texts(STUDENT, ["x"], [STUDENT.decode(ids)])
        changed += labels[labels != -100].tolist()[:-1] != ids
    assert changed >= 45
    ids_N = torch.tensor(ids)
    value, gradient, count = run(
        ULD(match=same_ids(len(STUDENT), STUDENT.eos_token_id), beta=0.3),
        logits(16, len(STUDENT), 0),
        logits(16, len(STUDENT), 1),
        ids_N,
        ids_N,
        token_spans(16),
    )
    assert count == 16 and (gradient != 0).any(-1).all()


def test_stock_pulls_at_padding_rows_and_breaks_on_narrow_heads(tmp_path):
    """UPSTREAM row 10, plain ULD: rows that are no token receive gradient; logits without them raise IndexError."""
    student, teacher, student_ids, teacher_ids, spans = batch(("감사합니다",), padding=(5, 5))
    leaf = student.clone().requires_grad_()
    stock_loss(tmp_path, uld_use_hybrid_loss=False)(*stock_inputs(leaf, teacher, student_ids, teacher_ids)).backward()
    assert (leaf.grad[:, len(STUDENT) :] != 0).any()
    ours = run(ULD(match=MATCH, hybrid=False), student, teacher, student_ids, teacher_ids, spans)[1]
    assert (ours[:, len(STUDENT) :] == 0).all()
    bigger = byte_level(merges=60, added=["<more>"])
    with pytest.raises(IndexError):
        stock_loss(tmp_path, bigger, bigger)(
            *stock_inputs(student[:, : len(STUDENT)], student[:, : len(STUDENT)], student_ids, student_ids)
        )


class Traffic(TorchDispatchMode):
    """Counts operators and the numbers that they write."""

    def __init__(self):
        super().__init__()
        self.operators = self.written = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operators += 1
        self.written += result.numel() if isinstance(result, torch.Tensor) else 0
        return result


def backward_traffic(make_loss):
    value = make_loss()
    with Traffic() as traffic:
        value.backward()
    return traffic


def test_stock_backward_is_quadratic_in_length_and_ours_is_linear(tmp_path):
    """UPSTREAM row 13, counted in numbers written instead of seconds: twice the text, four times the traffic."""
    stock, written = stock_loss(tmp_path, uld_use_hybrid_loss=False), {"stock": [], "ours": []}
    ours = ULD(match=MATCH, hybrid=False)
    operators = []
    for repeats in (12, 24):
        student, teacher, student_ids, teacher_ids, spans = batch(("감사합니다 hello " * repeats,), padding=(0, 0))
        leaf = student.requires_grad_()
        inputs = stock_inputs(leaf, teacher, student_ids, teacher_ids)
        written["stock"].append(backward_traffic(lambda inputs=inputs: stock(*inputs)).written)
        arguments = leaf, teacher, student_ids, teacher_ids, spans
        traffic = backward_traffic(lambda arguments=arguments: ours.per_unit(*arguments)[0].sum())
        written["ours"].append(traffic.written)
        operators.append(traffic.operators)
    assert written["stock"][1] > 3.3 * written["stock"][0]
    assert written["ours"][1] < 2.2 * written["ours"][0]
    assert operators[0] == operators[1]
