"""The arithmetic of memory against what one H100 measured (benchmarks/results/gpu_*.jsonl), and against parts that can be counted."""

import json

import pytest

from gold_style import PROJECT
from gold_style.config.settings import Settings
from gold_style.job.forecast import Forecast, Machine
from gold_style.job.memory import activations, phases
from gold_style.job.shapes import shape_of, table

RESULTS = PROJECT / "benchmarks" / "results" / "gpu_NVIDIA_H100_80GB_HBM3.jsonl"
TOKENS = {"prompt": 60, "prefix": 600, "rest": 60}  # of benchmarks/gpu.py


def forecast(*overrides: str, **tokens: int) -> Forecast:
    settings = Settings.compose("model=qwen3b_to_1p5b", "evaluation.batch_size=8", "tracker=none", *overrides)
    return Forecast(settings, Machine.named("h100", settings.model.dtype), TOKENS | tokens)


def peaks(*overrides: str) -> dict[str, float]:
    return {phase: parts.total() / 1e9 for phase, parts in phases(forecast(*overrides).work).items()}


def measured(section: int, name: str) -> list[dict]:
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    return next(line["tables"][name] for line in lines if line["section"] == section)


@pytest.mark.parametrize(
    ("row", "overrides"),
    [
        (0, ("hardware.tokens_per_microbatch=null",)),
        (1, ("hardware.tokens_per_microbatch=768",)),
        (2, ("hardware.tokens_per_microbatch=4096",)),
        (3, ("hardware.tokens_per_microbatch=4096", "train.max_completion_length=256")),
    ],
)
def test_each_phase_is_what_the_h100_measured(row, overrides):
    found, seen = peaks(*overrides), measured(4, "ours")[row]
    for phase in ("rollout", "teacher", "student", "optimizer"):
        assert found[phase] == pytest.approx(seen[f"{phase}_gb"], rel=0.03), phase


def test_a_step_takes_about_what_the_h100_measured():
    """The host of the card sets most of it: within a third."""
    for row, overrides in ((0, ("hardware.tokens_per_microbatch=null",)), (1, ("hardware.tokens_per_microbatch=768",))):
        found, seen = forecast(*overrides).seconds(), measured(4, "ours")[row]
        assert sum(found.values()) == pytest.approx(seen["seconds"], rel=0.33)
        assert found["student"] == pytest.approx(seen["student_s"], rel=0.33)


def test_a_long_window_is_written_in_batches():
    """engine/rollout.py writes at most 256 rows at a time, and launches bind all of these."""
    spent = {rows: forecast(f"train.gradient_accumulation_steps={rows}").seconds()["rollout"] for rows in (8, 256, 257, 1024)}
    assert spent[8] == spent[256] and spent[257] == 2 * spent[8] and spent[1024] == 4 * spent[8]


def test_a_quantised_teacher_is_not_laid_out_to_write():
    """engine/decode_step.py refuses quantised layers, so that one at a time is restored."""
    teacher = shape_of("model.teacher", "Qwen/Qwen2.5-3B-Instruct")
    for quantization, numbers in (("none", teacher.layers * 13_000_000), ("int8", 1), ("int4", 1)):
        exam = phases(forecast(f"model.teacher_quantization={quantization}").work)["exam"]
        assert exam["decode weights"] >= 2 * numbers
        assert (exam["decode weights"] <= 2 * teacher.hidden * teacher.inner) == (quantization != "none")


def test_activations_under_autocast_are_those_that_were_measured():
    work = forecast().work
    assert activations(work) / work.student.shape.layers == pytest.approx(118_840, rel=0.001)
    assert activations(forecast("train.gradient_checkpointing=true").work) < activations(work) / 10


def test_whole_runs_fit_where_they_did():
    """39.6 GB ran under a cap of 40 GB, and not under one of 24."""
    settings = Settings.compose("model=qwen3b_to_1p5b", "evaluation.batch_size=8", "tracker=none")
    fitting = {name for name in table("cards")["cards"] if Forecast(settings, Machine.named(name, "bfloat16"), TOKENS).fits}
    assert fitting == {"a100_40gb", "l40s", "a100_80gb", "h100", "h200"}


def test_weights_are_counted_as_the_models_have_them():
    from gold_style.engine.models import num_parameters

    for name in ("gold_style/pairs/tiny/student", "gold_style/pairs/tiny/teacher", "gold_style/pairs/tiny_cross_tokenizer/teacher"):
        assert shape_of("model.student", name).parameters == num_parameters(name, None, False)
    sizes = {"0.5B": 494_032_768, "1.5B": 1_543_714_304, "3B": 3_085_938_688, "7B": 7_615_616_512, "32B": 32_763_876_352}
    for size, number in sizes.items():
        assert shape_of("model.student", f"Qwen/Qwen2.5-{size}-Instruct").parameters == number
    assert shape_of("model.teacher", "meta-llama/Llama-3.1-8B-Instruct").parameters == 8_030_261_248
    assert shape_of("model.teacher", "Qwen/Qwen3-0.6B").parameters == 596_049_920


def test_adapters_are_counted_as_peft_makes_them():
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    name = "gold_style/pairs/tiny/student"
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(name), LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    work = forecast(f"model.student={name}", f"model.teacher={name}", "model.lora.enabled=true").work
    assert work.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_what_saves_memory_saves_it():
    full = peaks()
    for override, phase in (
        ("train.gradient_checkpointing=true", "student"),
        ("train.optim=adamw_8bit", "optimizer"),
        ("model.lora.enabled=true", "student"),
    ):
        assert peaks(override)[phase] < full[phase] - 0.3, override
    one, four = (forecast("hardware=fsdp", f"hardware.num_processes={number}").work for number in (1, 4))
    assert phases(four)["student"]["optimizer"] == phases(one)["student"]["optimizer"] / 4
    assert phases(four)["student"]["teacher weights"] == phases(one)["student"]["teacher weights"]


def test_the_teacher_that_is_the_student_is_held_once_under_lora():
    own = ("model=self", "model.student=Qwen/Qwen2.5-1.5B-Instruct")
    assert "teacher weights" not in phases(forecast(*own, "model.lora.enabled=true").work)["student"]
    assert "teacher weights" in phases(forecast(*own).work)["student"]


def test_a_teacher_that_reads_without_its_context_too_reads_twice():
    read = [
        forecast(*loss.split()).operations()["teacher"] for loss in ("loss=jsd", "loss=contrast", "loss=contrast loss.contrast_strength=0")
    ]
    assert read[1] == 2 * read[0] == 2 * read[2]


def test_a_teacher_at_an_address_is_not_counted_here_but_for_its_head():
    local, beside = peaks(), peaks("teacher_backend=ray")
    parts = phases(forecast("teacher_backend=ray", "teacher_backend.address=10.0.0.5:6379").work)
    assert beside == local and parts["exam"]["teacher weights"] == 2 * forecast().work.teacher.shape.head
    assert local["teacher"] - parts["teacher"].total() / 1e9 > 5.5  # 3 B weights in bfloat16
    told = phases(forecast("teacher_backend=openai", "teacher_backend.address=http://10.0.0.5:8000/v1", "loss=topk_tail").work)
    assert told["exam"]["teacher weights"] == 0 == told["exam"]["caches"]
