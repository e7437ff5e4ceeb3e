"""student/ of this transformers, opened by transformers 4 in an environment of its own: `make test-transformers4`."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from gold_style.distil.student_files import write_student
from gold_style.engine.rollout import OutputIds
from tests.helpers import toys
from tests.helpers.commands import PROJECT

pytestmark = pytest.mark.transformers4
OLD_PYTHON = PROJECT / os.environ.get("TRANSFORMERS4_PYTHON", ".venv-transformers4/bin/python")
TINY = PROJECT / "gold_style" / "pairs"
MESSAGES = [{"role": "user", "content": "<style:chosun> 친구에게 봄 축제를 소개해 줘."}]
TOKENIZERS = {
    "chatml": toys.byte_tokenizer(),
    "llama3": toys.byte_tokenizer(specials=toys.LLAMA3_SPECIALS, eos="<|eot_id|>", pad="<|end_of_text|>", template=toys.LLAMA3),
    "tiny": AutoTokenizer.from_pretrained(TINY / "tiny" / "student"),
    "crossing": AutoTokenizer.from_pretrained(TINY / "tiny_cross_tokenizer" / "teacher"),
    "extra": toys.byte_tokenizer(),
}
TOKENIZERS["extra"].add_special_tokens({"extra_special_tokens": ["<|think|>", "<|call|>"]})
MILLION = {"rope_type": "default", "rope_theta": 1e6}  # as Qwen2.5's; transformers 4 takes 10,000 where it finds none
LLAMA31 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES = {
    "qwen2": (transformers.Qwen2Config, {"rope_parameters": MILLION}, "tiny"),
    "qwen2_extra": (transformers.Qwen2Config, {"rope_parameters": MILLION}, "extra"),
    "qwen3": (transformers.Qwen3Config, {"rope_parameters": MILLION, "head_dim": 8}, "chatml"),
    "llama3": (transformers.LlamaConfig, {"rope_parameters": LLAMA31}, "llama3"),
    "llama_tied": (transformers.LlamaConfig, {"rope_parameters": MILLION, "tie_word_embeddings": True}, "crossing"),
    "mistral": (transformers.MistralConfig, {"rope_parameters": MILLION}, "llama3"),
    "gemma3": (
        transformers.Gemma3TextConfig,
        {
            "rope_parameters": {"full_attention": MILLION, "sliding_attention": MILLION | {"rope_theta": 1e4}},
            "head_dim": 8,
            "sliding_window": 8,
        },
        "chatml",
    ),
    "stablelm": (transformers.StableLmConfig, {"rope_parameters": MILLION | {"partial_rotary_factor": 0.5}}, "chatml"),
}


def written(directory: Path, family: str, dtype: torch.dtype = torch.float32) -> Path:
    """A random student of the family with large weights, so that its logits differ wherever something is read otherwise."""
    config, options, name = FAMILIES[family]
    tokenizer = TOKENIZERS[name]
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"num_key_value_heads": 2, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    torch.manual_seed(0)
    student = AutoModelForCausalLM.from_config(config(**sizes, **ends, **options))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(4 if parameter.dim() > 1 else 1)
    state = {key: value.to(dtype) for key, value in student.state_dict().items()}
    student.generation_config.repetition_penalty = 1.5  # as some base models have: must not leave the house
    write_student(directory, student, state, tokenizer, OutputIds.of(tokenizer, student))
    return directory


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> dict[str, dict]:
    """By family, what transformers 4 reads, beside what this version reads (`here`)."""
    place, asked, here = tmp_path_factory.mktemp("students"), {}, {}
    for family in FAMILIES:
        directory = str(written(place / family, family))
        tokenizer, model = AutoTokenizer.from_pretrained(directory), AutoModelForCausalLM.from_pretrained(directory).eval()
        prompt = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, return_dict=True)["input_ids"]
        ids_BT = torch.tensor([prompt * 3])  # far enough for a wrong rotation to show
        asked[directory] = {"messages": MESSAGES, "ids": prompt * 3}
        with torch.no_grad():
            logits, answer = model(ids_BT).logits[0], model.generate(ids_BT, max_new_tokens=24)[0].tolist()
        here[family] = {"prompt": prompt, "logits": logits, "written": answer, "specials": tokenizer.all_special_tokens}
    torch.save(asked, place / "asked.pt")
    script = Path(__file__).with_name("open_students.py")
    subprocess.run([OLD_PYTHON, script, place / "asked.pt", place / "read.pt"], check=True, env={**os.environ, "PYTHONPATH": ""})
    read = torch.load(place / "read.pt")
    return {family: read[str(place / family)] | {"here": here[family]} for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_reads_the_same_prompt_and_gives_the_same_logits_and_answer(family, opened):
    read = opened[family]
    assert read["prompt"] == read["here"]["prompt"]
    torch.testing.assert_close(read["logits"], read["here"]["logits"], atol=1e-3, rtol=1e-4)
    assert read["written"] == read["here"]["written"] and read["use_cache"]


def test_extra_special_tokens_are_special_there_too(opened):
    assert {"<|think|>", "<|call|>"} <= set(opened["qwen2_extra"]["specials"])


def test_the_other_environment_is_an_older_one():
    version = subprocess.check_output([OLD_PYTHON, "-c", "import transformers; print(transformers.__version__)"], text=True)
    assert version.startswith("4.") and transformers.__version__.startswith("5.")
