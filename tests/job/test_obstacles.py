"""What is against a run on this machine: said in the first seconds, with the plan where one is asked for."""

import json
import sys

import pytest
import torch

from gold_style.config.settings import Settings
from gold_style.job.build import build_vllm
from gold_style.job.inputs import Inputs
from gold_style.job.obstacles import absences, lacks, spread_mistakes
from tests.helpers import prompt_settings, toys
from tests.helpers.commands import SMALL, python, torchrun

HUB_PAIR = "model=qwen3b_to_1p5b"
NO_TORCH = "import runpy, sys; sys.argv[0] = 'train.py'; sys.modules['torch'] = None; runpy.run_path('train.py', run_name='__main__')"


def files(tmp_path, number: int):
    return prompt_settings.write(tmp_path / "rows.jsonl", [prompt_settings.row(f"<style:none> {n}번 요청이오.") for n in range(number)])


def completed_run(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 0\n")
    (run / "run.json").write_text(json.dumps({"status": "completed"}))
    return run


def test_too_few_rows_and_a_completed_run_are_seen_without_a_model(tmp_path):
    few = Settings.compose("prompts=jsonl", f"prompts.path={files(tmp_path, 24)}", "tracker=none")
    (rows,) = absences(few, ["train.py"])
    assert "training rows are fewer than the 32 of one step" in rows
    few.train["per_device_train_batch_size"] = 8
    assert absences(few, ["train.py"]) == lacks(few) == []
    few.resume = str(completed_run(tmp_path))
    (completed,) = absences(few, ["train.py"])
    assert "this run is completed" in completed


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU lacks")
def test_a_gpu_and_vllm_are_looked_for():
    settings = Settings.compose("hardware=vllm_colocate", "tracker=none")
    assert any("torch sees no CUDA device" in fault for fault in lacks(settings))
    server = Settings.compose("hardware=vllm_server", "hardware.device=cpu", "hardware.vllm_server=http://127.0.0.1:9", "tracker=none")
    (fault,) = lacks(server)
    assert "hardware.vllm_server=http://127.0.0.1:9: cannot be reached" in fault and "vllm serve" in fault


@pytest.mark.parametrize(("prompt_tokens", "longest"), [("null", None), ("100", 148)])
def test_vllm_gets_the_context_that_a_row_can_fill(prompt_tokens, longest, tmp_path, monkeypatch):
    """The engine itself starts with the first weights, so an empty package is enough to see what it would start with."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    asked = (f"prompts.max_prompt_tokens={prompt_tokens}", "train.max_completion_length=48")
    colocated = build_vllm(Settings.compose("hardware=vllm_colocate", "tracker=none", *asked), tmp_path)
    assert colocated.options["max_model_len"] == longest


@pytest.mark.parametrize(("option", "kind"), [("fsdp", "FSDP"), ("multi_gpu", None), ("cpu", None)])
def test_an_option_that_shards_is_held_against_the_launch(option, kind):
    """This process shards nothing, whatever the option."""
    found = spread_mistakes(Settings.compose(f"hardware={option}", "hardware.device=cpu").hardware)
    assert [f"hardware={option} is {kind}, and this launch is NO" in mistake for mistake in found] == [True] * (kind is not None)


@pytest.mark.slow
def test_fsdp_on_cpus_does_not_train_as_ddp(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    done = torchrun(2, *SMALL, "hardware=fsdp", "hardware.device=cpu", "output_dir=out", cwd=tmp_path)
    assert done.code and "hardware=fsdp is FSDP, and this launch is MULTI_CPU" in done.stderr
    assert "Traceback" not in done.stderr.partition("torch/distributed")[0] and not (tmp_path / "out" / "run.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU lacks")
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_float16_is_not_trained_in_float32_instead(device):
    (fault,) = lacks(Settings.compose("model.dtype=float16", f"hardware.device={device}", "tracker=none"))
    assert fault == "model.dtype=float16: is trained with loss scaling, which needs a CUDA device; give model.dtype=bfloat16"
    assert lacks(Settings.compose("model.dtype=bfloat16", f"hardware.device={device}", "tracker=none")) == []


def test_float16_for_a_model_in_bfloat16_is_noted(tmp_path):
    tokenizer = toys.byte_tokenizer()
    names = {
        dtype: toys.saved(tokenizer, toys.model(len(tokenizer), dtype=dtype), tmp_path / str(dtype))
        for dtype in (torch.bfloat16, torch.float32)
    }
    asked = ("experiment=smoke", "tracker=none", f"model.teacher={names[torch.float32]}", "prompts.eval_samples=2")
    notes = Inputs.read(Settings.compose(*asked, f"model.student={names[torch.bfloat16]}", "model.dtype=float16")).notes
    (note,) = [note for note in notes if note.startswith("float16 ends at 65,504")]
    assert names[torch.bfloat16] in note and names[torch.float32] not in note
    for other in ((f"model.student={names[torch.bfloat16]}",), (f"model.student={names[torch.float32]}", "model.dtype=float16")):
        assert not [note for note in Inputs.read(Settings.compose(*asked, *other)).notes if "65,504" in note]


@pytest.mark.parametrize("dry_run", [False, True])
def test_offline_both_models_are_named_and_the_plan_needs_no_torch(tmp_path, dry_run):
    """In a process that cannot import torch at all."""
    import subprocess

    from tests.helpers.commands import PROJECT, environment

    command = [sys.executable, "-c", NO_TORCH, HUB_PAIR, "tracker=none", f"dry_run={str(dry_run).lower()}", f"output_dir={tmp_path}/out"]
    done = subprocess.run(command, cwd=PROJECT, env=environment(HF_HOME=str(tmp_path)), text=True, capture_output=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "model.teacher=Qwen/Qwen2.5-3B-Instruct and model.student=Qwen/Qwen2.5-1.5B-Instruct: neither a local" in done.stderr
    assert ("100 x 8 rows = 800 completions" in done.stdout) == dry_run
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with a GPU lacks nothing")
def test_a_dry_run_says_what_is_against_the_run_after_the_plan(tmp_path):
    done = python("train.py", "hardware=single_gpu", "dry_run=true", "tracker=none", cwd=tmp_path)
    assert done.code == 2 and "Traceback" not in done.stderr, done.stderr[-3000:]
    assert "student reads" in done.stdout and "160 x 32 rows" in done.stdout
    assert "against this run on this machine:" in done.stderr and "torch sees no CUDA device" in done.stderr


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.optim=adamw_8bit", "needs the package bitsandbytes"),
        ("train.optim=paged_ademamix_8bit", "needs the package bitsandbytes"),
        ("train.optim=adamw_torch_4bit", "needs the package torchao"),
        ("train.optim=lomo", "within the backward pass"),
        ("train.optim=galore_adamw", "cannot be named here"),
        ("train.lr_scheduler_type=reduce_lr_on_plateau", "evaluation within the training loop"),
        ("train.use_liger_kernel=true", "use loss="),
        ("train.neftune_noise_alpha=500", "it changes nothing; use loss.temperature"),
        ("train.tf32=true", "use model.dtype=bfloat16"),
        ("model.attn_implementation=flash_attention_2", "needs the package flash_attn"),
    ],
)
def test_what_cannot_work_here_is_refused_before_anything_is_imported(override, said, capsys, monkeypatch):
    from gold_style.config.check.command_line import checked_arguments

    monkeypatch.setattr("gold_style.config.check.rules.find_spec", lambda package: None)
    with pytest.raises(SystemExit) as left:
        checked_arguments([override, "dry_run=true", "tracker=none"], "config")
    error = capsys.readouterr().err
    assert left.value.code == 2 and f"{override}: " in error and said in error
