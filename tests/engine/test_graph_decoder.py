"""Decoding with fixed shapes writes what the loop writes, asks the device for nothing, follows weights in place, and gives memory back.

The capture itself needs a card: `python benchmarks/gpu.py --only 1,3`.
"""

import copy
import gc
import weakref
from itertools import cycle

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from gold_style.engine import graph_decoder
from gold_style.engine.backbone import Backbone
from gold_style.engine.decode_step import lay_together
from gold_style.engine.draws import uniforms
from gold_style.engine.prefix_cache import PrefixCache
from gold_style.engine.rollout import GREEDY, OutputIds, Sampling, generate
from gold_style.engine.teacher import Teacher
from tests.helpers import toy_runs, toys

VOCAB = 600  # more than NUCLEUS_CANDIDATES
PROMPTS = [tuple(range(3, 3 + length)) for length in (5, 2, 9, 1, 7, 30, 4, 6, 3)]
TOKENS = 24
UNIFORMS = uniforms([("row", row) for row in range(len(PROMPTS))], TOKENS + 3)
WAYS = {
    "greedy": GREEDY,
    "sampled": Sampling(),
    "cold": Sampling(temperature=0.7),
    "nucleus": Sampling(top_p=0.9),
    "flat nucleus": Sampling(temperature=50.0, top_p=0.95),
    "top k": Sampling(top_k=20),
    "nucleus of top k": Sampling(temperature=1.3, top_k=50, top_p=0.8),
}
SMALL = {"vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "initializer_range": 0.3}


def random(model):
    """Every parameter, biases too."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    return model.eval()


MODELS = {
    "qwen2, groups, biases, tied": lambda: random(toys.model(VOCAB, scale=0.3)),
    "qwen2, frozen": lambda: random(toys.model(VOCAB, scale=0.3)).requires_grad_(False),
    "qwen2, untied": lambda: random(toys.model(VOCAB, scale=0.3, tie_word_embeddings=False)),
    "llama, no groups": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, num_attention_heads=4)).eval(),
    "llama, one head, wide": lambda: LlamaForCausalLM(
        LlamaConfig(**SMALL, num_attention_heads=4, num_key_value_heads=1, head_dim=16, tie_word_embeddings=True)
    ).eval(),
}


def written(model, way: str, sampling=GREEDY, prompts=PROMPTS, stops=(17, 39, 99), tokens=TOKENS, vocab=VOCAB - 5, **how):
    how["uniforms_BG"] = None if sampling is GREEDY else UNIFORMS[: len(prompts)]
    return generate(
        Backbone(model), prompts, max_new_tokens=tokens, output_ids=OutputIds(stops, 0, vocab), sampling=sampling, way=way, **how
    )


def kept(model):
    return graph_decoder._kept.get(model)


# ---- the same tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_fixed_shapes_write_what_the_loop_writes(name):
    """Rows of different lengths, more than the fewest, with and without a prefix, to their stops and to the limit. In float64: one in ten
    thousand draws lies so close to the next token that rounding to float32 decides it."""
    torch.manual_seed(0)
    model = MODELS[name]().double()
    prefix = PrefixCache(Backbone(model), 2**30).get(tuple(range(40, 140)))
    others = cycle([{"stops": ()}, {"stops": tuple(range(0, VOCAB, 3))}, {"prompts": PROMPTS[:1]}, {"max_rows": 4, "prefix": prefix}])
    for sampling, other in zip(WAYS.values(), others, strict=False):
        for how in ({}, {"prefix": prefix}, other):
            found, expected = (written(model, way, sampling, **how) for way in ("fixed", "loop"))
            assert found == expected
    lengths = {len(completion.ids) for completion in written(model, "fixed", Sampling(temperature=50.0), stops=tuple(range(0, VOCAB, 9)))}
    assert len(lengths) > 4  # rows stop at different tokens


def test_more_columns_come_into_view_as_rows_grow(monkeypatch):
    """Past several of the sizes in which attention grows; all caches of a call are of one size."""
    monkeypatch.setattr(graph_decoder, "COLUMNS", 16)
    seen, step = [], graph_decoder.GraphDecoder.step
    monkeypatch.setattr(graph_decoder.GraphDecoder, "step", lambda self, columns: (seen.append(columns), step(self, columns)))
    model = MODELS["llama, no groups"]()
    assert written(model, "fixed", Sampling(), stops=()) == written(model, "loop", Sampling(), stops=())
    assert seen == [32] * 2 + [48] * 16 + [64] * 5  # 30 prompt columns, 23 steps


def test_stops_are_looked_for_now_and_then(monkeypatch):
    steps, step = [], graph_decoder.GraphDecoder.step
    monkeypatch.setattr(graph_decoder.GraphDecoder, "step", lambda self, columns: (steps.append(columns), step(self, columns)))
    model = toys.scripted_model(VOCAB, [50, 51, 52, 17])
    (completion,) = written(model, "fixed", prompts=[(49,)])
    assert completion.ids == (50, 51, 52, 17) and completion.finished
    assert len(steps) == graph_decoder.LOOK - 1


def test_one_new_token():
    model = MODELS["qwen2, frozen"]()
    assert written(model, "fixed", tokens=1) == written(model, "loop", tokens=1)


def test_what_an_earlier_call_left_in_the_caches_is_never_read():
    model = MODELS["qwen2, frozen"]()
    expected = written(model, "fixed", Sampling())
    kept(model).caches.fill_(torch.nan)  # as after an overflow in float16
    assert written(model, "fixed", Sampling()) == expected


# ---- nothing is asked ------------------------------------------------------------------------------------------------


class NothingAsked(TorchDispatchMode):
    """Fails on operations that hand a number to the host, or whose result has a size that depends on numbers."""

    ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "item", "_to_copy", "repeat_interleave")

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.seen.add(name)
        copies = name == "_to_copy" and (kwargs or {}).get("device", args[0].device) == args[0].device  # another dtype
        masks = name.startswith("index") and any(
            isinstance(i, torch.Tensor) and i.dtype == torch.bool for arg in args if isinstance(arg, (list, tuple)) for i in arg
        )
        assert not masks and (copies or name not in self.ASKING), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", WAYS)
def test_a_step_asks_the_device_for_nothing_and_stays_where_it_is(name):
    model = MODELS["qwen2, groups, biases, tied"]()
    written(model, "fixed", WAYS[name], tokens=4)
    decoder = kept(model)
    own = [decoder.caches, decoder.bias_BL, decoder.tokens_BL, decoder.uniforms_BL, decoder.padding_B, decoder.column]
    before = [tensor.data_ptr() for tensor in own], decoder.column.item()
    with torch.no_grad(), NothingAsked() as mode:
        decoder.step(128)
    assert ([tensor.data_ptr() for tensor in own], decoder.column.item()) == (before[0], before[1] + 1)
    assert {"index_copy_", "embedding"} <= mode.seen and ("sort" in mode.seen) == (WAYS[name].top_p < 1 and not WAYS[name].top_k)


def test_the_loop_waits_where_a_step_does_not():
    """What NothingAsked is there to find."""
    with pytest.raises(AssertionError, match="_local_scalar_dense|nonzero"), NothingAsked():
        written(MODELS["qwen2, frozen"](), "loop", WAYS["nucleus"])


# ---- weights that change ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [True, False])
def test_weights_that_are_written_in_place_are_followed(frozen):
    model = MODELS["qwen2, groups, biases, tied"]().requires_grad_(not frozen)
    written(model, "fixed", Sampling())
    decoder = kept(model)
    for seed in (3, 4):
        other = random(toys.model(VOCAB, scale=0.3, seed=seed))
        with torch.no_grad():
            for own, new in zip(model.parameters(), other.parameters(), strict=True):
                own.copy_(new)
        assert written(model, "fixed", Sampling()) == written(other, "loop", Sampling())
        assert kept(model) is decoder


def test_weights_that_are_replaced_are_noticed():
    model, other = MODELS["qwen2, frozen"](), random(toys.model(VOCAB, scale=0.3, seed=3))
    written(model, "fixed", Sampling())
    decoder = kept(model)
    for own, new in zip(model.parameters(), other.parameters(), strict=True):
        own.data = new.data.clone()
    assert written(model, "fixed", Sampling()) == written(other, "loop", Sampling())
    assert kept(model) is not decoder


def test_weights_laid_together_are_the_models_own(tmp_path):
    """The same values, saved and copied as before, laid together once."""
    model = MODELS["qwen2, frozen"]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    written(model, "fixed")
    attention = model.model.layers[0].self_attn
    projections = [attention.q_proj, attention.k_proj, attention.v_proj]
    where = [projection.weight.data_ptr() for projection in projections]
    whole = lay_together([projection.weight for projection in projections])
    assert where == [projection.weight.data_ptr() for projection in projections] and whole.data_ptr() == where[0]
    assert torch.equal(whole, torch.cat([before[f"model.layers.0.self_attn.{name}_proj.weight"] for name in "qkv"]))
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    for copied in (again, copy.deepcopy(model)):
        assert all(torch.equal(tensor, before[name]) for name, tensor in copied.state_dict().items())
    assert lay_together([attention.q_proj.weight, attention.v_proj.weight]).data_ptr() != where[0]  # no neighbours


def test_the_rollout_copy_keeps_its_addresses(tmp_path):
    """bf16 compute from fp32 weights: what a captured graph reads is written in place, window after window."""
    tokenizer = toys.byte_tokenizer()
    student = toys.model(len(tokenizer), scale=0.3)
    maker = toy_runs.row_maker(
        tokenizer, Teacher(toys.model(len(tokenizer), seed=5), tokenizer), toys.prompts(8), compute_dtype=torch.bfloat16
    )
    trainer = toy_runs.trainer(student, maker, tmp_path)
    decoders = []
    for seed in (2, 3):
        with torch.no_grad():
            for own, new in zip(student.parameters(), toys.model(len(tokenizer), scale=0.3, seed=seed).parameters(), strict=True):
                own.copy_(new)
        with trainer.student_copy.for_rollouts() as backbone:
            found = written(backbone.model, "fixed", Sampling(), vocab=len(tokenizer))
            decoders.append(kept(backbone.base))
        fresh = toys.model(len(tokenizer), scale=0.3, seed=seed).requires_grad_(False)
        for parameter in fresh.parameters():  # not the rotary frequencies
            parameter.data = parameter.data.to(torch.bfloat16)
        assert found == written(fresh, "fixed", Sampling(), vocab=len(tokenizer))
    assert decoders[0] is decoders[1] is not None


# ---- memory, and models without a graph ------------------------------------------------------------------------------


def test_one_decoder_is_kept_and_goes_with_its_model(monkeypatch):
    model = MODELS["qwen2, frozen"]()
    written(model, "fixed")
    first = weakref.ref(kept(model))
    written(model, "fixed", prompts=PROMPTS[:8])  # eight rows fit into less, so the larger one goes
    assert first() is None and kept(model).num_rows == 8
    decoder = weakref.ref(kept(model))
    for prompts in (PROMPTS[:8], PROMPTS[1:5], PROMPTS[4:5]):  # other widths and fewer rows
        written(model, "fixed", prompts=prompts)
        assert kept(model) is decoder()
    written(model, "fixed", Sampling(), prompts=PROMPTS[:8])  # drawn otherwise
    assert decoder() is None
    decoder = weakref.ref(kept(model))
    monkeypatch.setattr("gold_style.engine.rollout.KEPT_BYTES", 1000)
    written(model, "fixed", Sampling(), prompts=PROMPTS[:8])
    assert kept(model) is None and decoder() is None
    monkeypatch.undo()
    written(model, "fixed")
    gone = weakref.ref(model), weakref.ref(kept(model))
    del model
    gc.collect()
    assert gone[0]() is None and gone[1]() is None


def test_a_teacher_that_is_freed_leaves_nothing():
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer)), tokenizer)
    written(teacher.model, "fixed", vocab=len(tokenizer))
    embedding = weakref.ref(teacher.model.model.embed_tokens.weight)
    teacher.free()
    gc.collect()
    assert kept(teacher.model) is None and embedding() is None


@pytest.mark.parametrize("num_rows, rounded", [(1, 8), (8, 8), (9, 16), (33, 64), (64, 64), (65, 128), (129, 192), (256, 256)])
def test_numbers_of_rows_are_rounded_up(num_rows, rounded):
    model = MODELS["qwen2, frozen"]()
    written(model, "fixed", prompts=[(1, 2)] * num_rows, tokens=2)
    assert kept(model).num_rows == rounded


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a card a capture succeeds")
def test_without_a_card_a_capture_fails_and_the_loop_writes(capfd):
    """The same way out as for a capture that runs out of memory: said once."""
    model = MODELS["qwen2, frozen"]()
    expected = written(model, "loop", Sampling())
    assert [written(model, "graph", Sampling()) for _ in range(2)] == [expected] * 2
    said = capfd.readouterr().err
    assert said.count("Qwen2ForCausalLM: decoding without a CUDA graph, which is slower: ") == 1 and kept(model) is None


def test_another_model_is_decoded_by_the_loop(capfd):
    mistral = MistralForCausalLM(MistralConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2, sliding_window=4)).eval()
    expected = written(mistral, "loop")
    for way in ("graph", "fixed"):
        assert written(mistral, way) == expected
    said = "MistralForCausalLM: decoding without a CUDA graph, which is slower: it has no decode step of its own here\n"
    assert capfd.readouterr().err == said
