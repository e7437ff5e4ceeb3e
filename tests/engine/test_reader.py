"""Log-probabilities of given texts: against the model's own forward, row by row."""

import pytest
import torch
import torch.nn.functional as F

from gold_style.chat import encode
from gold_style.engine.backbone import Backbone
from gold_style.engine.reader import Reader, first_id, windows
from gold_style.speech.languages import held_out
from tests.helpers import toys

TOKENIZER = toys.byte_tokenizer()
ROWS = [((1,), (5, 7, 9)), ((1, 4, 6), (8,)), ((2, 3), (30, 31, 32, 33, 34))]


def own_logprobs(model, row) -> torch.Tensor:
    """The readable twin: all logits of one row."""
    context, scored = row
    with torch.no_grad():
        return model(torch.tensor([[*context, *scored]])).logits[0, len(context) - 1 : -1].double().log_softmax(-1)


def model(seed: int):
    return toys.model(len(TOKENIZER), seed=seed)


def test_logprobs_and_divergences_equal_a_plain_forward():
    first, second = model(0), model(1)
    found = Reader(Backbone(first)).logprobs(ROWS)
    assert found == pytest.approx([float(own_logprobs(first, row)[range(len(row[1])), list(row[1])].sum()) for row in ROWS], rel=1e-4)
    expected = [float(F.kl_div(own_logprobs(second, row), own_logprobs(first, row), log_target=True, reduction="sum")) for row in ROWS]
    found = Reader(Backbone(first)).divergences(Reader(Backbone(second)), ROWS)
    assert [nats for nats, _ in found] == pytest.approx(expected, rel=1e-3) and [places for _, places in found] == [3, 1, 5]
    assert min(expected) > 1e-4
    assert [nats for nats, _ in Reader(Backbone(first)).divergences(Reader(Backbone(first)), ROWS)] == [0, 0, 0]


def test_the_option_that_is_likeliest_per_byte_is_chosen():
    scripted = Reader(Backbone(toys.scripted_model(len(TOKENIZER), encode(TOKENIZER, "s gold"))))
    items = [{"text": "it is", "options": ["gold", "mist", "rye"], "answer": answer} for answer in (0, 1, 2)]
    assert scripted.choices(items, TOKENIZER) == [True, False, False]
    rows = [[(first_id(TOKENIZER), *encode(TOKENIZER, "it is")), encode(TOKENIZER, f" {option}")] for option in items[0]["options"]]
    per_byte = [value / len(option) for value, option in zip(scripted.logprobs(rows), items[0]["options"], strict=True)]
    assert max(per_byte) == per_byte[0]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_windows_are_the_whole_text_and_fit(language):
    text, _ = held_out(language)
    for most in (64, 512):
        found = windows(text, TOKENIZER, most)
        assert "".join(TOKENIZER.decode(scored) for (_, scored), _ in found) == text or language == "ko"  # a cut never splits a character
        assert sum(size for _, size in found) == len(text.encode())
        assert all(0 < len(scored) < most and context == (first_id(TOKENIZER),) for (context, scored), _ in found)
    assert windows("", TOKENIZER, 64) == [] and len(windows("가" * 100, TOKENIZER, 8)) > 12
