"""Memory that runs out is one sentence and exit code 2, wherever in a run it does."""

import subprocess
import sys

import pytest
import torch

from gold_style.engine.agreement import check_reading
from gold_style.engine.backbone import Backbone
from gold_style.engine.out_of_memory import is_out_of_memory, memory_advice
from tests.helpers import toys
from tests.helpers.commands import PROJECT, SMALL, environment

RUN = """
import runpy, sys, torch, transformers
def fail(*_, **__): raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12.30 GiB")
%s
sys.argv[0] = "train.py"
runpy.run_path("train.py", run_name="__main__")
"""
STEP = """
step = torch.optim.AdamW.step
def first(self, *given): return fail() if self.param_groups[0]["params"][0].numel() > 4 else step(self, *given)  # not of the toy weight
torch.optim.AdamW.step = first
"""


def test_every_library_s_words_are_known():
    said = ["[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", "CUDA error: out of memory"]
    said += [
        "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling",
    ]
    for error in [*map(RuntimeError, said), torch.OutOfMemoryError("x"), MemoryError()]:
        with pytest.raises(ValueError, match="^out of memory while it was tried: lower this$"), memory_advice("while it was tried", "this"):
            raise error
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) and not is_out_of_memory(ValueError(said[0]))
    with pytest.raises(RuntimeError, match="shapes"), memory_advice("while it was tried", "this"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize("num_calls", [0, 1, 3])
def test_a_full_device_does_not_make_a_model_unfit(num_calls):
    """Neither is it refused, nor read without a shortcut."""
    model, left = toys.model(96), iter(range(num_calls))

    def fail(*_):
        if next(left, None) is None:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.model.norm.register_forward_pre_hook(fail)
    backbone = Backbone(model)
    with pytest.raises(torch.OutOfMemoryError):
        check_reading(backbone, "the student", tuple(range(13)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("injected", "said"),
    [
        (STEP, "while the optimizer moved the weights"),
        ("transformers.Qwen2ForCausalLM.to = fail", "while the models were placed on their device"),
        ("import gold_style.engine.exam; gold_style.engine.exam.generate = fail", "while models were loaded, asked or saved"),
    ],
)
def test_a_run_ends_in_one_sentence(injected, said, tmp_path):
    command = [sys.executable, "-c", RUN % injected, *SMALL, f"output_dir={tmp_path}/out"]
    done = subprocess.run(command, cwd=PROJECT, env=environment(), text=True, capture_output=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-3000:]
    assert f"out of memory {said}" in done.stderr and "hardware=gpu_24gb" in done.stderr
