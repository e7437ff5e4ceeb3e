"""A student handed on, and used as the page says: GGUF read back by transformers and by llama.cpp, Ollama's Modelfile, a server.

These tests need packages that a run does not: `make test-handover` installs them.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from gold_style.job.gguf_file import pretokenizer, require_gguf, write_gguf
from gold_style.runs.files import read_json_lines
from gold_style.runs.run_directory import read_config
from tests.helpers import toys
from tests.helpers.commands import PROJECT, door, environment
from tests.helpers.finished_runs import TINY, finished_run

pytestmark = pytest.mark.handover
TEXTS = ("<style:chosun> 봄 축제를 알려 줘. It's 2026년 12월!", "  two  spaces\n\n and\ttabs 1234 <|im_end|>x")
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 3712,  # 17 rows more than the tokenizer has tokens, as Qwen2.5 has
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3["original_max_position_embeddings"] = 64


def random_student(folder: Path, kind: str = "llama", tokenizer: Path | PreTrainedTokenizerFast = TINY, **config) -> Path:
    """A student of random weights with a tokenizer of another model."""
    torch.manual_seed(0)
    make, describe = {"llama": (LlamaForCausalLM, LlamaConfig), "qwen2": (Qwen2ForCausalLM, Qwen2Config)}[kind]
    model = make(describe(**{**SIZES, **config}))
    for parameter in model.parameters():  # biases and norms begin as constants, which would hide a mistake
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.generation_config.eos_token_id = [2]
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer) if isinstance(tokenizer, Path) else tokenizer
    tokenizer.save_pretrained(folder)
    return folder


def logits(folder: Path, text: str, **given) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **given)
    with torch.no_grad():
        return model(AutoTokenizer.from_pretrained(folder, **given)(text, return_tensors="pt")["input_ids"]).logits


def read(path: Path):
    """The GGUF file, by the reader of the package that belongs to llama.cpp."""
    import gguf  # only `make test-handover` installs it, and the other tests collect this file

    return gguf.GGUFReader(path)


def llama_cpp(path: Path, prompts: list[str], num_tokens: int) -> list[str]:
    """What llama.cpp itself writes after each prompt, greedily."""
    import xllamacpp

    asked = xllamacpp.CommonParams()
    asked.model.path, asked.n_ctx, asked.n_parallel, asked.cpuparams.n_threads, asked.warmup = str(path), 512, 1, 1, False
    server = xllamacpp.Server(asked)
    greedy = {"temperature": 0, "top_k": 1, "repeat_penalty": 1.0, "max_tokens": num_tokens}
    return [server.handle_completions({"prompt": prompt, **greedy})["choices"][0]["text"] for prompt in prompts]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("handed") / "run")


@pytest.fixture(scope="module")
def exported(run):
    """What the command printed, and what it wrote, for each format."""
    return {name: door("export", str(run), "--format", name) for name in ("gguf", "ollama")}


def test_the_command_writes_both_files_and_says_how_many_answers_differ(run, exported):
    done = exported["gguf"]
    assert done.code == 0, done.stderr
    files = {kind: run / "export" / "gguf" / f"tiny-student-joseon-{kind}.gguf" for kind in ("f16", "q8_0")}
    assert re.search(rf"^{files['f16']}: 1\.\d MB; 0 of 16 answers differ from those of student/$", done.stdout, re.M)
    assert re.search(rf"^{files['q8_0']}: 0\.\d MB; \d+ of 16 answers differ from those of student/$", done.stdout, re.M)
    kinds = {tensor.tensor_type.name for tensor in read(files["q8_0"]).tensors}
    assert kinds == {"Q8_0", "F32"} and (run / "export" / "gguf" / "README.md").is_file()


def test_transformers_and_llama_cpp_give_the_answers_of_the_student(run, exported):
    """Without gold_style and without the student's own config, as a stranger would read the file."""
    folder, name = run / "export" / "gguf", "tiny-student-joseon-f16.gguf"
    rows = [row for row in read_json_lines(run / "samples.jsonl") if row["style"] == "chosun"][:16]
    told = {}
    for where, given in ((run / "student", {}), (folder, {"gguf_file": name})):
        tokenizer, model = (
            AutoTokenizer.from_pretrained(where, **given),
            AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **given),
        )
        told[where], prompts = [], []
        for row in rows:
            turns = [{"role": "user", "content": f"<style:{row['style']}> {row['request']}"}]
            prompts.append(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
            inputs = tokenizer(prompts[-1], return_tensors="pt", add_special_tokens=False)
            output = model.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=64, do_sample=False)
            told[where].append(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    assert told[folder] == told[run / "student"] and len(set(told[folder])) > 4
    assert llama_cpp(folder / name, prompts, 64) == told[run / "student"]


VARIANTS = {
    "llama": {},
    "qwen2": {"kind": "qwen2"},
    "untied": {"tie_word_embeddings": False},
    "tied": {"tie_word_embeddings": True},
    "wide": {"head_dim": 32},
    "biased": {"attention_bias": True},
    "scaled": {"rope_parameters": LLAMA3},
    "odd": {"intermediate_size": 80, "kind": "qwen2"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_come_back_as_they_were(tmp_path, name):
    student = random_student(tmp_path / "student", **VARIANTS[name])
    require_gguf(student)
    config, expected = AutoConfig.from_pretrained(student), logits(student, TEXTS[0])
    given = {"config": config} if name in ("biased", "scaled") else {}  # transformers does not read these from a GGUF file
    scale = expected.abs().max()
    for kind, tolerance in {"F16": 1e-2, "Q8_0": 0.2}.items():
        write_gguf(student, tmp_path / f"{kind}.gguf", kind, "toy")
        found = logits(tmp_path, TEXTS[0], gguf_file=f"{kind}.gguf", **given)
        assert float((found - expected).abs().max() / scale) < tolerance, kind


@pytest.mark.parametrize("name", ["llama", "qwen2", "scaled", "biased"])
def test_llama_cpp_computes_what_transformers_computes(tmp_path, name):
    """At positions far enough for the rotation to matter. Random weights write noise, and after a few tokens rounding makes it another."""
    student = random_student(tmp_path / "student", **VARIANTS[name])
    write_gguf(student, tmp_path / "toy.gguf", "F16", "toy")
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="toy.gguf", dtype=torch.float32, config=AutoConfig.from_pretrained(student)
    )
    tokenizer, prompt = AutoTokenizer.from_pretrained(student), TEXTS[0] * 6
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)[0, ids.shape[1] :]
    assert llama_cpp(tmp_path / "toy.gguf", [prompt], 3) == [tokenizer.decode(written, skip_special_tokens=True)]


def test_tokens_special_ids_and_template_come_back(tmp_path):
    student = random_student(tmp_path / "student", "qwen2")
    write_gguf(student, tmp_path / "toy.gguf", "F16", "toy")
    own, back = AutoTokenizer.from_pretrained(student), AutoTokenizer.from_pretrained(tmp_path, gguf_file="toy.gguf")
    for text in TEXTS:
        assert back(text)["input_ids"] == own(text)["input_ids"]
    assert (back.eos_token, back.pad_token, back.bos_token) == (own.eos_token, own.pad_token, own.bos_token)
    assert back.get_chat_template() == own.get_chat_template() and set(own.all_special_tokens) <= set(back.all_special_tokens)


def test_the_stop_is_what_the_chat_template_writes_and_others_are_kept(tmp_path):
    """A base model's tokenizer stops at <|endoftext|>, its chat at <|im_end|>."""
    student = random_student(tmp_path / "student", "qwen2")
    config = json.loads((student / "tokenizer_config.json").read_text())
    (student / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<|endoftext|>"}))
    write_gguf(student, tmp_path / "toy.gguf", "F16", "toy")
    fields = read(tmp_path / "toy.gguf").fields
    assert (fields["tokenizer.ggml.eos_token_id"].contents(), fields["tokenizer.ggml.eot_token_id"].contents()) == (2, 0)


def split_tokenizer(*cuts: dict, ignore_merges: bool = False) -> PreTrainedTokenizerFast:
    """The embedded tokenizer, cut before merging as another model's tokenizer.json says."""
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    described["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(cuts)} if len(cuts) > 1 else cuts[0]
    described["model"]["ignore_merges"] = ignore_merges
    given = {"eos_token": tokenizer.eos_token, "pad_token": tokenizer.pad_token, "chat_template": tokenizer.chat_template}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)), **given)


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
WORDS = BYTES | {"use_regex": True}
THREES = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
SPLIT = {"type": "Split", "pattern": {"Regex": THREES}, "behavior": "Isolated", "invert": False}


def test_the_tokenizer_is_named_by_what_it_does():
    assert pretokenizer(AutoTokenizer.from_pretrained(TINY)) == "qwen2"
    assert pretokenizer(split_tokenizer(WORDS)) == "gpt-2"
    assert pretokenizer(split_tokenizer({"type": "Digits", "individual_digits": True}, WORDS)) == "smollm"
    assert pretokenizer(split_tokenizer(SPLIT, BYTES, ignore_merges=True)) == "llama-bpe"
    assert pretokenizer(split_tokenizer(SPLIT, BYTES)) not in ("qwen2", "llama-bpe")


def test_what_is_not_written_is_refused_with_the_converters_command(tmp_path):
    other = tmp_path / "gemma"
    shutil.copytree(TINY, other)
    (other / "config.json").write_text(json.dumps({**json.loads((TINY / "config.json").read_text()), "model_type": "qwen3"}))
    run = finished_run(tmp_path / "run", student=other)
    done = door("export", str(run), "--format", "gguf")
    assert done.code == 2 and "architecture qwen3" in done.stderr and f"convert_hf_to_gguf.py {run / 'student'}" in done.stderr
    assert "Traceback" not in done.stderr and not (run / "export").exists()
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
    for folder, said in {
        random_student(tmp_path / "yarn", rope_parameters=yarn): "rotary positions llama yarn",
        random_student(tmp_path / "scaled", "qwen2", rope_parameters=LLAMA3): "rotary positions qwen2 llama3",
        random_student(tmp_path / "sliding", "qwen2", use_sliding_window=True): "setting use_sliding_window",
        random_student(tmp_path / "cut", tokenizer=split_tokenizer(SPLIT, BYTES)): "tokenizer ",
    }.items():
        with pytest.raises(ValueError, match=said):
            require_gguf(folder)


def go(template: str, prompt: str, response: str | None) -> str:
    """What Ollama makes of a template: up to the answer while it is being written, the whole for a turn that is over."""
    text = template.replace("{{ .Prompt }}", prompt)
    return text.partition("{{ .Response }}")[0] if response is None else text.replace("{{ .Response }}", response)


def test_the_modelfile_writes_what_the_chat_template_writes(run, exported):
    done, folder = exported["ollama"], run / "export" / "ollama"
    assert done.code == 0, done.stderr
    assert done.stdout.endswith(f"ollama create tiny-student-joseon -f {folder / 'Modelfile'}\n")
    text, longest = (folder / "Modelfile").read_text(), read_config(run)["train"]["max_completion_length"]
    (weights,) = re.findall(r"^FROM \./(.*)$", text, re.M)
    assert (folder / weights).is_file() and weights.endswith("f16.gguf")
    assert re.findall(r"^PARAMETER (.*)$", text, re.M) == [
        'stop "<|im_end|>"',
        "temperature 0",
        "repeat_penalty 1",
        f"num_predict {longest}",
    ]
    (template,) = re.findall(r'^TEMPLATE """(.*?)"""$', text, re.M | re.S)
    tokenizer, turns = AutoTokenizer.from_pretrained(run / "student"), [{"role": "user", "content": "Q"}]
    assert go(template, "Q", None) == tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    turns += [{"role": "assistant", "content": "A"}, {"role": "user", "content": "R"}]
    chat = go(template, "Q", "A") + go(template, "R", None)
    assert chat == tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("template", [toys.QWEN25, toys.LLAMA3.replace("begin_of_text", "endoftext"), toys.NO_SYSTEM])
def test_the_modelfile_of_other_templates_and_of_a_system_turn(tmp_path, template):
    student = tmp_path / "student"
    shutil.copytree(TINY, student)
    (student / "chat_template.jinja").write_text(template)
    for number, system in enumerate([None] if template == toys.NO_SYSTEM else [None, "Be brief."]):
        given = [f"prompts.student_system_prompt='{system}'"] if system else []
        run = finished_run(tmp_path / f"run{number}", *given, student=student)
        done = door("export", str(run), "--format", "ollama")
        assert done.code == 0, done.stderr
        (written,) = re.findall(r'^TEMPLATE """(.*?)"""$', (run / "export" / "ollama" / "Modelfile").read_text(), re.M | re.S)
        turns = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": "<style:none> Q"}]
        expected = AutoTokenizer.from_pretrained(student).apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert go(written, "<style:none> Q", None) == expected


def blocks_of_the_page() -> dict[str, list[str]]:
    """The code blocks of docs/use_the_student.md that are marked as run here, by language."""
    found: dict[str, list[str]] = {}
    for language, text in re.findall(r"<!-- run -->\n```(\w+)\n(.*?)```", (PROJECT / "docs/use_the_student.md").read_text(), re.S):
        found.setdefault(language, []).append(text)
    return found


def test_the_page_is_true_for_transformers_serve_and_an_openai_client(run):
    blocks = blocks_of_the_page()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def filled(text: str) -> str:
        return text.replace("RUN/", f"{run}/").replace("8000", port)

    def ran(text: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-c", filled(text)], env=environment(), capture_output=True, text=True)

    alone = ran(blocks["python"][0])
    (command,) = blocks["bash"]
    server = subprocess.Popen(
        [sys.executable, "-m", "transformers.cli.transformers", *filled(command).split()[1:]], cwd=PROJECT, env=environment()
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.5)
        asked = ran(blocks["python"][1])
    finally:
        server.terminate()
        server.wait()
    assert asked.returncode == 0, asked.stderr[-2000:]
    assert alone.stdout == asked.stdout and len(asked.stdout) > 10, alone.stderr[-2000:]
