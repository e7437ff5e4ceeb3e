"""What jobs of a sweep share through the disk: the same bits with and without, keyed by what the numbers depend on."""

import copy
import hashlib
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from gold_style.chat import Chat
from gold_style.config.settings import Settings
from gold_style.engine.disk_cache import DiskCache
from gold_style.engine.draws import uniforms
from gold_style.engine.models import load_model
from gold_style.engine.remembered import RememberingTeacher, remembered_answers, weights_digest
from gold_style.engine.rollout import Sampling
from gold_style.engine.teacher import Scored, Teacher
from gold_style.measure.answers import Answer
from tests.helpers import toys

TOKENIZER = toys.byte_tokenizer()
CHAT = Chat(TOKENIZER, TOKENIZER, toys.PACK)
PROMPTS = [CHAT.teacher_ids(prompt) for prompt in toys.prompts(6)]
UNIFORMS = uniforms([(0, "completion", 1, row) for row in range(len(PROMPTS))], 10)
SAMPLED = {"max_new_tokens": 10, "sampling": Sampling(temperature=0.9), "uniforms_BG": UNIFORMS}


def remembering(directory: Path, model=None, **options) -> RememberingTeacher:
    disk = DiskCache(directory, 10**8)
    return RememberingTeacher(model or toys.model(len(TOKENIZER)), TOKENIZER, disk=disk, **options)


def fail(*arguments):
    raise AssertionError("computed again")


def test_a_teacher_that_remembers_says_the_same_bits(tmp_path):
    plain, first, second = Teacher(toys.model(len(TOKENIZER)), TOKENIZER), remembering(tmp_path), remembering(tmp_path)
    rows = [Scored(prompt, (5, 6, 7)) for prompt in PROMPTS]
    for call in ({"max_new_tokens": 10}, SAMPLED):
        expected = plain.generate(PROMPTS, **call)
        assert first.generate(PROMPTS, **call) == expected and second.generate(PROMPTS, **call) == expected
    for states in zip(plain.hidden(rows), first.hidden(rows), second.hidden(rows), strict=True):
        assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])
    assert first.disk.hits == 0 and second.disk.misses == 0 and second.disk.hits == 3  # two calls, one prefix


@pytest.mark.parametrize("changed", ["weights", "prompts", "sampling", "uniforms", "length", "threads", "precision", "room", "code"])
def test_whatever_the_numbers_depend_on_is_in_the_key(tmp_path, monkeypatch, changed):
    remembering(tmp_path).generate(PROMPTS, **SAMPLED)
    model, prompts, call, options = toys.model(len(TOKENIZER)), PROMPTS, dict(SAMPLED), {}
    if changed == "weights":
        with torch.no_grad():
            next(model.parameters())[0, 0] += 1e-3
    elif changed == "prompts":
        prompts = PROMPTS[:-1] + PROMPTS[:1]
    elif changed == "sampling":
        call["sampling"] = Sampling(temperature=0.9, top_p=0.9)
    elif changed == "uniforms":
        call["uniforms_BG"] = UNIFORMS.flip(0)
    elif changed == "length":
        call["max_new_tokens"] = 9
    elif changed == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    elif changed == "precision":  # what train.tf32=true sets
        monkeypatch.setattr(torch.backends, "fp32_precision", "tf32")
    elif changed == "room":  # too little for the prefix
        options = {"prefix_cache_bytes": 10}
    else:
        monkeypatch.setattr("gold_style.engine.remembered.code_digest", lambda: "another")
    teacher = remembering(tmp_path, model, **options)
    teacher.generate(prompts, **call)
    assert teacher.disk.hits <= 1 and teacher.disk.misses >= 1  # at most the prefix is the same
    expected = Teacher(model, TOKENIZER, **options).generate(prompts, **call)
    assert remembering(tmp_path, model, **options).generate(prompts, **call) == expected


def test_answers_come_back_as_they_were(tmp_path):
    answers = [
        Answer(id=0, style="chosun", request="요청", text="\ud800 답이오", finished=True, num_tokens=3, topic="봄"),
        Answer(id="a", style=None, request="x", text=""),
    ]
    disk = DiskCache(tmp_path, 10**6)
    assert remembered_answers(disk, ["k"], lambda: answers) == answers == remembered_answers(disk, ["k"], fail)


def test_a_digest_sees_every_weight():
    one, other = toys.model(len(TOKENIZER)), toys.model(len(TOKENIZER))
    assert weights_digest(one) == weights_digest(other)
    with torch.no_grad():
        list(other.parameters())[-1].view(-1)[-1] += 1e-4
    assert weights_digest(one) != weights_digest(other)


def loaded(path: Path, *adapters, dtype=torch.float32):
    return load_model(str(path), dtype, None, Settings.compose().model, [str(adapter) for adapter in adapters])


def test_files_are_read_once_and_a_changed_one_has_another_digest(tmp_path, monkeypatch):
    directory = Path(toys.saved(TOKENIZER, toys.model(len(TOKENIZER)), tmp_path / "model"))
    model, disk = loaded(directory), DiskCache(tmp_path / "cache", 10**8)
    first = weights_digest(model, disk)
    with monkeypatch.context() as later:  # another job: neither the weights nor their file are read
        later.setattr(hashlib, "file_digest", fail)
        later.setattr(torch.Tensor, "cpu", fail)
        assert weights_digest(model, DiskCache(tmp_path / "cache", 10**8)) == first
    assert weights_digest(loaded(directory, dtype=torch.bfloat16), disk) != first
    toys.saved(TOKENIZER, toys.model(len(TOKENIZER), seed=1), directory)
    assert weights_digest(loaded(directory), disk) != first


def test_weights_with_an_adapter_have_a_digest_of_their_own(tmp_path):
    directory, disk = Path(toys.saved(TOKENIZER, toys.model(len(TOKENIZER)), tmp_path / "model")), DiskCache(tmp_path / "cache", 10**8)
    for name, seed in (("one", 1), ("other", 2)):
        torch.manual_seed(seed)
        config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
        get_peft_model(loaded(directory), config).save_pretrained(tmp_path / name)
    models = [loaded(directory), loaded(directory, tmp_path / "one"), loaded(directory, tmp_path / "other")]
    assert len({weights_digest(model, disk) for model in models}) == 3
    assert weights_digest(copy.deepcopy(models[1]), disk) == weights_digest(models[1], disk)
    made_here = toys.model(len(TOKENIZER))  # of no file: its bytes count, as before
    assert weights_digest(made_here, disk) == weights_digest(made_here)
