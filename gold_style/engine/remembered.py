"""What several jobs of a sweep would compute alike, computed once: a teacher that looks its answers and prefixes up on the disk,
and the student's answers before training.

A key holds everything that the numbers depend on: code and library versions, device, threads, weights, data types, the ids of the
full batch (rounding depends on what a row is batched with), sampling, uniforms. So results are the same bits with and without.

    teacher = RememberingTeacher(model, tokenizer, disk=DiskCache(directory, max_bytes))
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gold_style.chat import TeacherIds
from gold_style.engine.disk_cache import DiskCache, code_digest
from gold_style.engine.prefix_cache import PrefixCache, PrefixKV
from gold_style.engine.rollout import GREEDY, Completion
from gold_style.engine.teacher import Teacher
from gold_style.measure.answers import Answer


def weights_digest(model: nn.Module, disk: DiskCache | None = None) -> str:
    """SHA-256 over names, types and bytes of all parameters and buffers, and over the model's configuration.

    With `disk`, which remembers the digests of files, what a model was loaded from takes the place of the bytes (models.load_model
    notes it as `sources`). Only for a model that nothing has changed since.
    """
    sources = disk and getattr(model, "sources", None)
    digest = hashlib.sha256(str(getattr(model, "config", "")).encode())
    for name, tensor in sorted([*model.named_parameters(), *model.named_buffers()], key=lambda pair: pair[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if not sources:
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for source in sources or ():
        digest.update(json.dumps([file_digest(path, disk) for path in weight_files(source)] or source).encode())
    return digest.hexdigest()


def weight_files(source: str) -> list[Path]:
    """What a directory's weights depend on; none for a hub's name with its commit, which says it already."""
    return sorted(path for pattern in ("*.safetensors", "adapter_*") for path in Path(source).glob(pattern))


def file_digest(path: Path, disk: DiskCache | None) -> str:
    """SHA-256 of a file, with `disk` read once for all jobs as long as its size and time of change stay."""
    status = path.stat()
    key = ["file", str(path.resolve()), status.st_size, status.st_mtime_ns]

    def compute() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return disk.remember(key, compute) if disk else compute()


def surroundings(device: torch.device) -> list:
    """Code, device, threads and the precision of float32 products (for instance of TF32): what the same call may depend on."""
    precision = torch.backends.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return [code_digest(), str(device.type), name, precision, torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()]


class RememberingTeacher(Teacher):
    """A Teacher whose completions and prefixes are looked up on the disk first."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, disk: DiskCache, **options):
        super().__init__(model, tokenizer, **options)
        self.disk = disk
        self.prefixes = RememberingPrefixes(self, self.prefixes.max_bytes)

    @cached_property
    def identity(self) -> list:
        """Everything about this teacher that its numbers depend on."""
        attention = getattr(self.model.config, "_attn_implementation", None)
        prefixes = self.prefixes.enabled and self.prefixes.max_bytes  # a prefix that does not fit is read with each row
        return [*surroundings(self.backbone.device), weights_digest(self.model, self.disk), attention, prefixes]

    @torch.no_grad()
    def generate(self, prompts: Sequence[TeacherIds], **how) -> list[Completion]:
        """As Teacher.generate."""
        compute = partial(Teacher.generate, self, prompts, **how)
        return remembered_completions(self.disk, [self.identity, asdict(self.output_ids)], prompts, how, compute)


def remembered_completions(
    disk: DiskCache, key: list, prompts: Sequence[TeacherIds], how: dict[str, Any], compute: Callable[[], list[Completion]]
) -> list[Completion]:
    """`compute()`, or what was written when the teacher of the same `key` was asked the same."""
    uniforms_BG, sampling = how.get("uniforms_BG"), how.get("sampling", GREEDY)
    drawn = None if uniforms_BG is None else hashlib.sha256(uniforms_BG.numpy().tobytes()).hexdigest()
    others = {name: value for name, value in how.items() if name not in ("uniforms_BG", "sampling")}
    asked = [[prompt.prefix, prompt.rest] for prompt in prompts]
    key = ["completions", *key, asked, others, asdict(sampling), drawn]
    written = disk.remember(key, lambda: [[completion.ids, completion.finished] for completion in compute()])
    return [Completion(tuple(ids), finished) for ids, finished in written]


class RememberingPrefixes(PrefixCache):
    """Key/values of a prefix from the disk, else computed and stored."""

    def __init__(self, teacher: RememberingTeacher, max_bytes: int):
        super().__init__(teacher.backbone, max_bytes)
        self.teacher = teacher

    def _compute(self, prefix: tuple[int, ...]) -> PrefixKV:
        def compute() -> bytes:
            layers = PrefixCache._compute(self, prefix).layers
            return save({f"{i}.{name}": t.contiguous() for i, kv in enumerate(layers) for name, t in zip("kv", kv, strict=True)})

        stored = load(self.teacher.disk.remember_bytes(["prefix", self.teacher.identity, prefix], compute))
        layers = [tuple(stored[f"{i}.{name}"].to(self.backbone.device) for name in "kv") for i in range(len(stored) // 2)]
        return PrefixKV(len(prefix), tuple(layers))


def remembered_answers(disk: DiskCache, key: Sequence[Any], compute: Callable[[], list[Answer]]) -> list[Answer]:
    """`compute()`, or what was computed under the same key before."""
    stored = disk.remember(["answers", *key], lambda: [asdict(answer) for answer in compute()])
    return [Answer(**fields) for fields in stored]
