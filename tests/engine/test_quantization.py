"""Linear layers in 8 and 4 bits: what they compute, what they hold, and who can read such a model."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from gold_style.chat import TeacherIds
from gold_style.config.settings import Settings
from gold_style.engine.agreement import check_reading
from gold_style.engine.backbone import Backbone
from gold_style.engine.disk_cache import DiskCache
from gold_style.engine.models import load_model
from gold_style.engine.quantization import QuantizedLinear, quantize
from gold_style.engine.remembered import RememberingTeacher, weights_digest
from gold_style.engine.rollout import generate
from gold_style.engine.teacher import Scored, Teacher
from tests.helpers import toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
ERROR = {"int8": 0.01, "int4": 0.12}  # of a weight, relative to their standard deviation
BITS = {"int8": 8.5, "int4": 4.5}  # a weight, its share of a block's scale included
KINDS = list(ERROR)


def linear(width: int = 96, **options) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(width, 128, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_layer_is_the_product_with_its_restored_weight(kind, dtype):
    plain = linear().to(dtype)
    layer, x = QuantizedLinear(plain, kind), torch.randn(5, 96).to(dtype).requires_grad_()
    restored = layer.restored(dtype)
    assert float((restored - plain.weight).detach().std() / plain.weight.std()) < ERROR[kind]
    product = layer(x)
    torch.testing.assert_close(product, torch.nn.functional.linear(x, restored) + plain.bias)
    product.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(5, 128, dtype=dtype) @ restored)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_follows_autocast_and_has_the_bits_that_it_promises(kind):
    layer, x = QuantizedLinear(linear(512), kind), torch.randn(5, 512, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = layer(x)
    product.float().sum().backward()
    assert product.dtype == torch.bfloat16 and x.grad.dtype == torch.float32
    held = sum(tensor.nbytes for tensor in (layer.weight, layer.scale_bits))
    assert 8 * held / (512 * 128) == BITS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cast_of_the_model_leaves_the_scales_alone(kind):
    model = quantize(toys.model(VOCAB), kind)
    layer = model.model.layers[0].mlp.up_proj
    before = layer.restored(torch.float32)
    assert torch.equal(copy.deepcopy(model).to(torch.bfloat16).model.layers[0].mlp.up_proj.restored(torch.float32), before)


@pytest.mark.parametrize("kind", KINDS)
def test_head_and_embedding_stay_whole_and_rows_do_not_know_each_other(kind):
    model, start = quantize(toys.model(VOCAB), kind), toys.model(VOCAB)
    assert torch.equal(model.lm_head.weight, start.lm_head.weight) and model.lm_head.weight is model.model.embed_tokens.weight
    assert {type(module) for layer in model.model.layers for module in (layer.self_attn.q_proj, layer.mlp.down_proj)} == {QuantizedLinear}
    ids_BT = torch.randint(0, 256, (8, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(ids_BT[:1]).logits, model(ids_BT).logits[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_teacher_is_read_after_its_cached_prefix_and_writes(kind, tmp_path):
    model = quantize(toys.model(VOCAB, seed=1), kind)
    teacher = Teacher(model, TOKENIZER)
    prefix, rest, completion = tuple(range(60, 90)), (97, 98, 99), (100, 101, 102, 103)
    assert check_reading(teacher.backbone, "teacher", prefix, prefixed=True) == [] and teacher.backbone.is_plain
    (states_ND,) = teacher.hidden([Scored(TeacherIds(prefix, rest), completion)])
    with torch.no_grad():
        own_TV = model(torch.tensor([[*prefix, *rest, *completion]])).logits[0, len(prefix) + 2 : -1]
    torch.testing.assert_close(teacher.backbone.logits(states_ND), own_TV, atol=1e-4, rtol=1e-4)
    (written,) = teacher.generate([TeacherIds(prefix, rest)], max_new_tokens=6)
    (whole,) = generate(Backbone(model), [(*prefix, *rest)], max_new_tokens=6, output_ids=teacher.output_ids)
    assert written == whole
    remembering = RememberingTeacher(model, TOKENIZER, disk=DiskCache(tmp_path, 10**9))
    assert [remembering.generate([TeacherIds(prefix, rest)], max_new_tokens=6) for _ in range(2)] == [[whole]] * 2
    assert remembering.disk.hits == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_added_to_the_weights_that_it_was_trained_on(kind, tmp_path):
    """As evaluate.py reads a checkpoint of QLoRA: not added to weights that were never rounded, nor rounded with them."""
    name = toys.saved(TOKENIZER, toys.model(VOCAB), tmp_path / "start")
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
    trained = get_peft_model(quantize(toys.model(VOCAB), kind), config).eval()
    trained.save_pretrained(tmp_path / "adapter")
    settings = Settings.compose("tracker=none", "model.dtype=float32").model
    found = load_model(name, torch.float32, None, settings, quantization=kind, later=[str(tmp_path / "adapter")]).eval()
    assert not any(isinstance(module, QuantizedLinear) for module in found.modules())
    ids_BT = torch.randint(0, 256, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(found(ids_BT).logits, trained(ids_BT).logits, atol=1e-4, rtol=1e-4)


def test_another_quantisation_is_another_key_of_the_disk_cache():
    digests = [weights_digest(quantize(toys.model(VOCAB), kind)) for kind in ("none", *KINDS)]
    assert len(set(digests)) == 3


def test_a_model_without_plain_linear_layers_is_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(ValueError, match="GPT2LMHeadModel has no plain linear layers that could be quantised to int8; choose none"):
        quantize(model, "int8")
