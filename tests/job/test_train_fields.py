"""What `train.*` promises: every accepted field changes a run of the real trainer, every other one is refused with a reason."""

import hashlib
import json

import pytest
import torch
from transformers import PhiConfig, PhiForCausalLM

from gold_style import PROJECT
from gold_style.config.gold_config import allowed_fields, entry_of, gold_config_fields, mistakes_in, refusal, train_fields
from gold_style.config.settings import Settings
from gold_style.job.build import build_trainer
from gold_style.job.inputs import Inputs
from gold_style.job.optimizer import optimizer_mistakes
from gold_style.runs.run import open_run
from tests.helpers import prompt_settings, toys

BASE = (
    "tracker=none",
    "loss=jsd",
    "evaluation.every_steps=0",
    "prompts.eval_samples=1",
    "prompts.selection_samples=0",
    "train.optim=adamw_torch",
    "train.lr_scheduler_type=linear",
    "train.lr_scheduler_kwargs=null",
    "train.warmup_steps=0",
    "train.max_steps=3",
    "train.per_device_train_batch_size=2",
    "train.gradient_accumulation_steps=1",
    "train.max_completion_length=5",
    "train.max_grad_norm=0",
)
WEIGHTS, ROWS, CHECKPOINTS, FORWARDS = "weights", "rows", "checkpoints", "forwards"  # what a run leaves that can be compared
SGD = "train.optim=sgd"
COSINE = "train.lr_scheduler_type=cosine_with_min_lr"
EVERY = "train.save_steps=1"
FINITE = ("train.max_steps=-1", "prompts=jsonl", "prompts.path=ROWS")

# field -> (value, what it changes, what is set in both runs)
EFFECTS = {
    "per_device_train_batch_size": (3, WEIGHTS, ()),
    "num_train_epochs": (2, ROWS, (*FINITE, "train.num_train_epochs=1")),
    "max_steps": (2, ROWS, ()),
    "learning_rate": (0.01, WEIGHTS, ()),
    "lr_scheduler_type": ("cosine", WEIGHTS, ()),
    "lr_scheduler_kwargs": ("{min_lr_rate: 0.5}", WEIGHTS, (COSINE, "train.lr_scheduler_kwargs={min_lr_rate: 0.1}")),
    "warmup_steps": (2, WEIGHTS, ()),
    "optim": ("adafactor", WEIGHTS, ()),
    "optim_args": ("'momentum=0.9'", WEIGHTS, (SGD,)),
    "weight_decay": (0.5, WEIGHTS, ()),
    "adam_beta1": (0.5, WEIGHTS, ()),
    "adam_beta2": (0.5, WEIGHTS, ()),
    "adam_epsilon": (0.1, WEIGHTS, ()),
    "gradient_accumulation_steps": (2, WEIGHTS, ()),
    "max_grad_norm": (0.001, WEIGHTS, (SGD,)),
    "gradient_checkpointing": (True, FORWARDS, ()),
    "logging_steps": (2, ROWS, ()),
    "logging_first_step": (True, ROWS, ("train.logging_steps=2",)),
    "save_steps": (2, CHECKPOINTS, ()),
    "save_total_limit": (1, CHECKPOINTS, (EVERY,)),
    "max_completion_length": (3, WEIGHTS, ()),
    "disable_dropout": (False, WEIGHTS, ()),
    "num_generations": (2, WEIGHTS, ()),
}
WORDS = {WEIGHTS: "weights", ROWS: "metrics.jsonl|number of steps", CHECKPOINTS: "checkpoints", FORWARDS: "memory"}  # of the page


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A student with dropout, and a file of eight rows."""
    directory, tokenizer = tmp_path_factory.mktemp("pair"), toys.byte_tokenizer()
    config = PhiConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        resid_pdrop=0.3,
        eos_token_id=tokenizer.eos_token_id,
    )
    for seed, name in enumerate(("student", "teacher")):
        torch.manual_seed(seed)
        toys.saved(tokenizer, PhiForCausalLM(config), directory / name)
    prompt_settings.write(directory / "rows.jsonl", [prompt_settings.row(f"<style:none> {n}번 요청이오.") for n in range(8)])
    return directory


@pytest.fixture(scope="module")
def ran(pair, tmp_path_factory):
    """(overrides) -> what a run with them leaves; each run is made once."""
    known = {}

    def run(*overrides: str) -> dict:
        if overrides not in known:
            known[overrides] = trained(pair, tmp_path_factory.mktemp("run") / "r", overrides)
        return known[overrides]

    return run


def trained(pair, directory, overrides) -> dict:
    models = (f"model.student={pair}/student", f"model.teacher={pair}/teacher", f"output_dir={directory}")
    settings = Settings.compose(*BASE, *models, *(override.replace("ROWS", f"{pair}/rows.jsonl") for override in overrides))
    inputs, forwards = Inputs.load(settings), []
    assert optimizer_mistakes(settings, inputs.num_steps) == []
    with open_run(settings) as run:
        trainer = build_trainer(settings, inputs, run)
        layers = trainer.model.get_decoder().layers
        layers[0].self_attn.register_forward_pre_hook(lambda module, *_: forwards.append(module.training))
        trainer.train()
    flat = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
    return {
        WEIGHTS: hashlib.sha256(flat.numpy().tobytes()).hexdigest(),
        ROWS: [json.loads(line)["step"] for line in (directory / "metrics.jsonl").read_text().splitlines()],
        CHECKPOINTS: sorted(path.name for path in (directory / "checkpoints").iterdir()),
        FORWARDS: sum(forwards),
    }


def test_every_field_of_trl_is_accepted_with_an_effect_or_refused_with_a_reason():
    assert set(EFFECTS) == set(allowed_fields())
    for name in gold_config_fields():
        listed = entry_of(name, train_fields()["accepted"])
        assert (name in EFFECTS) == (listed is not None) == (refusal(name) is None), name
        if name in EFFECTS:
            assert any(word in listed for word in WORDS[EFFECTS[name][1]].split("|")), (name, listed)
        else:
            (mistake,) = mistakes_in({name: gold_config_fields()[name]["default"]})
            assert "; use " in mistake.reason and "None" not in mistake.reason, mistake


@pytest.mark.slow
def test_a_run_repeats_itself(ran, pair, tmp_path):
    assert trained(pair, tmp_path / "again", ()) == ran()


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFECTS)
def test_an_accepted_field_changes_the_run(ran, name):
    value, what, others = EFFECTS[name]
    with_it = ran(*(other for other in others if not other.startswith(f"train.{name}=")), f"train.{name}={value}")
    assert with_it[what] != ran(*others)[what]


def test_the_page_of_the_fields_is_true():
    from benchmarks.train_fields import PAGE, page

    assert PAGE == PROJECT / "docs" / "train_fields.md"
    assert PAGE.read_text(encoding="utf-8") == "\n".join([*page(), ""]), "write it anew: python benchmarks/train_fields.py"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((SGD, "train.optim_args='momentun=0.9'"), "train.optim_args=momentun=0.9: train.optim=sgd does not read it"),
        ((SGD, "train.optim_args=momentum"), "train.optim_args=momentum"),
        ((SGD, "train.adam_beta1=0.5"), "train.adam_beta1=0.5: train.optim=sgd does not read it"),
        (("train.optim_args='momentum=0.9'",), "train.optim=adamw_torch does not read it"),
        (("train.optim=adafactor", "train.adam_epsilon=1e-3"), "train.optim=adafactor does not read it"),
        ((COSINE,), "min_lr"),
        (("train.lr_scheduler_type=polynomial", "train.lr_scheduler_kwargs={lr_end: 1.0}"), "lr_end"),
        (("train.lr_scheduler_type=polynomial", "train.lr_scheduler_kwargs={lr_ent: 0}"), "did you mean lr_end"),
        (("train.lr_scheduler_type=warmup_stable_decay",), "num_decay_steps"),
        (("train.optim=muon", "train.adam_beta1=0.5"), None),
        ((SGD, "train.optim_args='momentum=0.9,nesterov=true'"), None),
    ],
)
def test_optimizer_and_schedule_are_tried_before_a_model_is_loaded(overrides, said):
    mistakes = optimizer_mistakes(Settings.compose(*BASE, *overrides), num_steps=3)
    assert mistakes == [] if said is None else said in mistakes[0] and len(mistakes) == 1, mistakes


def test_the_listed_packages_are_those_that_transformers_asks_for(monkeypatch):
    """The library's own words for each optimizer that is not there."""
    from transformers import Trainer, TrainingArguments, trainer_optimizer

    for package in ("bitsandbytes", "torchao"):
        monkeypatch.setattr(trainer_optimizer, f"is_{package}_available", lambda: False)
    for name in gold_config_fields()["optim"]["choices"]:
        if entry_of(name, train_fields()["unsupported"]["optim"]):
            continue
        package = entry_of(name, train_fields()["packages"]["train.optim"])
        try:
            Trainer.get_optimizer_cls_and_kwargs(TrainingArguments(output_dir="unused", optim=name, use_cpu=True))
            assert package is None, name
        except ImportError as error:
            assert package and package in str(error), name
