"""One model as teacher and student: the frozen teacher is the student's start, `model.student_adapter` included.

LoRA never changes the weights that it adapts, so teacher and student then read the same tensors, if both have them in the same form.
"""

import os
from dataclasses import replace

from gold_style.config.launch import is_sharded
from gold_style.config.schema import Model
from gold_style.config.settings import Settings, local_model

BYTES = {
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
}  # of a parameter; trained ones are float32, the frozen base of LoRA has the compute dtype


def teacher_of_each_tag(settings: Settings) -> dict[str, Model]:
    """Tag -> `settings.model` with the teacher of that tag as the only one; one object for the tags that one model teaches."""
    model, tags = settings.model, [str(tag) for tag in settings.styles.styles]
    names = {str(tag): name for tag, name in (model.teachers or dict.fromkeys(tags, model.teacher)).items()}
    places = {tag: os.path.realpath(local_model(names[tag])) for tag in tags}
    found = {place: replace(model, teacher=names[tag], teachers=None) for tag, place in reversed(places.items())}
    return {tag: found[place] for tag, place in places.items()}


def teacher_key(model: Model, tag: str) -> str:
    """The key of the settings that names the teacher of a tag."""
    return "model.teacher" if model.teachers is None else f"model.teachers.{tag}"


def teacher_names(model: Model) -> str:
    """The teacher's name, or those of the tags."""
    return model.teacher or ", ".join(f"{name} (<style:{tag}>)" for tag, name in model.teachers.items())


def teachers_by_key(settings: Settings) -> dict[str, Model]:
    """As `teacher_of_each_tag`, under the keys of the settings."""
    return {teacher_key(settings.model, tag): model for tag, model in teacher_of_each_tag(settings).items()}


def is_own_teacher(model: Model) -> bool:
    """Whether teacher and student are one model: the same directory or hub name, and the same revision."""
    sides = ((model.teacher, model.teacher_revision), (model.student, model.student_revision))
    return len({(os.path.realpath(local_model(name)), revision) for name, revision in sides}) == 1


def is_held_once(model: Model) -> bool:
    """Whether teacher and student read the same tensors, the teacher without the student's LoRA layers."""
    is_alike = model.teacher_dtype in (None, model.dtype) and model.teacher_quantization == model.student_quantization
    return is_own_teacher(model) and is_alike and model.lora.enabled and not is_sharded()


def student_dtype(model: Model) -> str:
    """Of the student's weights in training; sharded ones all have to be of one dtype."""
    return model.dtype if model.lora.enabled and not is_sharded() else "float32"


def teacher_weights(model: Model, num_parameters: int) -> str:
    """How the weights of one model that is teacher and student are held, with their memory."""

    def memory(dtype: str, quantization: str) -> str:
        return f"{num_parameters * BYTES[dtype] / 1e6:,.1f} MB" + (f" less what {quantization} saves" if quantization != "none" else "")

    own, dtype = student_dtype(model), model.teacher_dtype or model.dtype
    student, teacher = memory(own, model.student_quantization), memory(dtype, model.teacher_quantization)
    if is_held_once(model):
        return f"teacher: the student's start, held once (adapters off): {student}"
    held = f"{student} each" if student == teacher else f"{student} (student, {own}) and {teacher} (teacher, {dtype})"
    remedy = f"model.teacher_dtype=null model.teacher_quantization={model.student_quantization} holds them once"
    why = "the student's is sharded" if is_sharded() else remedy
    return f"teacher: the student's start, two copies of {model.student}: {held}" + (f"; {why}" if model.lora.enabled else "")
