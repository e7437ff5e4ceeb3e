"""The frozen teacher: states at completion tokens and completions, behind its cached system prompt."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from transformers import GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from gold_style.chat import Chat
from gold_style.engine.backbone import Backbone, Head
from gold_style.engine.draws import uniforms
from gold_style.engine.models import shell
from gold_style.engine.packed_reading import PackedReader, packed_batches
from gold_style.engine.prefix_cache import PrefixCache
from gold_style.engine.ray_teacher import differences
from gold_style.engine.reader import Reader
from gold_style.engine.rollout import Sampling
from gold_style.engine.teacher import Scored, Teacher, TeacherReader
from tests.helpers import toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)


@cache
def rows() -> list[Scored]:
    """Two systems (a row's own turn makes the second), answers of different lengths, one of them empty."""
    chat = Chat(TOKENIZER, TOKENIZER, toys.PACK)
    asked = [replace(p, system="역사 선생이다." if p.row % 3 == 0 else None) for p in toys.prompts(8)]
    answers = [() if p.row == 5 else tuple(TOKENIZER(p.reference)["input_ids"]) + (TOKENIZER.eos_token_id,) for p in asked]
    return [Scored(chat.teacher_ids(p), answer) for p, answer in zip(asked, answers, strict=True)]


@torch.no_grad()
def expected(model, row: Scored) -> torch.Tensor:
    """States that predict the completion, from one plain forward pass over one whole row."""
    ids = row.prompt.prefix + row.prompt.rest + row.completion
    states = model.get_decoder()(input_ids=torch.tensor([ids])).last_hidden_state[0]
    return states[len(ids) - len(row.completion) - 1 : len(ids) - 1]


@pytest.mark.parametrize("prefix_cache_bytes", [0, 2**30])
@pytest.mark.parametrize("tokens_per_batch", [1, 700, 16_384])
def test_states_equal_a_plain_forward_pass(prefix_cache_bytes, tokens_per_batch):
    model = toys.model(VOCAB)
    teacher = Teacher(model, TOKENIZER, prefix_cache_bytes=prefix_cache_bytes, tokens_per_batch=tokens_per_batch)
    states = teacher.hidden(rows())
    for row, found in zip(rows(), states, strict=True):
        assert found.shape == (len(row.completion), model.config.hidden_size)
        torch.testing.assert_close(found, expected(model, row), atol=1e-4, rtol=0)
    assert bool(teacher.prefixes.num_bytes) == bool(prefix_cache_bytes)


def test_completions_are_the_models_own_with_the_system_prompt_in_view():
    model = toys.model(VOCAB)
    prompts = [row.prompt for row in rows()]
    for cache_bytes in (0, 2**30):
        found = Teacher(model, TOKENIZER, prefix_cache_bytes=cache_bytes).generate(prompts, max_new_tokens=12)
        for prompt, completion in zip(prompts, found, strict=True):
            ids = prompt.prefix + prompt.rest
            written = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=12)[0, len(ids) :].tolist()
            assert list(completion.ids) == written


def test_sampled_completions_belong_to_their_row():
    teacher = Teacher(toys.model(VOCAB), TOKENIZER)
    prompts = [row.prompt for row in rows()]
    drawn = uniforms([(0, row) for row in range(8)], 12)
    together = teacher.generate(prompts, max_new_tokens=12, sampling=Sampling(), uniforms_BG=drawn)
    for row in (0, 3, 5):
        alone = teacher.generate([prompts[row]], max_new_tokens=12, sampling=Sampling(), uniforms_BG=drawn[row : row + 1])
        assert alone == [together[row]]


def test_the_teacher_is_frozen():
    teacher = Teacher(toys.model(VOCAB).train(), TOKENIZER)
    assert not teacher.model.training and not any(p.requires_grad for p in teacher.model.parameters())
    assert not teacher.hidden(rows())[0].requires_grad


def test_padded_vocabulary_rows_take_no_part():
    wide = toys.model(VOCAB + 13)
    wide.generation_config.eos_token_id = None
    assert Teacher(wide, TOKENIZER).output_ids.vocab_size == VOCAB
    assert Teacher(toys.model(VOCAB - 1), TOKENIZER).output_ids.vocab_size == VOCAB - 1


@pytest.mark.parametrize("config", [GraniteConfig, MistralConfig])
def test_models_that_scale_their_logits_keep_their_own_forward(config):
    """Backbone.logits equals the model's own logits, whatever the model does between head and logits."""
    sizes = dict(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    if config is GraniteConfig:
        model = GraniteForCausalLM(GraniteConfig(**sizes, logits_scaling=4.0)).eval()
    else:
        model = MistralForCausalLM(MistralConfig(**sizes)).eval()
    backbone = Backbone(model)
    assert backbone.is_plain == (config is MistralConfig)
    ids_BT = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(backbone.logits(backbone.hidden(ids_BT)), model(ids_BT).logits)


def test_packed_reading_equals_the_models_own_forward():
    """float64, a Qwen2 and a Llama: ragged sequences with and without a prefix, and no token of one seen by another."""
    sizes = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2)
    torch.manual_seed(0)
    llama = LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.3))
    sequences = [(5,), tuple(range(40, 77)), (9, 8, 7, 6), (5, 5, 5)]
    for model in (toys.model(VOCAB, scale=0.3), llama):
        backbone = Backbone(model.double().eval())
        for prefix in ((), tuple(range(30))):
            kv = PrefixCache(backbone, 2**30).get(prefix)
            found = PackedReader.of(backbone).read(sequences, [1, 20, 4, 2], kv)
            for sequence, states, kept in zip(sequences, found, (1, 20, 4, 2), strict=True):
                with torch.no_grad():
                    alone = backbone.hidden(torch.tensor([prefix + sequence]))[0, -kept:]
                torch.testing.assert_close(states, alone, rtol=1e-5, atol=1e-5)  # transformers rotates and normalises in float32


def test_sequences_are_packed_up_to_the_budget():
    assert packed_batches([5, 5, 5, 20, 1, 1], 10) == [[0, 1], [2], [3], [4, 5]]
    assert packed_batches([], 10) == []


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_head_needs_no_decoder(scale, tmp_path):
    """What a run holds of a teacher elsewhere makes the logits of the whole model, bit for bit."""
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2)
    model = GraniteForCausalLM(GraniteConfig(vocab_size=VOCAB, **sizes, logits_scaling=scale, initializer_range=0.3)).eval()
    empty = shell(toys.saved(TOKENIZER, model, tmp_path), None, False)
    empty.get_output_embeddings().weight = model.get_output_embeddings().weight
    states_ND = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    head, whole = Head(empty), Teacher(model, TOKENIZER).head
    assert head.is_plain == whole.is_plain == (scale == 1.0) and all(p.is_meta for p in head.decoder.parameters())
    assert torch.equal(head.full_logits(states_ND), whole.full_logits(states_ND))


def test_plain_texts_are_read_as_by_a_reader():
    teacher, rows = Teacher(toys.model(VOCAB), TOKENIZER), [((1, 2), (3, 4)), ((5,), (6,))]
    assert TeacherReader(teacher).logprobs(rows) == Reader(teacher.backbone).logprobs(rows)


def test_another_teacher_is_told_by_what_differs():
    here = {"model": "a", "weights": ["1"], "dtype": "float32"}
    assert differences(here, here) == "" == differences(here | {"weights": []}, here)
    assert differences(here, here | {"dtype": "bfloat16"}) == "dtype bfloat16 there, float32 here"
