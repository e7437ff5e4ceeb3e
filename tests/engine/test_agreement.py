"""Whatever the model, what a run reads and writes is what the model's own forward and `generate` say; or the model is refused."""

import shutil

import pytest
import torch
import transformers as tf
from transformers import AutoModelForCausalLM

from gold_style.engine import agreement
from gold_style.engine.agreement import check_reading
from gold_style.engine.backbone import Backbone, right_pad
from gold_style.engine.prefix_cache import PrefixCache
from gold_style.engine.rollout import OutputIds, generate
from tests.helpers import toys
from tests.helpers.commands import python

VOCAB = 96
IDS = (1, 60, 7, 33, 12, 80, 5, 44, 9, 71, 18, 26, 50)
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "bos_token_id": 1, "eos_token_id": 2}
FALCON_H1 = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
LINEAR = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}
OPT = {"vocab_size": VOCAB, "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 16}
MAMBA = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
FAST = {"packed": True, "prefix": True, "cached": True}
FAMILIES = {  # name -> (configuration, whether the head is all there is, shortcuts that are given up)
    "llama": (tf.LlamaConfig(**SMALL), True, ()),
    "qwen2": (tf.Qwen2Config(**SMALL), True, ()),
    "qwen3": (tf.Qwen3Config(**SMALL, head_dim=8), True, ()),
    "mistral with a window": (tf.MistralConfig(**SMALL, sliding_window=4), True, ()),
    "gemma2": (tf.Gemma2Config(**SMALL, head_dim=8, query_pre_attn_scalar=8), False, ()),
    "gemma3": (tf.Gemma3TextConfig(**SMALL, head_dim=8, sliding_window=4), True, ()),
    "gemma3 with a cap": (tf.Gemma3TextConfig(**SMALL, head_dim=8, final_logit_softcapping=2.0), False, ()),
    "cohere": (tf.CohereConfig(**SMALL, logit_scale=0.2), False, ()),
    "granite": (tf.GraniteConfig(**SMALL, logits_scaling=4.0, embedding_multiplier=3.0, residual_multiplier=0.5), False, ()),
    "falcon_h1": (tf.FalconH1Config(**SMALL, **FALCON_H1, lm_head_multiplier=0.25, embedding_multiplier=2.0), False, ()),
    "nanochat": (tf.NanoChatConfig(**SMALL, final_logit_softcapping=2.0), False, ()),
    "olmo2": (tf.Olmo2Config(**SMALL), True, ()),
    "phi, a bias in the head": (tf.PhiConfig(**SMALL), True, ()),
    "gpt2": (tf.GPT2Config(**GPT), True, ()),
    "gpt_neox": (tf.GPTNeoXConfig(**{k: v for k, v in SMALL.items() if k != "num_key_value_heads"}), True, ()),
    "bloom": (tf.BloomConfig(vocab_size=VOCAB, hidden_size=32, n_layer=2, n_head=4), True, ()),
    "mpt": (tf.MptConfig(vocab_size=VOCAB, d_model=32, n_layers=2, n_heads=4, max_seq_len=256), True, ("prefix",)),
    "opt, a narrow embedding": (tf.OPTConfig(**OPT), True, ()),
    "qwen2_moe": (tf.Qwen2MoeConfig(**SMALL, num_experts=4, moe_intermediate_size=16, shared_expert_intermediate_size=16), True, ()),
    "mixtral": (tf.MixtralConfig(**SMALL, num_local_experts=4), True, ()),
    "qwen3_next": (tf.Qwen3NextConfig(**SMALL, **LINEAR, head_dim=8, layer_types=["linear_attention", "full_attention"]), True, ()),
    "recurrent_gemma": (tf.RecurrentGemmaConfig(**SMALL, lru_width=32, block_types=["recurrent", "attention"]), False, ("cached",)),
    "mamba": (tf.MambaConfig(**MAMBA), True, ("cached",)),
    "mamba2": (tf.Mamba2Config(**MAMBA, num_heads=8, head_dim=8, n_groups=1), True, ("cached",)),
    "falcon_mamba": (tf.FalconMambaConfig(**MAMBA), True, ("cached",)),
    "rwkv": (tf.RwkvConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, context_length=256), True, ("cached", "prefix")),
    "openai-gpt": (tf.OpenAIGPTConfig(**GPT), True, ("cached", "prefix")),
}


def built(config, scale: float = 4.0):
    """A random model, peaked enough that its greedy choice is no draw."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(scale)
    return model.eval()


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_logits_and_rollouts_are_the_models_own(name):
    config, is_plain, given_up = FAMILIES[name]
    model = built(config)
    backbone = Backbone(model)
    notes = check_reading(backbone, "student", IDS, prefixed=True)
    reading = backbone.reading
    assert vars(reading) == {"plain_head": is_plain, **FAST, **dict.fromkeys(given_up, False)}
    assert len(notes) == len(given_up) and all(note.startswith(f"student ({type(model).__name__}): ") for note in notes)
    rows = [IDS, IDS[:5]]
    hidden = backbone.hidden(right_pad(rows, 0, backbone.device))
    written = generate(backbone, rows, max_new_tokens=6, output_ids=OutputIds((), 0, VOCAB))
    prefix = PrefixCache(backbone, 2**30).get(IDS[:3])
    after = generate(
        backbone, [row[3:] if prefix else row for row in rows], max_new_tokens=6, output_ids=OutputIds((), 0, VOCAB), prefix=prefix
    )
    for row, states, completion, again in zip(rows, hidden, written, after, strict=True):
        own = model(input_ids=torch.tensor([row])).logits[0]
        torch.testing.assert_close(backbone.full_logits(states[: len(row)]), own, rtol=1e-4, atol=1e-4)
        greedy = list(row)
        for _ in range(6):
            greedy.append(int(model(input_ids=torch.tensor([greedy])).logits[0, -1].argmax()))
        assert list(completion.ids) == list(again.ids) == greedy[len(row) :]


def test_greedy_is_what_generate_writes():
    for name in ("falcon_h1", "mamba", "gemma2"):
        model = built(FAMILIES[name][0])
        backbone = Backbone(model)
        check_reading(backbone, "student", IDS)
        asked = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        own = model.generate(torch.tensor([IDS]), attention_mask=torch.ones(1, len(IDS), dtype=torch.long), **asked)[0, len(IDS) :]
        (written,) = generate(backbone, [IDS], max_new_tokens=8, output_ids=OutputIds((), 0, VOCAB))
        assert list(written.ids) == own.tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_in_half_precision_is_no_difference(dtype):
    names = ("qwen2", "gemma2", "falcon_h1", "mixtral")
    for name in (*names, "mamba") if dtype == torch.bfloat16 else names:  # Mamba's decoder hands out float32
        config, is_plain, given_up = FAMILIES[name]
        backbone = Backbone(built(config).to(dtype))
        assert len(check_reading(backbone, "student", IDS, prefixed=True)) == len(given_up) and backbone.is_plain == is_plain
        assert backbone.hidden(torch.tensor([IDS])).dtype == dtype


@pytest.mark.parametrize("config", [tf.BertConfig, tf.XLNetConfig])
def test_a_model_that_reads_in_both_directions_is_refused(config):
    names = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64} if config is tf.XLNetConfig else SMALL
    model = built(config(**{"vocab_size": VOCAB, **names}))
    with pytest.raises(
        ValueError,
        match=r"student \(\w+LMHeadModel\) cannot be used: its own forward makes other logits than decoder and head, token after token",
    ):
        check_reading(Backbone(model), "student", IDS)


def test_logits_that_are_not_numbers_are_named():
    with pytest.raises(ValueError, match=r"logits that are not numbers in torch.float16"):
        check_reading(Backbone(built(FAMILIES["mamba"][0]).to(torch.float16)), "student", IDS)


def test_a_forward_that_does_more_than_decoder_and_head_is_refused():
    class Shifted(tf.LlamaForCausalLM):
        def forward(self, input_ids, **kwargs):
            found = super().forward(input_ids, **kwargs)
            found.logits = found.logits + torch.nn.functional.one_hot(input_ids, VOCAB)
            return found

    model = Shifted(FAMILIES["llama"][0]).eval()
    with pytest.raises(ValueError, match=r"teacher \(Shifted\) cannot be used: its own forward makes other logits"):
        check_reading(Backbone(model), "teacher", IDS)


def test_a_shortcut_that_is_wrong_is_given_up():
    """A layer that looks as a Llama's and is none: packed reading and decode step do not know of the factor."""
    model = built(FAMILIES["llama"][0])
    layer = model.model.layers[0]
    plain = type(layer).forward
    layer.forward = lambda *args, **kwargs: plain(layer, *args, **kwargs) * 1.5
    backbone = Backbone(model)
    (note,) = check_reading(backbone, "student", IDS, prefixed=True)
    assert note == f"student (LlamaForCausalLM): {agreement.WITHOUT['packed']}"
    own = model.generate(torch.tensor([IDS]), max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)[0, len(IDS) :]
    assert list(generate(backbone, [IDS], max_new_tokens=8, output_ids=OutputIds((), 0, VOCAB))[0].ids) == own.tolist()


def test_an_adapter_anywhere_in_the_model_is_read():
    """One that does nothing yet, so that no comparison can find it: on the embedding, on the head, on one layer of several."""
    from peft import LoraConfig, get_peft_model

    for targets in (["embed_tokens"], ["lm_head"], r".*layers\.1\.self_attn\.q_proj"):
        model = get_peft_model(toys.model(VOCAB, scale=0.3, tie_word_embeddings=False), LoraConfig(r=2, target_modules=targets))
        backbone = Backbone(model.eval())
        assert check_reading(backbone, "student", IDS, prefixed=True) == []
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora" in name:
                    torch.nn.init.normal_(parameter)
        own = model.generate(input_ids=torch.tensor([IDS]), max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
        written = generate(backbone, [IDS], max_new_tokens=8, output_ids=OutputIds((), 0, VOCAB))
        assert list(written[0].ids) == own[0, len(IDS) :].tolist(), targets


def test_the_check_leaves_no_trace():
    model = toys.model(VOCAB).train()
    weights, state = {name: tensor.clone() for name, tensor in model.state_dict().items()}, torch.get_rng_state()
    check_reading(Backbone(model), "student", IDS, prefixed=True)
    assert torch.equal(state, torch.get_rng_state()) and model.training and "forward" not in vars(model.model)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


@pytest.mark.slow
def test_a_recurrent_student_is_trained(tmp_path):
    """Mamba has neither positions nor keys that could be kept."""
    directory = shutil.copytree("gold_style/pairs/tiny/student", tmp_path / "mamba")
    tokenizer = tf.AutoTokenizer.from_pretrained(directory)
    stop = tokenizer.eos_token_id
    tokenizer.save_pretrained(directory)  # with its class, which is not that of other Mambas
    built(tf.MambaConfig(**MAMBA | {"vocab_size": len(tokenizer)}, bos_token_id=stop, eos_token_id=stop)).save_pretrained(directory)
    asked = ("train.max_steps=1", "train.max_completion_length=8", "prompts.eval_samples=2", "prompts.selection_samples=2", "tracker=none")
    done = python("train.py", f"model.student={directory}", "loss=jsd", *asked, f"output_dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert f"note: student (MambaForCausalLM): {agreement.WITHOUT['cached']}" in " ".join(done.stderr.split())
