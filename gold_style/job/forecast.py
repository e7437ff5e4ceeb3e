"""A run on a machine before it is paid for: whether it fits, how long it takes, and which settings would fit.

Without weights, directory, network or device; `plan=here` measures this machine for a few seconds. What is printed: job/page.py.
"""

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from gold_style.config.inheritance import INHERITING
from gold_style.config.settings import ADJUSTABLE, CONF, Settings, find_directory
from gold_style.job.memory import WRITTEN_ROWS, Side, Work, phases
from gold_style.job.shapes import table
from gold_style.prompts import build_source
from gold_style.styles import StylePack

BYTES_PER_TOKEN = 3.0  # of UTF-8
TURN_TOKENS = 6  # that a chat template adds to a turn
UNREAD_TOKENS = 64  # of a request whose source is not read: one on the hub, or a large file
READ_BYTES = 2_000_000
Refused = Callable[[Settings], Sequence]  # what speaks against settings


@dataclass(frozen=True)
class Machine:
    """A card, or this machine: bytes of memory, bytes and floating-point operations a second."""

    title: str
    memory: float
    bandwidth: float
    flops: float
    on_gpu: bool = True
    bfloat16: bool = True

    @classmethod
    def named(cls, name: str, dtype: str) -> "Machine":
        facts = table("cards")["cards"][name]
        computed = dtype if dtype == "float32" or facts["bfloat16"] else "float16"
        flops = facts["float32"] if dtype == "float32" else facts["tflop_s"]
        seen = "" if name in table("cards")["measured"] else "; not measured on this card"
        title = f"{facts['title']}; published peaks {facts['bandwidth_gb_s']:,} GB/s, {flops:g} TFLOP/s in {computed}{seen}"
        return cls(title, facts["memory_gb"] * 1e9, facts["bandwidth_gb_s"] * 1e9, flops * 1e12, bfloat16=facts["bfloat16"])

    @classmethod
    def here(cls, settings: Settings) -> "Machine":
        """This machine, measured for two seconds after torch is loaded."""
        import torch

        on_gpu = settings.hardware.device != "cpu" and torch.cuda.is_available()
        torch.set_num_threads(settings.hardware.threads or torch.get_num_threads())
        numbers = torch.ones(2**25, device="cuda" if on_gpu else "cpu")
        matrix, other = numbers[: 2**20].view(1024, 1024).to(getattr(torch, settings.model.dtype)), torch.empty_like(numbers)
        wait = torch.cuda.synchronize if on_gpu else lambda: None
        bandwidth = 8 * 2**25 * _rate(lambda: (other.copy_(numbers), wait()))
        flops = 2 * 1024**3 * _rate(lambda: (matrix @ matrix, wait()))
        kind = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
        title = f"this machine ({kind}); measured now {bandwidth / 1e9:.1f} GB/s, {flops / 1e12:.3f} TFLOP/s in {settings.model.dtype}"
        memory = torch.cuda.mem_get_info()[1] if on_gpu else psutil.virtual_memory().available
        return cls(title, memory, bandwidth, flops, on_gpu)


def _rate(operation: Callable[[], Any]) -> float:
    """How often a second."""
    operation()
    start, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < 1:
        operation()
        done += 1
    return done / spent


def read_rows(settings: Settings) -> tuple[dict[str, int], int | None]:
    """Tokens of the longest prompts, as Work takes them, and the number of training rows where it is known."""
    prompts, pack, count = settings.prompts, StylePack.from_settings(settings.styles), _tokens
    is_small = prompts.path and find_directory(prompts.path).stat().st_size <= READ_BYTES
    source = build_source(settings, pack) if prompts.source == "dynamic" or is_small else None
    rows = [source[i] for i in range(min(256, source.num_rows or 256))] if source else []
    asked = max((count(turn["content"] for turn in row.messages()) for row in rows), default=UNREAD_TOKENS)
    openings = [
        (prompts.teacher_system_prompt or pack.teacher_system(tag), *(text for _, text in pack.example_turns(tag))) for tag in pack.tags
    ]
    own = count([prompts.student_system_prompt]) if prompts.student_system_prompt else 0
    return {"prompt": asked + own, "prefix": max(map(count, openings)), "rest": asked}, source.num_rows if source else None


def _tokens(turns: Iterable[str]) -> int:
    """Of a conversation's turns. A tokenizer may be on the hub: about as many as a large vocabulary makes of the bytes."""
    return sum(math.ceil(len(text.encode()) / BYTES_PER_TOKEN) + TURN_TOKENS for text in turns)


class Forecast:
    """`settings` on a machine. `tokens` are those of `read_rows`. Raises ValueError for a model whose sizes are not known."""

    def __init__(self, settings: Settings, machine: Machine, tokens: dict[str, int]):
        self.settings, self.machine, self.tokens = settings, machine, tokens
        self.work = self._work()
        self.rates = self.work.rates
        if settings.hardware.tokens_per_microbatch == "auto" and machine.on_gpu:  # the run halves the window until it fits
            sizes = [self.work.rows >> halvings for halvings in range(self.work.rows.bit_length())]
            self.work = next((work for work in map(self._work, sizes) if self.needed(work) <= machine.memory), self._work(1))
        self.fits = self.needed(self.work) <= machine.memory and (machine.bfloat16 or settings.model.dtype != "bfloat16")

    def _work(self, at_once: int | None = None) -> Work:
        return Work(self.settings, self.tokens, self.machine.on_gpu, at_once, self.machine.memory)

    def needed(self, work: Work) -> float:
        """Bytes at the peak, with what allocator and libraries take besides."""
        return max(parts.total() for parts in phases(work).values()) * self.rates["held"] + self.rates["reserved_gb"] * 1e9

    def operations(self) -> dict[str, float]:
        """Floating-point operations of a step of one process, by phase."""
        work, read = self.work, self.work.rows * self.work.row
        student, teacher = work.student.shape.parameters, work.teacher.shape.parameters * work.readings
        passes = (4 if work.lora else 6) + 2 * work.checkpointing
        scored = work.rows * (work.tokens["rest"] + work.new)
        return {"rollout": 2 * student * read, "teacher": 2 * teacher * scored, "student": passes * student * read}

    def seconds(self) -> dict[str, float]:
        """Of a step, by phase."""
        work, rates, flops = self.work, self.rates, self.operations()
        done, batches = self.machine.flops * rates["of_peak"], math.ceil(work.rows / work.at_once)
        return {
            "rollout": self.writing(work.student, work.rows),
            "teacher": rates["read_s"] * work.teacher.shape.layers * work.readings + flops["teacher"] / done,
            "student": rates["train_s"] * work.student.shape.layers * batches + flops["student"] / done,
            "optimizer": (12 * work.trained + 2 * work.optimizer) / work.share / (self.machine.bandwidth * rates["of_bandwidth"]),
        }

    def writing(self, side: Side, rows: int) -> float:
        """Seconds of completions, WRITTEN_ROWS of them at a time."""
        machine, rates, weights, batches = self.machine, self.rates, side.shape.parameters, math.ceil(rows / WRITTEN_ROWS)
        a_batch = max(rates["decode_s"] * side.shape.layers, side.width * weights / (machine.bandwidth * rates["of_bandwidth"]))
        return self.work.new * max(batches * a_batch, 2 * weights * rows / (machine.flops * rates["of_peak"]))

    def all_seconds(self, steps: int) -> float:
        """Of the whole run: its steps, the exams of student (before, after) and teacher, live evaluations."""
        evaluation, asked, rows = self.settings.evaluation, self.settings.prompts.eval_samples, self.work.exam_rows
        tags, live = len(self.settings.styles.styles) + evaluation.untagged, steps // (evaluation.every_steps or steps + 1)
        exams, lives = (math.ceil(number * tags / rows) for number in (128 if asked is None else asked, evaluation.live_samples))
        student, teacher = self.writing(self.work.student, rows), self.writing(self.work.teacher, rows)
        return steps * sum(self.seconds().values()) + exams * (2 * student + teacher) + live * lives * student

    # ---- what would fit ----------------------------------------------------------------------------------------------

    def nearest(self, refused: Refused) -> "tuple[dict[str, Any], Forecast] | None":
        """The first of the overrides that save memory which makes it fit, and what it makes of it."""
        tokens = {"row": self.work.row + 1, "window": self.work.rows * (self.work.row + 1)}
        inherits = any(getattr(self.settings, key) for key in INHERITING)
        for saving in table("cards")["savings"]:
            overrides = {key: tokens.get(value, value) for key, value in saving.items()}
            if "model.lora.enabled" in overrides:
                overrides["train.learning_rate"] = self.settings.model.recipe.lora_learning_rate
            if not self.machine.bfloat16 and self.settings.model.dtype == "bfloat16":
                overrides["model.dtype"] = "float16"
            if not inherits or overrides.keys() <= {*ADJUSTABLE}:
                other = self.under(lambda overrides=overrides: changed(self.settings, overrides), refused)
                if other and other.fits:
                    return overrides, other
        return None

    def presets(self, given: Sequence[str], refused: Refused) -> Iterator[str]:
        """Options of `hardware` for the size of a card that fit here, with the other overrides of the command line."""
        kept = [text for text in given if text.partition("=")[0] != "hardware"]
        for name in sorted(path.stem for path in (CONF / "hardware").glob("gpu_*.yaml")):
            other = self.under(lambda name=name: Settings.compose(*kept, f"hardware={name}"), refused)
            if other and other.fits:
                yield f"hardware={name}"

    def under(self, compose: Callable[[], Settings], refused: Refused) -> "Forecast | None":
        """Other settings on this machine; None where they would be refused."""
        try:
            settings = compose()
            return None if refused(settings) else Forecast(settings, self.machine, self.tokens)
        except ValueError:
            return None


def changed(settings: Settings, overrides: dict[str, Any]) -> Settings:
    """The settings with other values. Raises SettingsError for what they may not be."""
    mapping = settings.to_dict()
    for key, value in overrides.items():
        *groups, name = key.split(".")
        functools.reduce(dict.__getitem__, groups, mapping)[name] = value
    return Settings.from_dict(mapping)
