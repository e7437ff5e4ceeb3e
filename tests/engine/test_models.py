"""What a model's directory lacks is said in one sentence, before anything runs; what it has too much of is no fault."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers as tf
from transformers import AutoTokenizer

from gold_style.config.settings import Settings
from gold_style.engine.models import Limits, load_model, load_tokenizer
from gold_style.job.build import load_student
from gold_style.job.inputs import Inputs
from tests.helpers.commands import python

STUDENT = Path("gold_style/pairs/tiny/student")
BARE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"  # writes no stop token
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}


@pytest.fixture
def student(tmp_path):
    return Path(shutil.copytree(STUDENT, tmp_path / "model"))


def edit(path: Path, **changes) -> None:
    content = {key: value for key, value in json.loads(path.read_text()).items() if changes.get(key, value) is not None}
    path.write_text(json.dumps(content | {key: value for key, value in changes.items() if value is not None}))


def without_stop(student: Path, **generation) -> None:
    edit(student / "tokenizer_config.json", eos_token=None, pad_token=None)
    edit(student / "config.json", eos_token_id=None, pad_token_id=None)
    edit(student / "generation_config.json", **{"eos_token_id": None, "pad_token_id": None} | generation)
    (student / "chat_template.jinja").write_text(BARE)


def limits(student: Path) -> Limits:
    return Limits.of(str(student), None, False, load_tokenizer(str(student), None, False))


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_tokens_without_a_row_are_named_where_prompts_hold_them(student, side):
    tokenizer = AutoTokenizer.from_pretrained(student)
    tokenizer.add_tokens(["<style:chosun>", "<style:none>", "<unused>"])
    tokenizer.save_pretrained(student)
    with pytest.raises(ValueError) as refused:
        Inputs.load(Settings.compose(f"model.{side}={student}"))
    (sentence,) = [line for line in str(refused.value).splitlines() if f"model.{side}=" in line]  # one, not one a row
    assert "its tokenizer has 3698 tokens and its embedding 3695 rows, none for '<style:chosun>', '<style:none>', '<unused>'" in sentence
    assert "resize_token_embeddings(3698)" in sentence


def test_tokens_without_a_row_that_no_prompt_holds_are_no_fault(student):
    """As the padding token and the image tokens of many published tokenizers."""
    tokenizer = AutoTokenizer.from_pretrained(student)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.add_tokens(["<unused>"])
    tokenizer.save_pretrained(student)
    Inputs.load(Settings.compose(f"model.student={student}"))


def test_a_model_without_a_stop_token_is_refused(student):
    """Though its tokenizer's class has one, which no file names and the model never writes."""
    without_stop(student)
    assert load_tokenizer(str(student), None, False).eos_token == "<|endoftext|>"
    with pytest.raises(ValueError, match=f"model.student={student}: its files name no stop token, .*eos_token in tokenizer_config.json"):
        Inputs.load(Settings.compose(f"model.student={student}"))
    with pytest.raises(ValueError, match=f"model.teacher={student}: its files name no stop token"):
        Inputs.load(Settings.compose(f"model.teacher={student}"))


def test_a_stop_token_beyond_the_vocabulary_ends_nothing(student):
    without_stop(student, eos_token_id=9999)
    (sentence,) = limits(student).stop_mistakes("model.student")
    assert "no stop token below the 3695 rows of its embedding, only [9999]" in sentence
    edit(student / "generation_config.json", eos_token_id=[9999, 2])
    assert limits(student).stop_mistakes("model.student") == []


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json", "generation_config.json", "chat_template.jinja"])
def test_a_stop_token_may_be_named_in_any_file(student, file):
    without_stop(student)
    if file == "chat_template.jinja":
        (student / file).write_text((STUDENT / file).read_text())
    else:
        edit(student / file, **({"eos_token": "<|im_end|>"} if file.startswith("tokenizer") else {"eos_token_id": 2}))
    assert limits(student).stop_ids == {2} and limits(student).stop_mistakes("model.student") == []


ENCODERS = {
    "t5": lambda: tf.T5ForConditionalGeneration(tf.T5Config(vocab_size=3695, d_model=32, d_ff=64, d_kv=16, num_layers=1, num_heads=2)),
    "bart": lambda: tf.BartForConditionalGeneration(
        tf.BartConfig(vocab_size=3695, d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32)
    ),
    "vit": lambda: tf.ViTModel(tf.ViTConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_what_is_no_causal_language_model_is_refused(student, kind):
    ENCODERS[kind]().save_pretrained(student)
    with pytest.raises(ValueError, match=rf"{student}' \({kind}\) is no causal language model"):
        Inputs.load(Settings.compose(f"model.student={student}"))


def test_weights_that_are_not_in_the_files_are_not_made_up(student):
    """A decoder saved without its head would get a random one."""
    tf.LlamaModel(tf.LlamaConfig(vocab_size=3695, **SMALL)).save_pretrained(student)
    with pytest.raises(ValueError, match=r"has no weights for lm_head.weight \(1 in all\)"):
        load_model(str(student), torch.float32, None, Settings.compose().model)


def test_a_directory_that_lacks_a_part(student):
    weights = student / "model.safetensors"
    whole = weights.read_bytes()
    settings = Settings.compose(f"model.student={student}")
    for content, sentence in ((whole[:5000], "cannot be loaded: SafetensorError"), (b"x" * 99, "cannot be loaded: SafetensorError")):
        weights.write_bytes(content)
        with pytest.raises(ValueError, match=sentence):
            load_student(settings)
    weights.unlink()
    with pytest.raises(ValueError, match="has no weights in safetensors files"):
        load_student(settings)
    (student / "config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be loaded: OSError: .*not a valid JSON"):
        Inputs.load(settings)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (student / file).unlink()
    shutil.copy(STUDENT / "config.json", student)
    with pytest.raises(ValueError, match="has no tokenizer: "):
        Inputs.load(settings)


def test_a_refusal_is_one_message_and_exit_code_2(student, tmp_path):
    without_stop(student)
    done = python("train.py", f"model.student={student}", "tracker=none", "dry_run=true", cwd=tmp_path)
    assert done.code == 2 and "Traceback" not in done.stderr + done.stdout
    assert "its files name no stop token" in done.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_go_from_their_file_to_the_device_in_the_wanted_dtype(dtype):
    """On `meta` only what never was in host memory can be: of a model moved there, rotary frequencies and all have been made before."""
    model, name = Settings.compose().model, str(STUDENT)
    loaded = load_model(name, dtype, None, model, device=torch.device("meta"))
    assert {(weight.device.type, weight.dtype) for weight in loaded.parameters()} == {("meta", dtype)}
    plain, placed = (load_model(name, dtype, None, model, device=device) for device in (None, torch.device("cpu")))
    assert all(torch.equal(one, other) for one, other in zip(plain.state_dict().values(), placed.state_dict().values(), strict=True))
    assert placed.state_dict().keys() == plain.state_dict().keys()


def test_a_model_that_does_not_fit_is_said_so(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.16 GiB.\nmore")

    monkeypatch.setattr(tf.AutoModelForCausalLM, "from_pretrained", full)
    for name in (str(STUDENT), "Qwen/Qwen2.5-7B-Instruct"):
        with pytest.raises(ValueError, match=r"does not fit into the device's memory \(CUDA out of memory.* GiB.\): plan=here"):
            load_model(name, torch.float32, None, Settings.compose().model, device=torch.device("cpu"))
