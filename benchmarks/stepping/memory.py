"""Peak memory of one side, measured in a process of its own: completions are given, not generated.

    python benchmarks/stepping/memory.py ours --vocab 151936 --system-tokens 600 --window 8      # prints one JSON line

The figure is the process's peak resident memory during its second step, minus what was resident before it (models and optimizer state
among it), minus gradients, plus cached prefixes, in MB of 10^6 bytes. (In a first step the optimizer's state is not there until the
activations are gone, and hides them.) Stock scores one sequence, the longest; ours the whole window.
Each side's teacher has read a text before, so that library code and the scratch space of matrix products are not counted either.
On a GPU it is the peak of torch's allocated memory instead, with the same subtractions.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072"}  # glibc's own first value, kept: freed tensors go back and are not counted
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def measure_in_child(side: str, shape, pair: str, device: str) -> dict[str, float]:
    """{"peak_mb", "prefix_mb"} of one side. Raises RuntimeError with the child's own words when it fails."""
    command = [sys.executable, __file__, side, f"--pair={pair}", f"--device={device}", f"--vocab={shape.vocab}"]
    command += [f"--system-tokens={shape.system_tokens}", f"--window={shape.window}", f"--new-tokens={shape.new_tokens}"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ALLOCATOR})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("ours", "stock"))
    parser.add_argument("--pair", default="toy")
    parser.add_argument("--device", default="cpu")
    for name, default in (("vocab", 8192), ("system-tokens", 600), ("window", 8), ("new-tokens", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()

    import torch

    from gold_style.chat import TeacherIds
    from gold_style.engine.teacher import Scored, Teacher
    from stepping import ours, real, stock
    from stepping.shapes import PAIRS, Shape, build_model, load_tokenizer

    if asked.pair == real.NAME:
        shape = real.RealShape.of(asked.window, asked.new_tokens)
    else:
        shape = Shape(vocab=asked.vocab, system_tokens=asked.system_tokens, window=asked.window, new_tokens=asked.new_tokens)
    pair, cuda = PAIRS[asked.pair], asked.device == "cuda"
    compute = torch.bfloat16 if cuda else torch.float32
    trained = compute if asked.side == "stock" else torch.float32
    student = build_model(pair.student, shape, 1, trained, asked.device)
    teacher = build_model(pair.teacher, shape, 2, compute, asked.device).eval()
    weights = sum(parameter.nbytes for parameter in student.parameters())
    with tempfile.TemporaryDirectory() as directory:
        some = (1,) * 256
        arguments = {"steps": 2, "device": asked.device, "given": True}
        if asked.side == "stock":
            trainer = stock.build_trainer(shape, student, teacher, Path(directory), window=1, **arguments)
            teacher.model(input_ids=torch.ones(1, len(some) * 3, dtype=torch.long, device=asked.device))
        else:
            trainer = ours.build_trainer(shape, student, teacher, Path(directory), **arguments)
            Teacher(teacher, load_tokenizer(shape)).hidden([Scored(TeacherIds(some, some), some)] * 4)
        meter = _meter(cuda)
        trainer.add_callback(meter)
        trainer.train()
    prefix = trainer.teacher.prefixes.num_bytes if asked.side == "ours" else 0
    print(json.dumps({"peak_mb": (meter.peak - meter.before - weights + prefix) / 1e6, "prefix_mb": prefix / 1e6}))


def _meter(cuda: bool):
    import gc

    import torch
    from transformers import TrainerCallback

    class Meter(TrainerCallback):
        """Bytes in use before the latest step, and at most during it."""

        def on_step_begin(self, args, state, control, **kwargs):
            gc.collect()
            if cuda:
                torch.cuda.reset_peak_memory_stats()
                self.before = torch.cuda.memory_allocated()
            else:
                Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew here
                self.before = _resident("VmRSS")

        def on_step_end(self, args, state, control, **kwargs):
            self.peak = torch.cuda.max_memory_allocated() if cuda else _resident("VmHWM")

    return Meter()


def _resident(name: str) -> int:
    """Bytes, of /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    if not ALLOCATOR.items() <= os.environ.items():  # read when the process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    main()
