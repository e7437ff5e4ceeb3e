"""What every part is given: device, pair, shape, and its models and trainers."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAIRS = {"qwen3b_to_1p5b": "qwen", "smallest": "smallest"}  # of --pair: of stepping.shapes
SETTINGS = {  # vocabulary rows, tokens of the teacher's system turn, rows of a step, new tokens
    "qwen3b_to_1p5b": (151_936, 600, 8, 128),
    "smallest": (600, 40, 8, 8),
}


def set_up(device: str, threads: int) -> None:
    """Environment of a process that measures, before torch is imported."""
    sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "benchmarks")) if path not in sys.path]
    for name, value in (("TOKENIZERS_PARALLELISM", "false"), ("HF_HUB_OFFLINE", "1"), ("TRL_EXPERIMENTAL_SILENCE", "1")):
        os.environ.setdefault(name, value)
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asking whether there is a card must not open it: forked processes could not use it
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@dataclass
class Case:
    """`name` is that of --pair; `directory` takes files that nobody keeps."""

    device: str
    name: str
    directory: Path
    threads: int
    deadline: float = 0.0  # seconds since the epoch at which the part is ended

    def give_up_on(self, seconds: float) -> bool:
        """Whether so little time is left that something of about this length would be cut off."""
        return self.is_real and self.seconds_left < seconds

    def prepare(self, deadline: float) -> None:
        """In the process of the part."""
        set_up(self.device, self.threads)
        import torch
        from step import silence

        self.deadline = deadline
        silence()
        torch.set_num_threads(self.threads)

    @property
    def is_real(self) -> bool:
        return self.name != "smallest"

    @property
    def on_card(self) -> bool:
        return self.device == "cuda"

    @property
    def seconds_left(self) -> float:
        return self.deadline - time.time()

    @property
    def now(self) -> Callable[[], float]:
        from stepping.turns import clock

        return clock(self.device, threads=2)

    @property
    def pair(self):
        from stepping.shapes import PAIRS as SHAPES

        return SHAPES[PAIRS[self.name]]

    @property
    def shape(self):
        from stepping.shapes import Shape

        vocab, system_tokens, window, new_tokens = SETTINGS[self.name]
        return Shape(vocab=vocab, system_tokens=system_tokens, window=window, new_tokens=new_tokens)

    @property
    def compute(self):
        """The dtype of teacher, rollouts and products."""
        import torch

        return torch.bfloat16 if self.on_card else torch.float32

    def student(self, dtype=None, layers: int | None = None):
        """Random weights; fp32 where nothing else is said, as they are trained."""
        return self._model(self.pair.student, 1, dtype or _fp32(), layers)

    def teacher(self, dtype=None, layers: int | None = None):
        return self._model(self.pair.teacher, 2, dtype or self.compute, layers).eval().requires_grad_(False)

    def _model(self, body, seed: int, dtype, layers: int | None):
        from stepping.shapes import build_model

        return build_model(
            replace(body, num_hidden_layers=min(layers or 999, body.num_hidden_layers)), self.shape, seed, dtype, self.device
        )

    def scratch(self, name: str) -> Path:
        """A directory for a trainer's files."""
        found = self.directory / f"{name.replace(' ', '-')}-{os.getpid()}-{time.monotonic_ns()}"
        found.mkdir(parents=True)
        return found


def _fp32():
    import torch

    return torch.float32


def synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
