"""settings and inputs -> the teacher: in this process, one that Ray keeps for several runs, or one that a server tells of.

teacher = build_teacher(settings, inputs, student)
"""

import copy
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gold_style.config.launch import is_sharded
from gold_style.config.own_teacher import is_held_once, is_own_teacher, teacher_of_each_tag
from gold_style.config.schema import Model
from gold_style.config.settings import Settings, local_model
from gold_style.engine.disk_cache import DiskCache, code_digest
from gold_style.engine.models import DTYPES, load_model, load_tokenizer, shell
from gold_style.engine.openai_teacher import OpenAITeacher
from gold_style.engine.ray_teacher import RayTeacher
from gold_style.engine.remembered import RememberingTeacher, file_digest, weight_files
from gold_style.engine.teacher import AnyTeacher, Teacher, Teachers
from gold_style.job.inputs import Inputs, device_of
from gold_style.runs.completions import Completions


def build_teacher(settings: Settings, inputs: Inputs, student: PreTrainedModel | None = None) -> AnyTeacher:
    """The frozen teacher, or where tags have teachers of their own all of them. Raises ValueError where one cannot be had."""
    models = teacher_of_each_tag(settings)
    asked = {id(model): (replace(settings, model=model), inputs.chat.reader_of(tag)) for tag, model in models.items()}
    built = {key: build_one(*how, student, len(asked)) for key, how in asked.items()}
    by_tag = {tag: built[id(model)] for tag, model in models.items()}
    return Teachers(by_tag, inputs.pack.untagged) if len(built) > 1 else by_tag[inputs.pack.untagged]


def build_one(settings: Settings, tokenizer: PreTrainedTokenizerBase, student: PreTrainedModel | None, num_teachers: int) -> AnyTeacher:
    """A teacher, here or elsewhere. Where it is the student's own model it is the student's start; where that is held once, it
    has the tensors of `student`, untrained and without LoRA, in modules of its own, which LoRA will not wrap."""
    model, device = settings.model, device_of(settings.hardware.device)
    disk = None if settings.cache.dir in (None, "auto") else DiskCache(Path(settings.cache.dir), settings.cache.max_bytes)
    cache_bytes = settings.hardware.prefix_cache_bytes
    if settings.teacher_backend.kind == "ray":
        sent = replace(
            model, teacher=local_model(model.teacher), student=local_model(model.student)
        )  # the actor works in another directory
        how = partial(load_shared, sent, cache_bytes), partial(identity, sent, cache_bytes), settings.teacher_backend
        return RayTeacher(tokenizer, bare(sent), *how, device, disk, num_teachers)
    if settings.teacher_backend.kind == "openai":
        known = min(len(tokenizer), student.get_output_embeddings().weight.shape[0])
        served = Completions(settings.teacher_backend, model.teacher, settings.teacher_backend.limit_s)
        return OpenAITeacher(tokenizer, bare(model), served, settings.loss.tail_k, known, device)
    if student is not None and is_held_once(model):
        weights = untouched_by_lora(student)
    else:
        weights = load_weights(model, None if is_own_teacher(model) and is_sharded() else device)
    remembering = partial(RememberingTeacher, disk=disk) if disk else Teacher
    return remembering(weights, tokenizer, prefix_cache_bytes=cache_bytes)


def untouched_by_lora(student: PreTrainedModel) -> PreTrainedModel:
    """The student's tensors in modules of their own."""
    leaves = [module for module in student.modules() if not list(module.children()) and list(module.parameters())]
    return copy.deepcopy(student, {id(part): part for part in (*leaves, *student.parameters())})


def load_weights(model: Model, device: torch.device | None) -> PreTrainedModel:
    name, revision, adapters = source(model)
    return load_model(name, DTYPES[model.teacher_dtype or model.dtype], revision, model, adapters, device, model.teacher_quantization)


def source(model: Model) -> tuple[str, str | None, list[str]]:
    """Directory or hub name, revision and adapters that the teacher's weights come from."""
    if is_own_teacher(model):
        return model.student, model.student_revision, [local_model(name) for name in [model.student_adapter] if name]
    return model.teacher, model.teacher_revision, []


# ---- what the actor's process runs -------------------------------------------------------------------------------------


def load_shared(model: Model, prefix_cache_bytes: int, on_gpu: bool) -> Teacher:
    """The teacher that runs ask."""
    tokenizer = load_tokenizer(model.teacher, model.teacher_revision, model.trust_remote_code)
    weights = load_weights(model, torch.device("cuda" if on_gpu else "cpu"))
    return Teacher(weights, tokenizer, prefix_cache_bytes=prefix_cache_bytes)


def bare(model: Model) -> PreTrainedModel:
    """Its model without weights."""
    name, revision, _ = source(model)
    return shell(name, revision, model.trust_remote_code)


def identity(model: Model, prefix_cache_bytes: int) -> dict[str, Any]:
    """What its numbers depend on, as this machine has it."""
    config, (name, revision, adapters) = bare(model).config, source(model)
    files = [file_digest(path, None) for place in (name, *adapters) for path in weight_files(place)]
    commit, dtype = getattr(config, "_commit_hash", None) or revision, model.teacher_dtype or model.dtype
    found = {"model": name, "revision": commit, "adapters": adapters, "dtype": dtype, "quantization": model.teacher_quantization}
    found |= {"context window": getattr(config, "max_position_embeddings", None), "attention": model.attn_implementation}
    found |= {"config": sha256(config.to_json_string(use_diff=False).encode()).hexdigest(), "weights": files}
    return found | {"prefix_cache_bytes": prefix_cache_bytes, "code": code_digest()}
