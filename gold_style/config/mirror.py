"""Plain mapping -> typed dataclass, collecting every mistake instead of raising at the first.

A field's annotation says what is allowed: `int`, `float | None`, `Literal["last", "best"]`, `list[str]`,
`dict[str, Any]`, `Annotated[float, Interval(0, 1)]`, or another dataclass.

    loss, mistakes = mirror(Loss, {"beta": 1.5, ...})   # mistakes: beta=1.5: must be between 0 and 1
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from gold_style import did_you_mean, nearest

T = TypeVar("T")
MISSING = "???"  # what OmegaConf writes for a value that has to be given
PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a mapping", NoneType: "null"}


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; `also` lists single values allowed besides."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    also: tuple[float, ...] = ()

    def __contains__(self, number: float) -> bool:
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        return math.isfinite(number) and ((above and below) or number in self.also)

    def __str__(self) -> str:
        if not self.open_low and not self.open_high and math.isfinite(self.low) and math.isfinite(self.high):
            text = f"between {self.low:.10g} and {self.high:.10g}"
        else:
            low = f"{'greater than' if self.open_low else 'at least'} {self.low:g}" if math.isfinite(self.low) else ""
            high = f"{'less than' if self.open_high else 'at most'} {self.high:g}" if math.isfinite(self.high) else ""
            text = " and ".join(part for part in (low, high) if part) or "finite"
        return " or ".join([text, *(f"{number:g}" for number in self.also)])


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a setting. `value` is as on the command line; None where there is none to show."""

    key: str
    value: str | None
    reason: str
    repeats: bool = False  # another mistake says the same, of the key that this one takes its value from

    def __str__(self) -> str:
        return f"{self.key if self.value is None else f'{self.key}={self.value}'}: {self.reason}"


class Misfit(ValueError):
    """A value that its annotation does not allow; the text says what is."""


def mirror(cls: type[T], mapping: Any) -> tuple[T, list[Mistake]]:
    """The dataclass `cls` filled from `mapping`, and every mistake. Fields that are wrong keep the value they came with."""
    mistakes: list[Mistake] = []
    return _filled(cls, mapping, "", list(keys_of(cls)), mistakes), mistakes


def _filled(cls: type[T], mapping: Any, key: str, known: list[str], mistakes: list[Mistake]) -> T:
    hints, values = hints_of(cls), {}
    if not isinstance(mapping, Mapping):
        mistakes.append(Mistake(key, written(mapping), f"must be a mapping with the keys {', '.join(hints)}"))
        mapping = {}
    for name, hint in hints.items():
        own_key, value = joined(key, name), mapping.get(name, getattr(cls, name, MISSING))
        if value is None and NoneType in get_args(hint):
            values[name] = None
        elif group := group_of(hint):
            values[name] = _filled(group, {} if value == MISSING else value, own_key, known, mistakes)
        elif isinstance(value, str) and value == MISSING:
            mistakes.append(Mistake(own_key, None, "must be given"))
            values[name] = None
        else:
            values[name] = value
            try:
                values[name] = fitted(hint, value)
            except Misfit as misfit:
                mistakes.append(Mistake(own_key, written(value), f"must be {misfit}"))
    unknown = [(joined(key, str(name)), value) for name, value in mapping.items() if name not in hints]
    mistakes += [Mistake(own_key, written(value), unknown_key(own_key, known)) for own_key, value in unknown]
    return cls(**values)


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """Field name -> annotation of a dataclass."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in fields(cls)}


def group_of(hint: Any) -> type | None:
    """The dataclass in an annotation `Group`, `Group | None` or `Annotated[Group, ...]`; None for plain values."""
    return next((part for part in (hint, *get_args(hint)) if isinstance(part, type) and is_dataclass(part)), None)


def fitted(hint: Any, value: Any) -> Any:
    """`value` as the annotation `hint` wants it: whole floats become int, ints float, numbers text. Raises Misfit."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = fitted(parts[0], value)
        for interval in parts[1:]:
            if isinstance(interval, Interval) and value is not None and value not in interval:
                raise Misfit(str(interval))
        return value
    if origin in (Union, UnionType):
        return _fitted_to_one(parts, value)
    if origin is Literal and type(value) is int and str(value) in parts:
        return str(value)  # plan=4090: a name that Hydra reads as a number
    if origin is Literal and value not in parts:
        raise Misfit(f"one of {', '.join(parts)}{did_you_mean(value, parts)}")
    if origin is list:
        return [fitted(parts[0], item) for item in fitted(list, value)]
    if origin is dict:
        return {name: _fitted_under(name, parts[1], item) for name, item in fitted(dict, value).items()}
    if is_typeddict(hint):
        return _fitted_keys(get_type_hints(hint, include_extras=True), value)
    return value if origin is Literal or hint is Any else _fitted_plain(hint, value)


def _fitted_keys(hints: Mapping[str, Any], value: Any) -> dict[str, Any]:
    allowed = f"a mapping of {', '.join(hints)}"
    if not isinstance(value, Mapping):
        raise Misfit(allowed)
    if unknown := [name for name in value if name not in hints]:
        raise Misfit(f"{allowed}; {unknown[0]} is none of them{did_you_mean(unknown[0], hints)}")
    if missing := [name for name in hints if name not in value]:
        raise Misfit(f"{allowed}; {' and '.join(missing)} must be given")
    return {name: _fitted_under(name, hint, value[name]) for name, hint in hints.items()}


def _fitted_under(name: Any, hint: Any, value: Any) -> Any:
    try:
        return fitted(hint, value)
    except Misfit as misfit:
        raise Misfit(f"{misfit} under {name}") from None


def _fitted_to_one(hints: tuple[Any, ...], value: Any) -> Any:
    allowed = []
    for hint in [hint for hint in hints if is_typeddict(hint) and isinstance(value, Mapping)] or hints:
        try:
            return fitted(hint, value)
        except Misfit as misfit:
            allowed.append(str(misfit))
    raise Misfit(" or ".join(allowed))


def _fitted_plain(hint: type, value: Any) -> Any:
    if isinstance(value, bool) == (hint is bool):  # Python's bool is an int; a setting's is not
        if hint is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        elif hint in (float, str) and isinstance(value, (int, float)):
            value = hint(value)
    if not isinstance(value, hint) or isinstance(value, bool) != (hint is bool):
        raise Misfit(PLAIN.get(hint, hint))
    if hint is str and "\0" in value:
        raise Misfit("text without NUL characters")
    return value


def joined(key: str, name: str) -> str:
    """The dotted key of `name` in the mapping under `key`; "" is the root."""
    return f"{key}.{name}" if key else name


def nodes(mapping: Mapping, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a nested mapping, the mappings in it included."""
    for name, value in mapping.items():
        yield (own_key := joined(key, str(name))), value
        if isinstance(value, Mapping):
            yield from nodes(value, own_key)


def is_below(key: str, names: Iterable[str]) -> bool:
    """Whether a dotted key is one of `names`, or belongs to a group that is."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def keys_of(cls: type, mark: Any = None, key: str = "") -> Iterator[str]:
    """Every dotted key of a settings dataclass, groups included; with `mark`, only those whose annotation carries it."""
    for name, hint in hints_of(cls).items():
        own_key, marked = joined(key, name), mark is not None and mark in get_args(hint)
        if mark is None or marked:
            yield own_key
        if (group := group_of(hint)) and not marked:
            yield from keys_of(group, mark, own_key)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """ "unknown key; did you mean ...?"."""
    near = nearest_key(key, known)
    return f"unknown key; did you mean {near}?" if near else "unknown key"


def nearest_key(text: str, keys: Iterable[str]) -> str | None:
    """The dotted key nearest to `text`: as a whole, by its last word (`beta` finds `loss.beta`), or by how it begins."""
    keys, text = list(dict.fromkeys(keys)), text.lower().replace("-", "_")
    if near := nearest(text, keys, 0.75):
        return near
    by_last_word = {key.rpartition(".")[2]: key for key in sorted(reversed(keys), key=lambda key: -key.count("."))}
    if near := nearest(text.rpartition(".")[2], by_last_word, 0.75):
        return by_last_word[near]
    return next((key for key in keys if text and key.startswith(text)), nearest(text, keys))


def written(value: Any) -> str:
    """A value as one would write it on the command line; long ones are cut."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    else:
        text = f"{value!r}" if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
