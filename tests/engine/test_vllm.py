"""Rollouts by a real vLLM, on the CPU: `make test-vllm`, in an environment of its own (vLLM pins another transformers)."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from gold_style.engine.backbone import Backbone
from gold_style.engine.rollout import GREEDY, Completion, OutputIds, Sampling, generate
from gold_style.engine.teacher import Teacher
from gold_style.engine.vllm import Colocated, Served
from tests.helpers import toy_runs, toys

pytestmark = pytest.mark.vllm

PROJECT = Path(__file__).resolve().parents[2]
TEACHER = PROJECT / "gold_style/pairs/tiny/teacher"
TOKENIZER = AutoTokenizer.from_pretrained(TEACHER)
VOCAB = len(TOKENIZER)
PROMPTS = [TOKENIZER.encode(text) for text in ("봄 축제", "바다와 산을 알려 줘.", "책", "오래된 도서관은 어디에 있어?", "비")]
LENGTH = 24
OUTPUT_IDS = OutputIds((VOCAB - 1,), VOCAB - 1, VOCAB)
ENVIRONMENT = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}


def student(seed: int = 0):
    """Heads of width 32: vLLM's attention knows no narrower ones on a CPU."""
    return toys.model(VOCAB, seed=seed, hidden=128, scale=0.3)


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory) -> str:
    return toys.saved(TOKENIZER, student(), tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def server(model_directory, tmp_path_factory):
    """Address of a server that was started with the student's first weights."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model_directory, "--dtype", "float32"]
    command += ["--max-model-len", "256", "--enforce-eager", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=ENVIRONMENT) as process:
        try:
            deadline = time.monotonic() + 300
            while not _is_healthy(port):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _is_healthy(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def engine(model_directory):
    """One for all tests: a process holds one engine."""
    os.environ |= {name: value for name, value in ENVIRONMENT.items() if name.startswith("VLLM_")}
    return Colocated(model=model_directory, dtype="float32", gpu_memory_utilization=0.3)


@pytest.fixture(params=["server", "colocate"])
def vllm(request, model_directory, tmp_path):
    if request.param == "colocate":
        return request.getfixturevalue("engine")
    return Served(request.getfixturevalue("server"), tmp_path / "handover", student=model_directory)


def student_copy_of(model, directory):
    maker = toy_runs.row_maker(TOKENIZER, Teacher(toys.model(VOCAB, seed=1), TOKENIZER), toys.prompts(4), student=model)
    return toy_runs.trainer(model, maker, directory).student_copy


def ask(**changes) -> dict:
    return {"sampling": GREEDY, "max_new_tokens": LENGTH, "output_ids": OUTPUT_IDS, **changes}


def own_loop(model, output_ids=OUTPUT_IDS) -> list[Completion]:
    return generate(Backbone(model), PROMPTS, max_new_tokens=LENGTH, output_ids=output_ids)


def test_completions_come_from_the_weights_of_now(vllm, tmp_path):
    written = []
    for seed in (3, 4):  # neither is what the server was started with
        model = student(seed)
        vllm.take(student_copy_of(model, tmp_path / str(seed)))
        written.append(vllm.write(PROMPTS, list(range(len(PROMPTS))), **ask()))
        assert written[-1] == own_loop(model)
    assert written[0] != written[1]


def test_stop_tokens_end_a_row_and_stay_and_padding_is_never_drawn(vllm, tmp_path):
    model, stopping = student(5), replace(OUTPUT_IDS, stop_ids=tuple(range(0, VOCAB, 5)))
    vllm.take(student_copy_of(model, tmp_path))
    found = vllm.write(PROMPTS, [0] * len(PROMPTS), **ask(output_ids=stopping))
    assert found == own_loop(model, stopping)
    assert any(one.finished and len(one.ids) < LENGTH for one in found)
    below = VOCAB // 2
    narrow = replace(OUTPUT_IDS, vocab_size=below)
    cut = vllm.write(PROMPTS, [0] * len(PROMPTS), **ask(output_ids=narrow))
    assert cut == own_loop(model, narrow)
    assert max(i for one in own_loop(model) for i in one.ids) >= below, "the bound would not have mattered"


def test_a_rows_sample_belongs_to_its_seed(vllm, tmp_path):
    vllm.take(student_copy_of(student(6), tmp_path))
    sampled = ask(sampling=Sampling(temperature=1.0, top_p=0.95))
    seeds = [2**63 - 1, 7, 8, 9, 10]
    first = vllm.write(PROMPTS, seeds, **sampled)
    assert vllm.write(PROMPTS[::-1], seeds[::-1], **sampled)[::-1] == first, "the order of the rows matters"
    other = vllm.write(PROMPTS, [seed - 1 for seed in seeds], **sampled)
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_samples_follow_the_students_distribution(vllm, tmp_path):
    model, draws = student(7), 400
    vllm.take(student_copy_of(model, tmp_path))
    asked = ask(sampling=Sampling(temperature=0.7, top_p=0.9), max_new_tokens=1)
    found = vllm.write([PROMPTS[0]] * draws, list(range(draws)), **asked)
    uniforms_BG = torch.rand(draws, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = generate(Backbone(model), [PROMPTS[0]] * draws, uniforms_BG=uniforms_BG, **asked)
    counts = [torch.bincount(torch.tensor([one.ids[0] for one in some]), minlength=VOCAB).double() for some in (found, expected)]
    assert (counts[0] - counts[1]).abs().max() / draws < 0.15
    assert (counts[0] > 0).sum() > 3, "greedy would pass"


@pytest.mark.parametrize("how", ["vllm_server", "vllm_colocate"])
@pytest.mark.parametrize("lora", ["false", "true"])
def test_a_run(how, lora, model_directory, server, tmp_path):
    command = [sys.executable, str(PROJECT / "train.py"), "experiment=smoke", f"hardware={how}", f"hardware.vllm_server={server}"]
    command += ["hardware.device=cpu", f"model.student={model_directory}", f"model.lora.enabled={lora}", "model.dtype=float32"]
    command += ["loss.warm_start_steps=0", "loss.lmbda=1", f"output_dir={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert len(losses) == 3 and all(loss > 0 for loss in losses)
    assert not list(tmp_path.glob("run/.handover/*")), "weights were left behind"


def test_what_a_server_cannot_do_is_said(server, tmp_path):
    vllm = Served(server, tmp_path, student="the/student")
    with pytest.raises(ValueError, match="hardware.vllm_server=.*: 400 Bad Request: .*maximum context length"):
        vllm.write([[5] * 400], [0], **ask())
