"""The losses there are and the keys of each, read without importing them: they import torch, and a command line is checked before that.

A loss is a module of gold_style/losses/ with a function `build`. Its keys are those of its dataclass `Options`, which is compiled out of
the source in the namespace of schema.py, so that its annotations are types of that file. A key that several losses read is declared
alike in all of them; one to which conf/config.yaml gives a value has no default.

    LOSSES["jsd"].keys      # {"beta": (Share | Schedule, MISSING), "temperature": (Positive, MISSING)}
"""

import ast
import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gold_style import PACKAGE
from gold_style.config import schema
from gold_style.config.mirror import MISSING, hints_of, mirror


class LossModule(NamedTuple):
    """What a loss reads: key -> (annotation, default or MISSING); whether it can do two tokenizers; what is wrong with its source; the
    further readings that it needs ("bare", "start") -> the key that switches them off where it is 0."""

    keys: dict[str, tuple[Any, Any]] = {}
    has_spans: bool = False
    fault: str | None = None
    readings: dict[str, str] = {}


def loss_modules(directory: Path = PACKAGE / "losses") -> dict[str, LossModule]:
    """Name -> every module with a function `build`, or whose source cannot be read."""
    shared = (schema.Loss, schema.Beta, schema.Uld)
    found, declared = {}, {name: (hint, MISSING) for group in shared for name, hint in hints_of(group).items()}
    for path in sorted((*directory.glob("*.py"), *directory.glob("*/__init__.py"))):
        name = path.parent.name if path.stem == "__init__" else path.stem
        try:
            nodes = {getattr(node, "name", ""): node for node in ast.parse(path.read_text(encoding="utf-8"), path.name).body}
            if "build" in nodes:
                keys, readings = _keys(nodes["Options"], path, declared) if "Options" in nodes else ({}, {})
                found[name] = LossModule(keys, "build_spans" in nodes, None, readings)
        except Exception as error:  # whatever a file that somebody is writing may raise
            found[name] = LossModule(fault=f"{path.relative_to(directory.parents[1])}: {error}")
    return found


def _keys(node: Any, path: Path, declared: dict[str, tuple[Any, Any]]) -> tuple[dict[str, tuple[Any, Any]], dict[str, str]]:
    exec(compile(ast.Module([node], []), path, "exec"), namespace := dict(vars(schema)))
    keys = {name: (hint, getattr(namespace["Options"], name, MISSING)) for name, hint in hints_of(namespace["Options"]).items()}
    faults = [f"{name} means something else in another loss" for name, pair in keys.items() if declared.setdefault(name, pair) != pair]
    faults += [str(mistake) for mistake in mirror(namespace["Options"], {})[1] if mistake.value is not None]
    if faults:
        raise ValueError("; ".join(f"Options.{fault}" for fault in faults))
    return keys, getattr(namespace["Options"], "readings", {})


LOSSES = loss_modules()
KEYS = {name: pair for module in LOSSES.values() for name, pair in module.keys.items() if name not in hints_of(schema.Loss)}
DEFAULTS = {f"loss.{name}": default for name, (_, default) in KEYS.items() if default is not MISSING}  # what older runs lack
FIELDS = [("kind", Literal[tuple(LOSSES)]), *((name, *pair) for name, pair in KEYS.items())]
Loss = dataclasses.make_dataclass("Loss", FIELDS, bases=(schema.Loss,), kw_only=True)
Loss.__module__ = __name__  # where pickle looks: a sweep hands settings to the processes of its jobs


def reads(kind: str, key: str) -> bool:
    """Whether a loss reads `loss.<key>`; False for a loss that there is no more."""
    return kind in LOSSES and key in LOSSES[kind].keys


def further_readings(loss: Any) -> list[str]:
    """What these settings of a loss have read besides the teacher: "bare", the teacher without its context; "start", the student's."""
    return [name for name, key in LOSSES[loss.kind].readings.items() if getattr(loss, key)]


def loss_lines() -> str:
    """Every loss with its keys, for --help."""
    return "\n  ".join(f"{name}: {module.fault or ', '.join(module.keys)}" for name, module in LOSSES.items())
