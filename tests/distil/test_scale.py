"""One optimizer step depends on the set of scored tokens alone, not on how they are batched (upstream fact 5)."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from gold_style.engine.teacher import Teacher
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
LOSSES = {"jsd": {}, "forward_kl": {"beta": 0.0}, "uld": {"plain_uld": True}, "cross_entropy": {"crossentropy_weight": 0.5}}
SPLITS = {  # how a window of eight rows is cut; per-process batch x accumulation, or a budget of padded tokens
    "8x1": {"rows_per_microbatch": 8},
    "2x4": {"rows_per_microbatch": 2},
    "1x8": {"rows_per_microbatch": 1},
    "3 rows": {"rows_per_microbatch": 3},
    "200 tokens": {"rows_per_microbatch": None, "tokens_per_microbatch": 200},
}


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def step(tmp_path, asked=None, **changes):
    """Gradient and logged loss of one step on the answers of the rows (ragged: 24 to 90 tokens)."""
    maker = toy_runs.row_maker(TOKENIZER, teacher(), asked or toys.prompts(8), **changes)
    return toy_runs.one_step(toys.model(VOCAB), maker, tmp_path)


@pytest.mark.parametrize("loss", LOSSES)
def test_step_does_not_depend_on_the_split(loss, tmp_path):
    expected_gradient, expected_loss, _ = step(tmp_path, **LOSSES[loss])
    assert expected_loss > 0.01 and expected_gradient.norm() > 0.01
    for name in SPLITS if loss in ("jsd", "uld") else ("1x8", "200 tokens"):
        gradient, logged, _ = step(tmp_path, **LOSSES[loss], **SPLITS[name])
        assert logged == pytest.approx(expected_loss, rel=1e-5)
        assert toy_runs.distance(gradient, expected_gradient) < 1e-5


@pytest.mark.parametrize("lmbda", [1.0, 0.5])
def test_sampled_step_does_not_depend_on_the_split(lmbda, tmp_path):
    """Random numbers belong to rows, so the completions are the same ones, too."""
    expected_gradient, expected_loss, one = step(tmp_path, lmbda=lmbda)
    for name in ("2x4", "1x8", "200 tokens"):
        gradient, logged, _ = step(tmp_path, lmbda=lmbda, **SPLITS[name])
        assert logged == pytest.approx(expected_loss, rel=1e-5)
        assert toy_runs.distance(gradient, expected_gradient) < 1e-5
    assert one.run.rows[0]["train/on_policy"] == (1.0 if lmbda == 1 else pytest.approx(0.5, abs=0.4))


@pytest.mark.parametrize("loss", ["jsd", "uld"])
def test_loss_is_the_mean_over_all_scored_tokens(loss, tmp_path):
    """Not a mean of means: a window of a long and a short answer weighs tokens, and halves of a window combine so."""
    asked = toys.prompts(8)
    _, whole, _ = step(tmp_path, asked, **LOSSES[loss])
    halves, num_tokens = [], []
    for half in (asked[:4], asked[4:7]):
        _, logged, trained = step(tmp_path, half, rows_per_window=len(half), **LOSSES[loss])
        halves.append(logged)
        num_tokens.append(trained.run.rows[0]["train/completion_tokens"] * len(half))
    _, last, trained = step(tmp_path, asked[7:], rows_per_window=1, **LOSSES[loss])
    parts = zip([*halves, last], [*num_tokens, trained.run.rows[0]["train/completion_tokens"]], strict=True)
    total = sum(num_tokens) + trained.run.rows[0]["train/completion_tokens"]
    assert whole == pytest.approx(sum(mean * count for mean, count in parts) / total, rel=1e-5)
    assert len(set(num_tokens)) > 1


@pytest.mark.parametrize("loss", ["jsd", "uld"])
def test_on_policy_step_does_not_see_unused_answers(loss, tmp_path):
    """The answers of the data set are not read where the student writes: their length must not enter the scale."""
    long = [replace(prompt, reference=prompt.reference * 16) for prompt in toys.prompts(8)]
    sets = toys.prompts(8, references=False), toys.prompts(8), long
    results = [step(tmp_path, asked, lmbda=1.0, **LOSSES[loss]) for asked in sets]
    for gradient, logged, _ in results[1:]:
        assert torch.equal(gradient, results[0][0]) and logged == results[0][1]


def test_statistics_are_in_the_units_of_the_loss(tmp_path):
    """At beta 0 the loss is the forward KL: the logged loss and the measured KL agree, in nats per token."""
    _, logged, trained = step(tmp_path, beta=0.0)
    row = trained.run.rows[0]
    assert row["train/forward_kl"] == pytest.approx(logged, rel=0.2)
    counts = {style: row[f"train/completion_tokens/{style}"] for style in toys.PACK.tags}
    per_style = sum(row[f"train/loss/{style}"] * count for style, count in counts.items()) / sum(counts.values())
    assert row["train/loss"] == pytest.approx(per_style, rel=1e-5)


def test_statistics_do_not_depend_on_the_split(tmp_path):
    """The same fixed sample of scored tokens is measured, spread over every answer."""
    rows = [step(tmp_path, **SPLITS[name])[2].run.rows[0] for name in ("8x1", "1x8", "200 tokens")]
    assert 16 <= rows[0]["train/measured_tokens"] <= 64
    for other in rows[1:]:
        assert other.keys() >= rows[0].keys()
        for name in rows[0]:
            if name.startswith("train/"):
                assert other[name] == pytest.approx(rows[0][name], rel=1e-4), name
