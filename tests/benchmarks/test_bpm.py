"""benchmarks/bpm.py, the rival of the tree loss: the slow twin, in parts and at once, and identical tokenizers."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "benchmarks"))

from bpm import BPM, OPEN_SHARE, Prefixes, install  # noqa: E402
from two_tokenizers import text_of  # noqa: E402

from gold_style.losses import tree  # noqa: E402
from gold_style.losses.divergence import JSD, MASKED_LOGPROB  # noqa: E402
from gold_style.runs.files import read_json_lines  # noqa: E402
from gold_style.tokens.token_bytes import TokenBytes  # noqa: E402
from tests.helpers.slow_losses import _jsd_term  # noqa: E402
from tests.losses.tree.test_tree import BETAS, STUDENT, TEACHERS, logits, rows, summed  # noqa: E402


def bpm_of(student, teacher, **options):
    sides = TokenBytes.from_tokenizer(student), TokenBytes.from_tokenizer(teacher)
    return BPM(prefixes=Prefixes(*sides, [student.eos_token_id], [teacher.eos_token_id]), **options)


@pytest.mark.parametrize("name, beta", [("finer", 0.3), ("crossing", 1.0)])
def test_value_and_gradient_are_the_slow_twin_s(name, beta, monkeypatch):
    loss, teacher = bpm_of(STUDENT, TEACHERS[name], beta=beta), TEACHERS[name]
    ids, others, spans, lengths = rows(STUDENT, teacher, ("나는 밥을", "감사"))
    student_logits = logits(len(ids), len(STUDENT) + 3, 0).requires_grad_()
    teacher_logits = logits(len(others), len(teacher) + 5, 1)
    expected = bpm_reference(loss, student_logits, teacher_logits, ids, others, lengths)
    for cells in (10**9, 3 * len(STUDENT)):
        monkeypatch.setattr("bpm.MAX_CELLS", cells)
        value, count = summed(loss, student_logits, teacher_logits, ids, others, spans, lengths)
        gradients = [torch.autograd.grad(2 * total, student_logits, retain_graph=True)[0] for total in (value, expected)]
        assert count == len(ids)
        torch.testing.assert_close(value.detach(), expected.detach(), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(*gradients, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_identical_tokenizers_give_the_token_exact_divergence(beta):
    loss = bpm_of(STUDENT, STUDENT, beta=beta, temperature=0.8)
    ids, others, spans, lengths = rows(STUDENT, STUDENT)
    student_logits, teacher_logits = logits(len(ids), len(STUDENT), 0), logits(len(ids), len(STUDENT), 1)
    special = [i for i in range(len(STUDENT)) if loss.prefixes.student.special[i] and i != STUDENT.eos_token_id]
    merged = []
    for side in ((student_logits / 0.8).log_softmax(-1), (teacher_logits / 0.8).log_softmax(-1)):
        text = side[:, [i for i in range(len(STUDENT)) if i not in special]]
        merged.append(torch.cat([text, side[:, special].logsumexp(-1, keepdim=True)], 1))
    value, _ = summed(loss, student_logits, teacher_logits, ids, others, spans, lengths)
    torch.testing.assert_close(value, JSD(beta=beta)(*merged).sum(), rtol=1e-6, atol=1e-9)
    same, _ = summed(loss, student_logits, student_logits, ids, others, spans, lengths)
    assert abs(same.item()) <= 1e-7


def test_the_command_trains_with_it_where_a_run_builds_tree(monkeypatch):
    for name in ("Lifting", "Tree"):
        monkeypatch.setattr(tree, name, getattr(tree, name))
    install()
    lifting = tree.Lifting(STUDENT, TEACHERS["finer"], [STUDENT.eos_token_id], [TEACHERS["finer"].eos_token_id])
    loss = tree.Tree(lifting=lifting, beta=0.7, temperature=0.9, skip_stop=True)
    assert isinstance(loss, BPM) and (loss.beta, loss.temperature, loss.skip_stop) == (0.7, 0.9, True)


def test_the_page_holds_what_the_results_say():
    results = read_json_lines(PROJECT / "benchmarks/results/two_tokenizers.jsonl")
    assert text_of(list(results)) in (PROJECT / "docs/two_tokenizers.md").read_text()


def bpm_reference(
    loss: BPM,
    student_logits_NV: Tensor,
    teacher_logits_MV: Tensor,
    student_ids: Sequence[int],
    teacher_ids: Sequence[int],
    teacher_lengths: Sequence[int],
) -> Tensor:
    """The sum of `BPM.per_unit` over rows whose tokens are all in spans. Differentiable, in the logits' dtype."""
    student, teacher = loss.prefixes.student, loss.prefixes.teacher
    student_NV = torch.log_softmax(student_logits_NV[:, : len(student)] / loss.temperature, -1)
    teacher_rows = torch.log_softmax(teacher_logits_MV[:, : len(teacher)] / loss.temperature, -1).exp().tolist()
    total, first, own = student_logits_NV.new_zeros(()), 0, 0
    for length in teacher_lengths:
        path, rows = list(teacher_ids[first : first + length]), teacher_rows[first : first + length]
        text = teacher.join(path)
        written = 0
        while own < len(student_ids) and (written < len(text) or student.special[student_ids[own]]):
            probabilities = student_NV[own].exp().tolist()
            target = bpm_target(loss, probabilities, path, rows, written)
            if loss.beta == 1:
                target = [q or OPEN_SHARE * p for q, p in zip(target, probabilities, strict=True)]
            for u, q in enumerate(target):
                log_q = student_NV.new_tensor(math.log(q) if q > 0 else MASKED_LOGPROB)
                total = total + _jsd_term(student_NV[own, u], log_q, loss.beta)
            written, own = written + len(student.pieces[student_ids[own]]), own + 1
            if student.special[student_ids[own - 1]]:
                break
        first += length
    assert own == len(student_ids)
    return total


def bpm_target(loss: BPM, probabilities: list[float], path: list[int], rows: list[list[float]], start: int) -> list[float]:
    """q of bpm.py's docstring for a student token that begins `start` bytes inside of the text of the teacher's `path`."""
    student, teacher, stops = loss.prefixes.student, loss.prefixes.teacher, loss.prefixes.student_stop_ids
    text, starts = teacher.join(path), [len(teacher.join(path[:m])) for m in range(len(path))]
    row = max(m for m, at in enumerate(starts) if at <= start)
    written, end = text[starts[row] : start], starts[row] + len(teacher.pieces[path[row]])

    def phi(piece: bytes) -> int | None:
        return max(
            (u for u, own in enumerate(student.pieces) if own and piece.startswith(own)), key=lambda u: len(student.pieces[u]), default=None
        )

    def beginning(m: int, piece: bytes) -> float:
        return sum(p for w, p in enumerate(rows[m]) if teacher.pieces[w].startswith(piece) and (piece == b"" or teacher.pieces[w]))

    mass, none, stop = [0.0] * len(student), 0.0, 0.0
    known = beginning(row, written)
    for w, p in enumerate(rows[row]):
        if teacher.pieces[w].startswith(written):
            u = phi(teacher.pieces[w][len(written) :])
            if teacher.special[w] and loss.prefixes.column_W[w] == len(student) + 1:
                stop += p / known
            elif u is None:
                none += p / known
            else:
                mass[u] += p / known
    chain = []  # (student token that runs beyond the real one, the probability of the real path up to its end)
    for u in sorted(set(student.id_of.values()), key=lambda u: len(student.pieces[u])):
        stretch = start + len(student.pieces[u])
        if student.pieces[u] and stretch > end and text[start:stretch] == student.pieces[u]:
            last = max(m for m, at in enumerate(starts) if at < stretch)
            before = math.prod(rows[m][path[m]] for m in range(row, last))
            chain.append((u, before * beginning(last, text[starts[last] : stretch]) / known))
    loses = phi(text[start:end])
    for u, p in chain:
        mass[u], mass[loses] = mass[u] + p, mass[loses] - p
        loses = u
    share = sum(probabilities[u] for u in stops)
    for u in stops:
        mass[u] = stop * probabilities[u] / share
    open_tokens = [u for u, q in enumerate(mass) if q <= 1e-15]
    share = sum(probabilities[u] for u in open_tokens)
    for u in open_tokens:
        mass[u] = none * probabilities[u] / share
    return [q / sum(mass) for q in mass]
