"""One model as teacher and student: its weights held once against two copies of it, bit for bit, and an adapter that both start with."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from gold_style.config.own_teacher import is_own_teacher
from gold_style.config.settings import PROJECT, Settings
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.engine.models import load_model
from gold_style.job.build import build_teacher, build_trainer, load_student
from gold_style.job.inputs import Inputs
from gold_style.job.teacher_check import try_teacher
from gold_style.runs.progress import Progress
from tests.helpers.commands import SMALL, python, torchrun
from tests.helpers.toy_runs import Recorder, weights

STUDENT = "gold_style/pairs/tiny/student"
SELF = ("model=self", f"model.student={STUDENT}", "train.learning_rate=1e-2")
LORA = (*SELF, "model.lora.enabled=true", "model.dtype=float32")
TEACHER_WRITES = ("loss.seq_kd=true", "loss.lmbda=0.5", "loss.warm_start_steps=1")
KINDS = {
    "plain": (),
    "teacher writes, dropout": (*TEACHER_WRITES, "model.lora.dropout=0.3"),
    "gradient checkpointing": ("train.gradient_checkpointing=true",),
    "embedding adapted": ("model.lora.target_modules=[embed_tokens,q_proj]",),
    "uld": ("loss=uld",),
    "bfloat16": ("model.dtype=bfloat16",),
    "int4": ("model.student_quantization=int4", "model.teacher_quantization=int4"),
}
QUICK = ("teacher writes, dropout", "bfloat16", "int4")
IDS = torch.arange(5, 40)[None]


def composed(*overrides: str) -> Settings:
    return Settings.compose("experiment=smoke", "tracker=none", *overrides)


def built(directory: Path, *overrides: str) -> StyleGOLDTrainer:
    """A trainer as train.py builds it, not yet started."""
    settings, run = composed(*overrides), Recorder()
    run.directory, run.checkpoints = directory, directory / "checkpoints"
    return build_trainer(settings, Inputs.load(settings), run)


def trained(directory: Path, *overrides: str) -> StyleGOLDTrainer:
    trainer = built(directory, *overrides)
    trainer.train()
    trainer.student_copy.save(directory / "student")
    return trainer


def untimed(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if not name.endswith("_s")} for row in rows]


def places(model) -> set[int]:
    """Where a model's weights lie in memory."""
    return {parameter.data_ptr() for parameter in model.parameters()}


@pytest.fixture(scope="module")
def second_copy(tmp_path_factory) -> str:
    """The student's files once more: to the project another model."""
    return str(shutil.copytree(PROJECT / STUDENT, tmp_path_factory.mktemp("copy") / "student"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> str:
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
    directory = tmp_path_factory.mktemp("adapter")
    get_peft_model(load_student(composed()), config).save_pretrained(directory)
    return str(directory)


@pytest.mark.parametrize("kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS])
def test_weights_held_once_train_as_two_copies_bit_for_bit(kind, second_copy, tmp_path):
    start = load_student(composed(*LORA, *KINDS[kind]))
    once = trained(tmp_path / "once", *LORA, *KINDS[kind])
    twice = trained(tmp_path / "twice", *LORA, *KINDS[kind], f"model.teacher={second_copy}")
    assert untimed(once.run.rows) == untimed(twice.run.rows) and len(once.run.rows) == 3
    assert torch.equal(weights(once.model), weights(twice.model))
    name = "student/model.safetensors"
    assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    assert places(once.teacher.model) <= places(once.model) and not places(twice.teacher.model) & places(twice.model)
    assert all(torch.equal(own, other) for own, other in zip(once.teacher.model.parameters(), start.parameters(), strict=True))
    learns = {name for name, parameter in once.model.named_parameters() if parameter.requires_grad}
    assert learns and all("lora_" in name for name in learns) and once.model.training and not once.teacher.model.training


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    saving = (*LORA, *TEACHER_WRITES, "train.max_steps=4", "train.save_steps=2")
    whole = trained(tmp_path / "whole", *saving)
    assert not {"model.safetensors", "pytorch_model.bin"} & {path.name for path in (tmp_path / "whole/checkpoints/checkpoint-2").iterdir()}
    resumed = built(tmp_path / "resumed", *saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoints" / "checkpoint-2"))
    assert untimed(resumed.run.rows) == untimed(whole.run.rows[2:]) and torch.equal(weights(resumed.model), weights(whole.model))


@pytest.mark.parametrize("kind", [LORA, (*SELF, "model.dtype=float32"), SELF], ids=["LoRA", "all weights", "bfloat16"])
def test_the_teacher_is_the_start_with_its_adapter_and_stays_so(adapter, kind, tmp_path):
    overrides = (*kind, f"model.student_adapter={adapter}")
    settings = composed(*overrides)
    trainer = trained(tmp_path, *overrides)
    teacher = trainer.teacher.model
    start = load_model(STUDENT, teacher.dtype, None, settings.model, [adapter])
    with torch.no_grad():
        expected = start.eval()(IDS).logits
        assert torch.equal(teacher(IDS).logits, expected)
        assert not torch.equal(load_student(composed()).to(teacher.dtype).eval()(IDS).logits, expected)
        assert torch.equal(build_teacher(settings, Inputs.load(settings)).model(IDS).logits, expected)  # evaluate.py's
        assert not torch.equal(trainer.model.eval()(IDS).logits, expected)  # training moved the student
    assert bool(places(teacher) & places(trainer.model)) == (kind is LORA)


def test_another_models_teacher_knows_nothing_of_the_students_adapter(adapter):
    settings = composed(f"model.student_adapter={adapter}")
    plain = load_model("gold_style/pairs/tiny/teacher", torch.float32, None, settings.model)
    assert torch.equal(weights(build_teacher(settings, Inputs.load(settings)).model), weights(plain))


def test_one_model_is_known_by_any_spelling_of_its_path_and_by_its_revision(second_copy, tmp_path):
    (tmp_path / "link").symlink_to(PROJECT / STUDENT)
    for teacher in (f"{PROJECT}/{STUDENT}/", f"gold_style/../{STUDENT}", str(tmp_path / "link")):
        assert is_own_teacher(composed(*SELF, f"model.teacher={teacher}").model)
    for other in (f"model.teacher={second_copy}", "model.teacher_revision=v1", "model.teacher=gold_style/pairs/tiny/teacher"):
        assert not is_own_teacher(composed(*SELF, other).model)
    assert is_own_teacher(composed("model=self", "model.student=a/b", "model.student_revision=v1").model)


@pytest.mark.parametrize(
    ("overrides", "sharded", "expected"),
    [
        (LORA, "", "teacher: the student's start, held once (adapters off): 2.3 MB"),
        (SELF[:2] + ("model.dtype=float32",), "", f"teacher: the student's start, two copies of {STUDENT}: 2.3 MB each"),
        (SELF, "", f"two copies of {STUDENT}: 2.3 MB (student, float32) and 1.2 MB (teacher, bfloat16)"),
        ((*LORA, "model.dtype=bfloat16"), "", "held once (adapters off): 1.2 MB"),
        (
            (*LORA, "model.teacher_dtype=bfloat16"),
            "",
            "and 1.2 MB (teacher, bfloat16); model.teacher_dtype=null model.teacher_quantization=none holds them once",
        ),
        (
            (*LORA, "model.student_quantization=int4"),
            "",
            "float32); model.teacher_dtype=null model.teacher_quantization=int4 holds them once",
        ),
        ((*LORA, *KINDS["int4"]), "", "held once (adapters off): 2.3 MB less what int4 saves"),
        (LORA, "true", f"two copies of {STUDENT}: 2.3 MB each; the student's is sharded"),
    ],
)
def test_the_plan_says_how_the_weights_are_held(overrides, sharded, expected, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", sharded)
    (note,) = [note for note in Inputs.load(composed(*overrides)).notes if note.startswith("teacher: ")]
    assert note.endswith(expected)
    assert not [note for note in Inputs.load(composed()).notes if note.startswith("teacher: ")]


@pytest.mark.slow
def test_a_dry_run_leaves_the_teachers_weights_in_their_dtype(second_copy, capsys):
    """The student answers in the compute dtype, the teacher, who has the same tensors, in its own."""
    said = []
    for teacher in (STUDENT, second_copy):
        overrides = ("model.dtype=bfloat16", "model.teacher_dtype=float32", f"model.teacher={teacher}")
        with Progress() as progress:
            try_teacher(Inputs.load(composed(*LORA, *overrides)), progress)
        said.append(capsys.readouterr().err)
    assert said[0] == said[1] and "P(style opening | <style:chosun>)" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_whole_runs_have_the_same_bits(processes, second_copy, tmp_path):
    """Teacher, before, after, live evaluation, the best checkpoint, student/: of train.py and, in another process, evaluate.py."""
    settings = (*SMALL, *LORA, *TEACHER_WRITES, "evaluation.every_steps=1", "evaluation.keep=best", "evaluation.sampled=true")
    found = []
    for name, extra in {"once": (), "twice": (f"model.teacher={second_copy}",)}.items():
        asked = (*settings, *extra, f"output_dir={name}", "train.per_device_train_batch_size=2")
        done = torchrun(processes, *asked, cwd=tmp_path) if processes > 1 else python("train.py", *asked, cwd=tmp_path)
        assert done.code == 0 and ("held once" in done.stderr) == (name == "once"), done.stderr[-3000:]
        again = python("evaluate.py", f"target={name}", "hardware=cpu", f"output_dir={name}-again", cwd=tmp_path)
        assert again.code == 0, again.stderr[-3000:]
        summaries = [json.loads((path / "summary.json").read_text()) for path in (done.run, again.run)]
        rows = [json.loads(line) for line in (done.run / "metrics.jsonl").read_text().splitlines()]
        found.append(
            (
                [{key: value for key, value in summary.items() if key != "train_seconds"} for summary in summaries],
                [(path / "samples.jsonl").read_text() for path in (done.run, again.run)],
                untimed(rows),
                (done.run / "student" / "model.safetensors").read_bytes(),
            )
        )
    assert found[0] == found[1]
