"""Which fields `train.*` takes: those of TRL's GOLDConfig, from a committed list, so that no check imports trl.

`gold_config_fields.json` holds name, type, default and what it is for; a test compares it with the installed trl.
`train_fields.yaml` says which of them are accepted, and why the others are refused and what to use instead.

    python benchmarks/train_fields.py      writes the list (of the installed trl) and docs/train_fields.md anew
"""

import json
from fnmatch import fnmatchcase
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal

from gold_style import did_you_mean
from gold_style.config.mirror import Interval, Misfit, Mistake, fitted, written
from gold_style.config.yaml_file import read_mapping

FIELDS_FILE = Path(__file__).with_name("gold_config_fields.json")
KINDS = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict, "null": NoneType, "object": object}
ADJUSTABLE = ("logging_steps", "save_steps", "save_total_limit")  # as gold_style.config.schema.Role.ADJUSTABLE

# What TRL's own checks would only say once it is loaded, or not at all.
RANGES = {
    Interval(1): "per_device_train_batch_size gradient_accumulation_steps max_completion_length num_generations save_total_limit",
    Interval(1, also=(-1,)): "max_steps",
    Interval(0): "learning_rate weight_decay max_grad_norm warmup_steps",
    Interval(0, open_low=True): "num_train_epochs adam_epsilon logging_steps save_steps",
    Interval(0, 1, open_high=True): "adam_beta1 adam_beta2",
}


@cache
def gold_config_fields() -> dict[str, dict[str, Any]]:
    """Field name -> {"types": [...], "choices": [...] | absent, "default", "help"}, as committed."""
    return {entry.pop("name"): entry for entry in json.loads(FIELDS_FILE.read_text(encoding="utf-8"))}


@cache
def train_fields() -> dict[str, Any]:
    """What train_fields.yaml says."""
    return read_mapping(Path(__file__).with_name("train_fields.yaml"))


def entry_of(name: str, table: dict[str, str]) -> str | None:
    """The key of `table` under whose patterns a name is listed; the longest pattern that fits decides."""
    fitting = [(len(pattern), key) for key, patterns in table.items() for pattern in patterns.split() if fnmatchcase(name, pattern)]
    return max(fitting)[1] if fitting else None


@cache
def refusal(name: str) -> tuple[str, str] | None:
    """(why `train.<name>` is refused, what to use instead); None where it is accepted."""
    table = train_fields()
    if entry_of(name, table["accepted"]):
        return None
    for reason, fields in table["refused"].items():
        if other := entry_of(name, fields):
            return reason, other
    return "set elsewhere", str(entry_of(name, table["elsewhere"])).format(name=name)


def allowed_fields() -> list[str]:
    """The fields that `train.*` takes."""
    return [name for name in gold_config_fields() if refusal(name) is None]


def choices_of(name: str) -> list[str]:
    """The words that a field takes; empty where it takes no fixed ones."""
    choices = [*gold_config_fields()[name].get("choices", ()), *(["muon"] if name == "optim" else [])]
    return [choice for choice in choices if not entry_of(choice, train_fields()["unsupported"].get(name, {}))]


def mistakes_in(train: dict[str, Any]) -> list[Mistake]:
    """What is wrong with the `train` section: unknown or refused fields, types, choices, ranges."""
    return [Mistake(f"train.{name}", written(value), fault) for name, value in train.items() if (fault := _fault(name, value))]


def _fault(name: str, value: Any) -> str | None:
    if name not in gold_config_fields():
        return f"not a field of TRL's GOLDConfig{did_you_mean(name, allowed_fields(), 'train.{}'.format)}"
    if refused := refusal(name):
        return "{}; use {}".format(*refused)
    if isinstance(value, str) and (reason := entry_of(value, train_fields()["unsupported"].get(name, {}))):
        return f"{reason}; allowed: {', '.join(choices_of(name))}"
    try:
        return None if fitted(_hint_of(name), value) == value else "must be text"  # TRL is given the value unchanged, so no number for it
    except Misfit as misfit:
        return f"must be {misfit}"


def _hint_of(name: str) -> Any:
    """A field's annotation, as gold_style.config.mirror reads it."""
    field = gold_config_fields()[name]
    kinds = [KINDS[kind] for kind in sorted(field["types"], key="null".__eq__)]
    if choices := choices_of(name):
        kinds[kinds.index(str)] = Literal[tuple(choices)]
    intervals = [interval for interval, names in RANGES.items() if name in names.split()]
    return Annotated[reduce(or_, kinds), *intervals, name]
