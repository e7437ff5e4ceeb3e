"""The losses there are and the keys of each, read without importing them: they import torch, and a command line is checked before that.

A loss is a module of gold_style/losses/ with a function `build`. Its keys are those of its dataclass `Options`, which is read out of
the source: its annotations are types of schema.py, its defaults literals. A key that several losses read is declared
alike in all of them; one to which conf/config.yaml gives a value has no default.

    LOSSES["jsd"].keys      # {"beta": (Share | Schedule, MISSING), "temperature": (Positive, MISSING)}
"""

import ast
import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from gold_style import PACKAGE
from gold_style.config import schema
from gold_style.config.mirror import MISSING, hints_of, mirror

NAMES = vars(schema) | {kind.__name__: kind for kind in (bool, int, float, str)}  # what annotations may name


class LossModule(NamedTuple):
    """What a loss reads: key -> (annotation, default or MISSING); whether it can do two tokenizers; what is wrong with its source; the
    further readings that it needs ("bare") -> the key that switches them off where it is 0."""

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
                keys, readings = _keys(nodes["Options"], declared) if "Options" in nodes else ({}, {})
                found[name] = LossModule(keys, "build_spans" in nodes, None, readings)
        except Exception as error:  # whatever a file that somebody is writing may raise
            found[name] = LossModule(fault=f"{path.relative_to(directory.parents[1])}: {error}")
    return found


def _keys(node: Any, declared: dict[str, tuple[Any, Any]]) -> tuple[dict[str, tuple[Any, Any]], dict[str, str]]:
    """Keys and further readings of a class Options. Raises ValueError for what is no literal and no type of schema.py."""
    keys = {name: (hint, MISSING) for base in node.bases for name, hint in hints_of(_meant(base)).items()}
    readings: dict[str, str] = {}
    for part in node.body:
        if isinstance(part, ast.AnnAssign):
            default = MISSING if part.value is None else ast.literal_eval(part.value)
            keys[ast.unparse(part.target)] = _meant(part.annotation), default
        elif isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "readings":
            readings = ast.literal_eval(part.value)
    fields: Any = [(name, *(part for part in pair if part is not MISSING)) for name, pair in keys.items()]
    faults = [f"{name} means something else in another loss" for name, pair in keys.items() if declared.setdefault(name, pair) != pair]
    faults += [
        str(mistake) for mistake in mirror(dataclasses.make_dataclass("Options", fields, kw_only=True), {})[1] if mistake.value is not None
    ]
    if faults:
        raise ValueError("; ".join(f"Options.{fault}" for fault in faults))
    return keys, readings


def _meant(node: Any) -> Any:
    """What an annotation, or a base class, means: names of schema.py, joined by |, in Annotated or Literal, or called with literals."""
    match node:
        case ast.Name(id=name):
            if name not in NAMES:
                raise ValueError(f"name {name!r} is not defined")
            return NAMES[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _meant(left) | _meant(right)
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *others])):
            return Annotated[(_meant(kind), *map(_meant, others))]
        case ast.Call(func=ast.Name() as function, args=given, keywords=named):
            literals = {str(word.arg): ast.literal_eval(word.value) for word in named}
            return _meant(function)(*map(ast.literal_eval, given), **literals)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            return Literal[ast.literal_eval(values)]
    return ast.literal_eval(node)  # None


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
    """What these settings of a loss have read besides the teacher: "bare", the teacher without its context."""
    return [name for name, key in LOSSES[loss.kind].readings.items() if getattr(loss, key)]


def loss_lines() -> str:
    """Every loss with its keys, for --help."""
    return "\n  ".join(f"{name}: {module.fault or ', '.join(module.keys)}" for name, module in LOSSES.items())
