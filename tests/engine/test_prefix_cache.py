"""Cached prefixes: the same hidden states, never written to, bounded, and left alone where a model cannot be cached."""

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from gold_style.engine import prefix_cache
from gold_style.engine.backbone import Backbone, right_pad
from gold_style.engine.prefix_cache import PrefixCache, only_full_attention
from gold_style.engine.rollout import OutputIds, generate
from tests.helpers import toys

VOCAB = 120
BACKBONE = Backbone(toys.model(VOCAB, scale=0.3))
PREFIX = tuple(range(40))
OTHER = tuple(range(1, 41))
RESTS = [(5,), (7, 8, 9, 10, 11), (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5)]
BYTES = PrefixCache(BACKBONE, 2**30).get(PREFIX).num_bytes


def sliding_window() -> Backbone:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    return Backbone(MistralForCausalLM(config).eval())


@torch.no_grad()
def test_states_with_and_without_the_cache_agree():
    kv = PrefixCache(BACKBONE, 2**30).get(PREFIX)
    ids_BT = right_pad(RESTS, 0, BACKBONE.device)
    with_cache = BACKBONE.hidden(ids_BT, kv.expand(len(RESTS), ids_BT.shape[1]))
    whole = BACKBONE.hidden(right_pad([PREFIX + rest for rest in RESTS], 0, BACKBONE.device))[:, len(PREFIX) :]
    for row, rest in enumerate(RESTS):
        assert (with_cache[row, : len(rest)] - whole[row, : len(rest)]).abs().max() < 1e-4


@torch.no_grad()
def test_a_long_prefix_is_read_in_parts(monkeypatch):
    """With the same keys and values as in one go."""
    whole = PrefixCache(BACKBONE, 2**30).get(PREFIX)
    monkeypatch.setattr(prefix_cache, "PREFIX_TOKENS", 7)
    for parts, expected in zip(PrefixCache(BACKBONE, 2**30).get(PREFIX).layers, whole.layers, strict=True):
        for found, states in zip(parts, expected, strict=True):
            torch.testing.assert_close(found, states, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_cached_prefix_is_never_written_to():
    prefixes = PrefixCache(BACKBONE, 2**30)
    kv = prefixes.get(PREFIX)
    before = [(k.clone(), v.clone()) for k, v in kv.layers]
    BACKBONE.hidden(right_pad(RESTS, 0, BACKBONE.device), kv.expand(3, 20))
    generate(BACKBONE, RESTS, max_new_tokens=6, output_ids=OutputIds((3,), 3, VOCAB), prefix=kv)
    assert prefixes.get(PREFIX) is kv
    for (k, v), (k_before, v_before) in zip(kv.layers, before, strict=True):
        assert k.shape[-2] == len(PREFIX) and torch.equal(k, k_before) and torch.equal(v, v_before)


def test_prefixes_are_told_apart_by_their_tokens():
    prefixes = PrefixCache(BACKBONE, 2**30)
    first = prefixes.get(PREFIX)
    assert prefixes.get(tuple(PREFIX)) is first
    assert not torch.equal(prefixes.get(OTHER).layers[0][0], first.layers[0][0])
    assert prefixes.get(PREFIX[:-1]).num_tokens == len(PREFIX) - 1
    assert prefixes.get(()) is None


def test_the_least_recently_used_prefix_leaves_first():
    prefixes = PrefixCache(BACKBONE, 2 * BYTES)
    first, second = prefixes.get(PREFIX), prefixes.get(OTHER)
    assert prefixes.num_bytes == 2 * BYTES == sum(k.nbytes + v.nbytes for p in (first, second) for k, v in p.layers)
    assert prefixes.get(PREFIX) is first
    prefixes.get(PREFIX[::-1])
    assert prefixes.num_bytes <= prefixes.max_bytes
    assert prefixes.get(PREFIX) is first, "the one used last had to go"
    assert prefixes.get(OTHER) is not second


@pytest.mark.parametrize("max_bytes", [0, BYTES - 1])
def test_a_prefix_that_does_not_fit_is_not_cached(max_bytes):
    prefixes = PrefixCache(BACKBONE, max_bytes)
    assert prefixes.get(PREFIX) is None and prefixes.num_bytes == 0


def test_a_larger_prefix_does_not_empty_the_cache():
    prefixes = PrefixCache(BACKBONE, BYTES)
    kept = prefixes.get(PREFIX)
    assert prefixes.get((*PREFIX, 1)) is None
    assert prefixes.get(PREFIX) is kept


def test_sliding_windows_are_left_alone():
    """Their state at the prefix's end is more than a slice of keys and values: no cache, and decoding still agrees."""
    backbone = sliding_window()
    assert not only_full_attention(backbone) and only_full_attention(BACKBONE)
    assert PrefixCache(backbone, 2**30).get(PREFIX) is None
    prompts = [PREFIX + rest for rest in RESTS]
    together = generate(backbone, prompts, max_new_tokens=12, output_ids=OutputIds((3,), 3, VOCAB))
    for prompt, completion in zip(prompts, together, strict=True):
        written = backbone.model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12, eos_token_id=3, pad_token_id=0)[
            0, len(prompt) :
        ].tolist()
        assert list(completion.ids) == written
