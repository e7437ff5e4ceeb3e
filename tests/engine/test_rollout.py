"""Decoding: greedy equals `generate`, sampling draws from the model's own distribution, rows do not see each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, TopKLogitsWarper, TopPLogitsWarper

from gold_style.engine.backbone import Backbone
from gold_style.engine.decode_step import StepDecoder, product
from gold_style.engine.draws import key64, uniform, uniforms
from gold_style.engine.prefix_cache import PrefixCache, RoomyLayer, roomy_cache
from gold_style.engine.rollout import GREEDY, OutputIds, Sampling, cumulative, draw, generate, stream
from tests.helpers import toys

VOCAB = 120
MODEL = toys.model(VOCAB, scale=0.3)
BACKBONE = Backbone(MODEL)
PROMPTS = [(5,), (7, 8, 9, 10, 11), (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5), (2, 7, 1), (90,) * 17, (44, 55)]
STOPS = (VOCAB - 1, 17)


def completions(prompts=PROMPTS, *, tokens=24, stops=STOPS, vocab_size=VOCAB, model=MODEL, **arguments):
    return generate(
        Backbone(model), prompts, max_new_tokens=tokens, output_ids=OutputIds(stops, stops[0] if stops else 0, vocab_size), **arguments
    )


def numbers(rows: int, tokens: int = 24, seed: int = 0) -> torch.Tensor:
    return uniforms([(seed, "test", row) for row in range(rows)], tokens)


# ---- greedy ----------------------------------------------------------------------------------------------------------


def test_greedy_equals_transformers_generate():
    for prompt, completion in zip(PROMPTS, completions(), strict=True):
        written = MODEL.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=24, eos_token_id=list(STOPS), pad_token_id=0)[
            0, len(prompt) :
        ].tolist()
        assert list(completion.ids) == written
        assert completion.finished == (written[-1] in STOPS)


def test_a_batch_of_ragged_rows_equals_single_runs():
    assert completions() == [completions([prompt])[0] for prompt in PROMPTS]
    assert completions(max_rows=2) == completions()


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(top_p=0.9)])
def test_a_stream_ends_with_the_completions(sampling):
    """What is written so far never changes, grows by a token, and ends as `generate` does; stopping early costs nothing."""
    drawn, output_ids = numbers(len(PROMPTS)), OutputIds(STOPS, STOPS[0], VOCAB)
    views = list(stream(BACKBONE, PROMPTS, output_ids, sampling, drawn))
    assert views[-1] == completions(sampling=sampling, uniforms_BG=drawn)
    for number, view in enumerate(views, 1):
        for row, last in zip(view, views[-1], strict=True):
            assert row.ids == last.ids[:number] and row.finished == (last.finished and len(last.ids) <= number)


def test_the_decode_step_equals_the_models_own_forward():
    """For a Qwen2 with biases and a Llama without, float64, behind a prompt of its own length in every row."""
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1
        )
    )
    for model in (toys.model(VOCAB, scale=0.3, dtype=torch.float64), llama.double().eval()):
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        backbone = Backbone(model)
        ids_BT = torch.arange(28).reshape(4, 7) * 3 % VOCAB
        cache = roomy_cache(model.config.num_hidden_layers, 7)
        with torch.no_grad():
            whole_BTD = backbone.hidden(ids_BT)
            backbone.hidden(ids_BT[:, :4], cache)
            decoder = StepDecoder.of(backbone, 7, 4)
            for t in (4, 5, 6):
                step_BD = decoder.step(ids_BT[:, t], torch.full((4,), t), cache.layers, None)
                torch.testing.assert_close(step_BD, whole_BTD[:, t], rtol=1e-5, atol=1e-6)  # transformers rotates and normalises in float32


@pytest.mark.parametrize("num_rows", [1, 8, 65])
def test_products_from_blocked_weights(num_rows):
    """Equal to F.linear, for the number of rows they were laid out for and for another one."""
    torch.manual_seed(num_rows)
    weight, bias = torch.randn(67, 48), torch.randn(67)
    for dtype in (torch.float32, torch.float64):
        for b in (None, bias.to(dtype)):
            apply = product(weight.to(dtype), b, num_rows)
            for rows in (num_rows, 5):
                x = torch.randn(rows, 48, dtype=dtype)
                torch.testing.assert_close(apply(x), torch.nn.functional.linear(x, weight.to(dtype), b), rtol=1e-5, atol=1e-5)


def test_rows_end_at_any_of_the_stops_and_leave_the_batch():
    """Rows of different lengths: the batch shrinks, and what remains goes on unchanged. (Mistral: decoded by the model's own forward.)"""
    widths = []
    torch.manual_seed(0)
    mistral = MistralForCausalLM(
        MistralConfig(
            vocab_size=MODEL.config.vocab_size,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=None,
            initializer_range=0.2,
        )
    ).eval()
    mistral.model.register_forward_hook(lambda module, args, kwargs, out: widths.append(len(kwargs["input_ids"])), with_kwargs=True)
    found = completions(model=mistral, stops=(17, 39, 4, 68, 99, 101, 33, 21), sampling=Sampling(temperature=3.0), uniforms_BG=numbers(6))
    lengths = [len(completion.ids) for completion in found]
    assert len(set(lengths)) > 3 and len(widths) == max(lengths)
    assert widths[0] == 6 and widths[-1] < 6 and widths == sorted(widths, reverse=True)
    for completion in found:
        assert not set(completion.ids[:-1]) & {17, 39, 4, 68, 99, 101, 33, 21}


def test_a_row_that_meets_the_limit_is_unfinished():
    (completion,) = completions([PROMPTS[0]], tokens=3, stops=())
    assert len(completion.ids) == 3 and not completion.finished
    stop = completion.ids[0]
    (completion,) = completions([PROMPTS[0]], tokens=3, stops=(stop,))
    assert completion.ids == (stop,) and completion.finished


def test_no_prompts_no_completions():
    assert completions([]) == []


# ---- sampling --------------------------------------------------------------------------------------------------------


def test_a_sampled_row_does_not_depend_on_its_batch():
    drawn = numbers(len(PROMPTS))
    together = completions(sampling=Sampling(), uniforms_BG=drawn)
    for row, prompt in enumerate(PROMPTS):
        assert completions([prompt], sampling=Sampling(), uniforms_BG=drawn[row : row + 1]) == [together[row]]
    backwards = completions(PROMPTS[::-1], sampling=Sampling(), uniforms_BG=drawn.flip(0))
    assert backwards[::-1] == together
    assert completions(sampling=Sampling(), uniforms_BG=numbers(len(PROMPTS), seed=1)) != together


def test_draws_follow_the_models_distribution():
    """60,000 draws of one token: total variation distance from softmax as small as their number allows."""
    logits_V = torch.randn(40, generator=torch.Generator().manual_seed(0)) * 2
    sampling = Sampling(temperature=0.7)
    drawn = draw(logits_V.expand(60_000, -1), uniforms([("draws",)], 60_000)[0], sampling)
    observed_V = torch.bincount(drawn, minlength=40) / 60_000
    expected_V = (logits_V / 0.7).softmax(-1)
    assert 0.5 * (observed_V - expected_V).abs().sum() < 0.01
    chi2 = (60_000 * (observed_V - expected_V) ** 2 / expected_V).sum()
    assert chi2 < 39 + 4 * (2 * 39) ** 0.5


def test_whole_completions_follow_the_model():
    """Two tokens drawn behind one prompt: the pairs' frequencies are the products of the model's probabilities."""
    small = toys.model(6, scale=0.4)
    num_rows = 4000
    found = generate(
        Backbone(small),
        [(1, 2)] * num_rows,
        max_new_tokens=2,
        output_ids=OutputIds((), 0, 6),
        sampling=Sampling(),
        uniforms_BG=numbers(num_rows, 2),
        max_rows=num_rows,
    )
    with torch.no_grad():
        first_V = small(torch.tensor([[1, 2]])).logits[0, -1].softmax(-1)
        second_VV = small(torch.tensor([[1, 2, token] for token in range(6)])).logits[:, -1].softmax(-1)
    pairs = torch.bincount(torch.tensor([6 * row.ids[0] + row.ids[1] for row in found]), minlength=36) / num_rows
    assert 0.5 * (pairs - (first_V[:, None] * second_VV).flatten()).abs().sum() < 0.06


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.05, 0.999), st.sampled_from([0, 1, 5, 30]), st.sampled_from([0.2, 1.0, 4.0]))
def test_nucleus_is_transformers_nucleus(seed, top_p, top_k, spread):
    """The set of ids that can be drawn, and their renormalised probabilities, are those of transformers' warpers."""
    logits_1V = torch.randn(1, 50, generator=torch.Generator().manual_seed(seed)) * spread
    kept_1V = TopKLogitsWarper(top_k)(None, logits_1V) if top_k else logits_1V
    expected_V = TopPLogitsWarper(top_p)(None, kept_1V).softmax(-1)[0]
    grid = (torch.arange(4000) + 0.5).double() / 4000
    drawn = draw(logits_1V.expand(4000, -1), grid, Sampling(top_p=top_p, top_k=top_k))
    observed_V = torch.bincount(drawn, minlength=50) / 4000
    assert (observed_V - expected_V).abs().max() < 1e-3
    assert not observed_V[expected_V == 0].any()


def test_flat_nucleus_beyond_the_candidates():
    """A distribution so flat that the 256 most probable tokens do not reach top_p: the full sort takes over."""
    logits_1V = torch.randn(1, 600, generator=torch.Generator().manual_seed(0)) * 0.1
    expected_V = TopPLogitsWarper(0.9)(None, logits_1V).softmax(-1)[0]
    grid = (torch.arange(30_000) + 0.5).double() / 30_000
    drawn = torch.cat([draw(logits_1V.expand(1000, -1), part, Sampling(top_p=0.9)) for part in grid.split(1000)])
    observed_V = torch.bincount(drawn, minlength=600) / 30_000
    assert (observed_V > 0).sum() == (expected_V > 0).sum() > 256
    assert (observed_V - expected_V).abs().max() < 1e-4


@pytest.mark.parametrize("as_on_gpu", [False, True])
def test_ends_of_the_unit_interval(as_on_gpu):
    logits_1V = torch.tensor([[2.0, -torch.inf, 1.0, -torch.inf]])
    for sampling in (Sampling(), Sampling(top_p=0.99), Sampling(top_k=4)):
        assert draw(logits_1V, torch.tensor([0.0], dtype=torch.float64), sampling, as_on_gpu).item() == 0
        assert draw(logits_1V, torch.tensor([1 - 2.0**-53], dtype=torch.float64), sampling, as_on_gpu).item() == 2


@pytest.mark.parametrize("num_columns", [1, 511, 512, 513, 3000])
def test_sums_of_parts_are_the_sums(num_columns):
    """As a GPU makes them, filled up with the total."""
    probs_BV = torch.randn(5, num_columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(-1)
    summed_BV = cumulative(probs_BV, as_on_gpu=True)
    torch.testing.assert_close(summed_BV[:, :num_columns], probs_BV.cumsum(-1), rtol=1e-14, atol=0)
    assert (summed_BV[:, num_columns - 1 :] == summed_BV[:, -1:]).all()
    assert torch.equal(cumulative(probs_BV, as_on_gpu=False), probs_BV.cumsum(-1))


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(top_p=0.9), Sampling(top_k=100)])
def test_padded_vocabulary_rows_are_never_drawn(sampling):
    """The head has more rows than the tokenizer has tokens, and the model likes one of those best."""
    padded = toys.model(VOCAB + 8, tie_word_embeddings=False)
    padded.lm_head.weight.data[VOCAB:] *= 20
    found = generate(
        Backbone(padded),
        PROMPTS,
        max_new_tokens=20,
        output_ids=OutputIds((), 0, VOCAB),
        sampling=sampling,
        uniforms_BG=numbers(len(PROMPTS), 20),
    )
    assert max(max(completion.ids) for completion in found) < VOCAB
    wide = generate(Backbone(padded), PROMPTS, max_new_tokens=20, output_ids=OutputIds((), 0, VOCAB + 8))
    assert max(max(completion.ids) for completion in wide) >= VOCAB


def test_numbers_belong_to_their_key():
    assert uniform(0, "policy", 3, 4) == uniform(0, "policy", 3, 4)
    keys = [(0, "a", 1, 2), (0, "a", 12, ""), (0, "a", 1, 3), (1, "a", 1, 2), (0, "b", 1, 2)]
    assert len({key64(*key) for key in keys}) == len({uniform(*key) for key in keys}) == len(keys)
    drawn = uniforms(keys, 1000)
    assert drawn.shape == (5, 1000) and ((drawn >= 0) & (drawn < 1)).all()
    assert abs(drawn.mean() - 0.5) < 0.02 and torch.equal(uniforms(keys[1:2], 1000)[0], drawn[1])
    assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 0.15
    assert uniforms([], 7).shape == (0, 7)


# ---- caches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [GREEDY, Sampling()])
def test_prefix_and_rest_equal_the_whole_prompt(sampling):
    prefix = tuple(range(20, 60))
    drawn = None if sampling is GREEDY else numbers(len(PROMPTS))
    whole = completions([prefix + prompt for prompt in PROMPTS], sampling=sampling, uniforms_BG=drawn)
    cached = PrefixCache(BACKBONE, 2**30).get(prefix)
    assert completions(PROMPTS, prefix=cached, sampling=sampling, uniforms_BG=drawn) == whole


def test_roomy_cache_equals_dynamic_cache():
    ids_BT = torch.randint(0, VOCAB, (3, 20), generator=torch.Generator().manual_seed(0))
    roomy, dynamic = roomy_cache(MODEL.config.num_hidden_layers, capacity=20), DynamicCache()
    with torch.no_grad():
        for start, stop in ((0, 7), (7, 8), (8, 9), (9, 20)):
            states = [BACKBONE.hidden(ids_BT[:, start:stop], past=cache) for cache in (roomy, dynamic)]
            assert torch.equal(*states)
            assert roomy.get_seq_length() == dynamic.get_seq_length() == stop
            if stop == 9:
                for cache in (roomy, dynamic):
                    cache.reorder_cache(torch.tensor([2, 0]))
                ids_BT = ids_BT[[2, 0]]
    for mine, theirs in zip(roomy.layers, dynamic.layers, strict=True):
        assert torch.equal(mine.keys, theirs.keys) and torch.equal(mine.values, theirs.values)


def test_a_new_token_is_written_in_place():
    layer = RoomyLayer(capacity=4)
    states = torch.randn(2, 1, 3, 5)
    layer.update(states, states)
    where = layer.keys.data_ptr()
    keys, values = layer.update(states[:, :, :1], states[:, :, :1])
    assert keys.data_ptr() == where and keys.shape == values.shape == (2, 1, 4, 5)
    assert layer.get_seq_length() == 4
