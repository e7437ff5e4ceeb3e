"""One model as teacher and student: the frozen teacher is the student's start, `model.student_adapter` included.

LoRA never changes the weights that it adapts, so teacher and student then read the same tensors, if both have them in float32.
"""

import os

from gold_style.config.launch import is_sharded
from gold_style.config.schema import Model
from gold_style.config.settings import local_model

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}  # of a parameter; trained ones are float32


def is_own_teacher(model: Model) -> bool:
    """Whether teacher and student are one model: the same directory or hub name, and the same revision."""
    sides = ((model.teacher, model.teacher_revision), (model.student, model.student_revision))
    return len({(os.path.realpath(local_model(name)), revision) for name, revision in sides}) == 1


def is_held_once(model: Model) -> bool:
    """Whether teacher and student read the same tensors, the teacher without the student's LoRA layers."""
    dtype = model.teacher_dtype or model.dtype
    return is_own_teacher(model) and model.lora.enabled and dtype == "float32" and not is_sharded()


def teacher_weights(model: Model, num_parameters: int) -> str:
    """How the weights of one model that is teacher and student are held, with their memory."""
    dtype, lora = model.teacher_dtype or model.dtype, model.lora.enabled
    student, teacher = (f"{num_parameters * BYTES[name] / 1e6:,.1f} MB" for name in ("float32", dtype))
    if is_held_once(model):
        return f"teacher: the student's start, held once (adapters off): {student}"
    readers = "teacher and rollouts" if lora and dtype == model.dtype else "teacher"
    memory = f"{student} each" if dtype == "float32" else f"{student} (student, float32) and {teacher} ({readers}, {dtype})"
    why = "the student's is sharded" if is_sharded() else "model.teacher_dtype=float32 holds them once"
    return f"teacher: the student's start, two copies of {model.student}: {memory}" + (f"; {why}" if lora else "")
