"""evaluate.py in process, with the embedded pair: requests of one's own, and adapters."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from gold_style.config.settings import EvaluateSettings, Settings
from gold_style.engine.models import load_model
from gold_style.job.build import load_student
from gold_style.job.evaluation import evaluate

STUDENT = "gold_style/pairs/tiny/student"
IDS = torch.arange(5, 40)[None]


def student(**model):
    settings = Settings.compose("tracker=none", *(f"model.{key}={value}" for key, value in model.items()))
    return load_student(settings)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A LoRA adapter that changes what the student says, and the logits with it."""
    torch.manual_seed(0)
    adapted = get_peft_model(student(), LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False))
    directory = tmp_path_factory.mktemp("adapter")
    adapted.save_pretrained(directory)
    return directory, adapted.eval()(IDS).logits.detach()


def test_a_student_starts_with_its_adapter(adapter):
    directory, logits = adapter
    started = student(student_adapter=directory).eval()
    assert torch.allclose(started(IDS).logits, logits, atol=1e-4) and not torch.allclose(student().eval()(IDS).logits, logits, atol=1e-2)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in started.parameters())
    assert [name for name, _ in started.named_parameters()] == [name for name, _ in student().named_parameters()]
    settings = Settings.compose("tracker=none")
    halved = load_model(STUDENT, torch.bfloat16, None, settings.model, [str(directory)])
    assert {p.dtype for p in halved.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("damage", ["rank", "missing weights", "another model"])
def test_an_adapter_that_does_not_fit_is_refused(adapter, damage, tmp_path):
    for path in adapter[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    changes = {"rank": {"r": 2}, "missing weights": {"target_modules": config["target_modules"][1:]}, "another model": {}}[damage]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | changes))
    onto = "gold_style/pairs/tiny/teacher" if damage == "another model" else STUDENT
    with pytest.raises(ValueError, match=f"the adapter {tmp_path} cannot be added to {onto}"):
        student(student=onto, student_adapter=tmp_path)


def test_one_request_is_answered_under_the_tags_asked_for_and_leaves_nothing(adapter, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = ['request="봄 축제를 알려 줘."', "hardware=cpu", "model.dtype=float32"]
    evaluate(EvaluateSettings.compose(f"target={STUDENT}", *base, "tags=[chosun,null]", "evaluation.sampled=true"), ["evaluate.py"])
    printed = capsys.readouterr().out
    assert "<style:none>" not in printed and "run directory" not in printed and not any(tmp_path.iterdir())
    assert [printed.count(words) for words in ("<style:chosun> [", "(no tag) [", "<style:chosun> sampled [", "(no tag) sampled [")] == [
        1
    ] * 4
    evaluate(EvaluateSettings.compose(f"target={adapter[0]}", *base, "output_dir=here"), ["evaluate.py"])
    adapted = capsys.readouterr().out
    assert adapted.rstrip().endswith(f"run directory: {tmp_path / 'here'}") and "<style:none> [" in adapted
    rows = [json.loads(line) for line in (tmp_path / "here" / "samples.jsonl").read_text().splitlines()]
    assert [row["style"] for row in rows] == ["chosun", "none", None] and rows[0]["after"] not in printed
