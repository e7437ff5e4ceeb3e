"""What a run takes on a card, before it is paid for: `python train.py plan=h100`.

Without weights, directory, network or device: sizes of known models are in models.yaml, those of a local one in its config.json.
`plan=here` measures this machine for a few seconds. Memory: job/memory.py; what is printed: job/page.py.
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import psutil

from gold_style import did_you_mean
from gold_style.config.own_teacher import BYTES, is_own_teacher
from gold_style.config.settings import CONF, Settings, find_directory
from gold_style.config.yaml_file import read_mapping
from gold_style.job.memory import Shape, Side, Work, phases, total
from gold_style.job.steps import rows_per_window
from gold_style.prompts import build_source
from gold_style.styles import StylePack

BYTES_PER_TOKEN = 3.0  # of UTF-8, for a hub model, whose tokenizer is not here
TURN_TOKENS = 6  # that a chat template adds to a turn
UNREAD_TOKENS = 64  # of a request whose source is not read: one on the hub, or a large file
READ_BYTES = 2_000_000
TRIED = 6  # command lines that are composed until one is accepted


@cache
def table(name: str) -> dict[str, Any]:
    """A YAML file beside this module."""
    return read_mapping(Path(__file__).with_name(f"{name}.yaml"))


@dataclass(frozen=True)
class Machine:
    """A card, or this machine: bytes of memory, bytes and floating-point operations a second (0: not measured)."""

    title: str
    memory: float
    bandwidth: float
    flops: float
    on_gpu: bool = True
    bfloat16: bool = True

    @classmethod
    def named(cls, name: str, dtype: str) -> "Machine":
        facts = table("cards")["cards"][name]
        flops = facts["float32"] if dtype == "float32" else facts["tflop_s"]
        seen = "" if name in table("cards")["measured"] else "; not measured on this card"
        title = f"{facts['title']}; published peaks {facts['bandwidth_gb_s']:,} GB/s, {flops:g} TFLOP/s in {dtype}{seen}"
        return cls(title, facts["memory_gb"] * 1e9, facts["bandwidth_gb_s"] * 1e9, flops * 1e12, bfloat16=facts["bfloat16"])

    @classmethod
    def here(cls, settings: Settings, is_measured: bool = True) -> "Machine":
        """This machine; measuring takes two seconds after torch is loaded."""
        memory = psutil.virtual_memory().available
        if not is_measured:
            return cls("this machine, not measured", memory, 0, 0, on_gpu=False)
        import torch

        on_gpu = settings.hardware.device != "cpu" and torch.cuda.is_available()
        torch.set_num_threads(settings.hardware.threads or torch.get_num_threads())
        numbers = torch.ones(2**25, device="cuda" if on_gpu else "cpu")
        matrix, other = numbers[: 2**20].view(1024, 1024).to(getattr(torch, settings.model.dtype)), torch.empty_like(numbers)
        bandwidth = 8 * 2**25 * _rate(lambda: other.copy_(numbers), torch.cuda.synchronize if on_gpu else None)
        flops = 2 * 1024**3 * _rate(lambda: matrix @ matrix, torch.cuda.synchronize if on_gpu else None)
        kind = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
        title = f"this machine ({kind}); measured now {bandwidth / 1e9:.1f} GB/s, {flops / 1e12:.3f} TFLOP/s in {settings.model.dtype}"
        return cls(title, torch.cuda.mem_get_info()[1] if on_gpu else memory, bandwidth, flops, on_gpu)

    @property
    def rates(self) -> dict[str, float]:
        return table("cards")["rates"]["gpu" if self.on_gpu else "cpu"]


def _rate(operation: Callable[[], Any], wait: Callable[[], Any] | None) -> float:
    """How often a second."""
    operation()
    start, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < 1:
        operation()
        done += 1
        if wait:
            wait()
    return done / spent


def known(name: str) -> dict[str, Any] | None:
    """What models.yaml says of a hub name, or of a directory that is called like a model there."""
    models, last = table("models"), Path(name).name.casefold()
    return models.get(name) or next((facts for key, facts in models.items() if Path(key).name.casefold() == last), None)


@cache
def shape_of(key: str, name: str) -> Shape:
    """Raises ValueError, in a sentence, for a model whose sizes are not known here."""
    directory = find_directory(name)
    if (directory / "config.json").is_file():
        try:
            return Shape.of(json.loads((directory / "config.json").read_text(encoding="utf-8")), _stored(directory))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{key}={name}: its config.json does not say what a plan needs ({error})") from None
    if facts := known(name):
        return Shape.of(facts)
    reason = "its sizes are not known here, and a plan does not ask the hub; give a local directory with its config.json"
    raise ValueError(f"{key}={name}: {reason}{did_you_mean(name, table('models'))}")


def _stored(directory: Path) -> int | None:
    """Weights in a directory's safetensors files, from their headers; None without such files."""
    number = 0
    for path in directory.glob("model*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        number += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return number or None


def read_rows(settings: Settings) -> tuple[dict[str, int], int | None]:
    """Tokens of the longest prompts, as Work calls them, and the number of training rows where it is known."""
    prompts, pack = settings.prompts, StylePack.from_settings(settings.styles)
    is_small = prompts.path and find_directory(prompts.path).stat().st_size <= READ_BYTES
    source = build_source(settings, pack) if prompts.source == "dynamic" or is_small else None
    rows = [source[i] for i in range(min(256, source.num_rows or 256))] if source else []
    (student, teacher), system = (_counter(settings.model.student), _counter(settings.model.teacher)), prompts.student_system_prompt
    asked = [[turn["content"] for turn in row.messages()] for row in rows]
    openings = {
        (prompts.teacher_system_prompt or pack.teacher_system(tag, tagged), *(text for _, text in pack.example_turns(tag, tagged)))
        for tag, tagged in [*((tag, True) for tag in pack.tags), (pack.untagged, False)]
    }
    tokens = {
        "prompt": max(map(student, asked), default=UNREAD_TOKENS) + (student([system]) if system else 0),
        "prefix": max(map(teacher, openings)),
        "prefixes": len(openings),
        "rest": max(map(teacher, asked), default=UNREAD_TOKENS),
    }
    return tokens, source.num_rows if source else None


def _counter(name: str) -> Callable[[Sequence[str]], int]:
    """Tokens of a conversation's turns, by a local model's tokenizer or by the bytes of the text."""
    file, tokenizer = find_directory(name) / "tokenizer.json", None
    if file.is_file():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(file))

    def count(text: str) -> int:
        return len(tokenizer.encode(text).ids) if tokenizer else math.ceil(len(text.encode()) / BYTES_PER_TOKEN)

    return lambda turns: sum(count(text) + TURN_TOKENS for text in turns)


@dataclass(frozen=True)
class Forecast:
    """A run on a machine. `tokens` are those of `read_rows`."""

    settings: Settings
    machine: Machine
    tokens: dict[str, int]

    @cached_property
    def work(self) -> Work:
        """What one process holds and does. Raises ValueError for a model whose sizes are not known."""
        model, train, hardware, loss = self.settings.model, self.settings.train, self.settings.hardware, self.settings.loss
        stored = [getattr(model, f"{side}_quantization", "none") for side in ("student", "teacher")]
        dtypes, sharded = [model.dtype, model.teacher_dtype or model.dtype], hardware.name in ("fsdp", "deepspeed_zero3")
        alike = dtypes[0] == dtypes[1] and stored[0] == stored[1]
        student, teacher = (
            Side(shape_of(f"model.{side}", getattr(model, side)), BYTES[dtype], quantization)
            for side, dtype, quantization in zip(("student", "teacher"), dtypes, stored, strict=True)
        )
        work = Work(
            student=student,
            teacher=teacher,
            lora_rank=model.lora.r if model.lora.enabled else 0,
            held_once=is_own_teacher(model) and model.lora.enabled and alike and not sharded,
            optim=train["optim"],
            checkpointing=bool(train["gradient_checkpointing"]),
            on_gpu=self.machine.on_gpu,
            sharded=sharded,
            processes=hardware.num_processes or 1,
            rows=rows_per_window(self.settings),
            rows_per_microbatch=train["per_device_train_batch_size"],
            **self.tokens,
            new=train["max_completion_length"],
            exam_rows=self.settings.evaluation.batch_size,
            teacher_writes=bool(loss.warm_start_steps or (loss.seq_kd and loss.lmbda < 1)),
            vllm={"own": None, "vllm_colocate": hardware.vllm_gpu_memory * self.machine.memory}.get(hardware.rollouts, 1),
        )
        asked = hardware.tokens_per_microbatch
        if asked == "auto" and work.on_gpu:  # decided from free memory at run time: here the window is halved until it fits
            tried = [replace(work, rows_per_microbatch=max(1, work.rows >> halvings)) for halvings in range(work.rows.bit_length())]
            return next((one for one in tried if self.needed(one) <= self.machine.memory), tried[-1])
        return replace(work, rows_per_microbatch=max(1, asked // work.row)) if isinstance(asked, int) else work

    def needed(self, work: Work) -> float:
        """Bytes at the peak, with what allocator and libraries take besides."""
        return max(map(total, phases(work).values())) * self.machine.rates["held"] + self.machine.rates["reserved_gb"] * 1e9

    @property
    def fits(self) -> bool:
        return self.needed(self.work) <= self.machine.memory and (self.machine.bfloat16 or self.settings.model.dtype != "bfloat16")

    def operations(self) -> dict[str, float]:
        """Floating-point operations of a step of one process, by phase."""
        work = self.work
        student, teacher = (side.shape.parameters for side in (work.student, work.teacher))
        passes = (4 if work.lora_rank else 6) + (2 if work.checkpointing else 0)
        read = work.rows * work.row
        return {
            "rollout": 2 * student * read,
            "teacher": 2 * teacher * work.rows * (work.rest + work.new),
            "student": passes * student * read,
        }

    def seconds(self) -> dict[str, float]:
        """Of a step, by phase."""
        work, rates, flops = self.work, self.machine.rates, self.operations()
        done, batches = self.machine.flops * rates["of_peak"], math.ceil(work.rows / work.rows_per_microbatch)
        moved = (12 * work.trained + 2 * work.optimizer) / (work.processes if work.sharded else 1)
        return {
            "rollout": self.writing(work.student, work.rows),
            "teacher": rates["read_s"] * work.teacher.shape.layers + flops["teacher"] / done,
            "student": rates["train_s"] * work.student.shape.layers * batches + flops["student"] / done,
            "optimizer": moved / (self.machine.bandwidth * rates["of_bandwidth"]),
        }

    def writing(self, side: Side, rows: int) -> float:
        """Seconds of a batch of completions."""
        machine, rates, weights = self.machine, self.machine.rates, side.shape.parameters
        read = side.width * weights / (machine.bandwidth * rates["of_bandwidth"])
        return self.work.new * max(rates["decode_s"] * side.shape.layers, read, 2 * weights * rows / (machine.flops * rates["of_peak"]))

    def all_seconds(self, steps: int) -> float:
        """Of the whole run: its steps, the exams of student (before, after) and teacher, live evaluations."""
        work, evaluation, asked = self.work, self.settings.evaluation, self.settings.prompts.eval_samples
        tags, live = (
            len(self.settings.styles.styles) + evaluation.untagged,
            steps // evaluation.every_steps if evaluation.every_steps else 0,
        )
        exams, lives = (math.ceil(number * tags / work.exam_rows) for number in (128 if asked is None else asked, evaluation.live_samples))
        student, teacher = (self.writing(side, work.exam_rows) for side in (work.student, work.teacher))
        return steps * sum(self.seconds().values()) + exams * (2 * student + teacher) + live * lives * student

    def nearest(self, given: Sequence[str], refused: Callable[[Settings], Sequence]) -> "tuple[dict[str, Any], Forecast] | None":
        """Overrides that make it fit and change least of the experiment, with what they make of it.

        `given`: those of the command line; `refused(settings)`: what speaks against settings.
        """
        fitting = (overrides for overrides in self._changes() if replace(self, settings=changed(self.settings, overrides)).fits)
        for overrides in itertools.islice(fitting, TRIED):
            if (other := self.composed(given, overrides, refused)) and other.fits:
                return overrides, other
        return None

    def composed(self, given: Sequence[str], overrides: dict[str, Any], refused: Callable[[Settings], Sequence]) -> "Forecast | None":
        """The command line with these overrides; None where it would be refused."""
        kept = [text for text in given if text.partition("=")[0].lstrip("+") not in overrides]
        try:
            settings = Settings.compose(*kept, *assigned(overrides))
            return None if refused(settings) else replace(self, settings=settings)
        except ValueError:
            return None

    def presets(self, given: Sequence[str], refused: Callable[[Settings], Sequence]) -> Iterator[str]:
        """Options of `hardware` for cards of a size that fit here."""
        for path in sorted((CONF / "hardware").glob("gpu_*.yaml")):
            if (other := self.composed(given, {"hardware": path.stem}, refused)) and other.fits:
                yield f"hardware={path.stem}"

    def _changes(self) -> Iterator[dict[str, Any]]:
        """Overrides that save memory, those first that change least of the experiment."""
        work, model, axes = self.work, self.settings.model, []
        tokens = {"row": work.row + 1, "window": work.rows * (work.row + 1)}
        for key, costs in table("cards")["savings"].items():
            if not key.endswith("quantization") or hasattr(model, key.removeprefix("model.")):
                axes.append([(0, {}), *((cost, {key: tokens.get(value, value)}) for value, cost in costs.items())])
        for chosen in sorted(itertools.product(*axes), key=lambda chosen: sum(cost for cost, _ in chosen)):
            found = {key: value for _, one in chosen for key, value in one.items()}
            lora = model.lora.enabled or "model.lora.enabled" in found
            if lora and "train.optim" in found or not lora and "model.student_quantization" in found:
                continue
            if "model.lora.enabled" in found and hasattr(model.recipe, "lora_learning_rate"):
                found["train.learning_rate"] = model.recipe.lora_learning_rate
            yield found if self.machine.bfloat16 or model.dtype != "bfloat16" else found | {"model.dtype": "float16"}


def changed(settings: Settings, overrides: dict[str, Any]) -> Settings:
    """The settings with other values."""
    settings = copy(settings)
    for key, value in overrides.items():
        *groups, name = key.split(".")
        place: Any = settings
        for group in groups:
            setattr(place, group, copy(getattr(place, group)))
            place = getattr(place, group)
        place.update({name: value}) if isinstance(place, dict) else setattr(place, name, value)
    return settings


def assigned(overrides: dict[str, Any]) -> list[str]:
    """As they are typed."""
    return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in overrides.items()]
