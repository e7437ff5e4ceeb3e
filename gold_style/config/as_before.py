"""Runs made yesterday: what every key that was added since means for a run that lacks it.

Add a line to AS_BEFORE with every key that schema.py (or `train`, or a pack's top level) gets: the dotted key, and the value that
means what the program did before there was the key. That is often not its default in conf/: an older run had no untagged
rows, whatever is usual today. Keys to which the `Options` of a loss give a default are added by themselves.
A new group gets a line for each of its keys; a value is a scalar, a list or an empty mapping.

Example: `as_before(read_mapping(run / "config.yaml"))["prompts"]["untagged_share"]`.
"""

from copy import deepcopy
from typing import Any

from gold_style.config.gold_config import gold_config_fields, refusal
from gold_style.config.losses import DEFAULTS

AS_BEFORE: dict[str, Any] = {
    "model.recipe.untagged_share": 0.0,
    "model.student_file_dtype": None,
    "model.student_template_kwargs": {},
    "model.teacher_template_kwargs": {},
    "prompts.untagged_share": 0.0,
    "prompts.style_column": None,
    "styles.examples": "system",
    "evaluation.untagged": False,
    "evaluation.misspelt": 0,
    "evaluation.retention": None,
    "extend": None,
    "hardware.fsdp_gathers": "compute",
    "model.student_adapter": None,
    "model.teachers": None,
    "model.teacher_quantization": "none",
    "model.student_quantization": "none",
    "model.recipe.lora_learning_rate": 1.0e-4,
    "styles.language": "ko",
    "plan": None,
    "prompts.teacher_context": "full",
    "teacher_backend.kind": "local",
    "teacher_backend.address": None,
    "teacher_backend.model": None,
    "teacher_backend.gpus": None,
    "teacher_backend.limit_s": 600.0,
    **DEFAULTS,
}


def as_before(config: dict[str, Any]) -> dict[str, Any]:
    """A copy of the config of a run, made by any version since ed13394, with the keys of AS_BEFORE that it lacks and
    without the fields of TRL that are refused by now: most of them changed nothing."""
    filled = deepcopy(config)
    for key, value in AS_BEFORE.items():
        *groups, name = key.split(".")
        place: Any = filled
        for group in groups:
            place = place.setdefault(group, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.setdefault(name, deepcopy(value))
    if isinstance(train := filled.get("train"), dict):
        filled["train"] = {name: value for name, value in train.items() if not (name in gold_config_fields() and refusal(name))}
    return filled
