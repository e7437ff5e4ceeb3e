"""Writes gold_style/config/gold_config_fields.json as the installed trl has it, and docs/train_fields.md: what `train.*` takes.

python benchmarks/train_fields.py
"""

import dataclasses
import enum
import json
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from trl.experimental.gold import GOLDConfig

from gold_style import PROJECT
from gold_style.config.gold_config import FIELDS_FILE, KINDS, entry_of, gold_config_fields, refusal, train_fields

PAGE = PROJECT / "docs" / "train_fields.md"


def describe_gold_config() -> list[dict[str, Any]]:
    """The list as the installed trl has it."""
    hints = get_type_hints(GOLDConfig)
    return [_describe(field, hints[field.name]) for field in dataclasses.fields(GOLDConfig)]


def _describe(field: dataclasses.Field, hint: Any) -> dict[str, Any]:
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    default = field.default_factory() if field.default is dataclasses.MISSING else field.default
    entry: dict[str, Any] = {"name": field.name, "types": list(dict.fromkeys(_kind_of(part) for part in parts))}
    for part in parts:
        if isinstance(part, type) and issubclass(part, enum.Enum):
            entry["choices"] = [member.value for member in part]
    entry["default"] = default.value if isinstance(default, enum.Enum) else default
    entry["help"] = " ".join(str(field.metadata.get("help", "")).split()).split(". ")[0].rstrip(".")
    return entry


def _kind_of(hint: Any) -> str:
    plain = type(get_args(hint)[0]) if get_origin(hint) is Literal else get_origin(hint) or hint
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return "str"
    return next((kind for kind, own in KINDS.items() if own is plain), "object")


def page() -> Iterator[str]:
    """The lines of docs/train_fields.md."""
    yield "# What `train.*` takes\n"
    yield "Every field of TRL's GOLDConfig, in its order. Written by `python benchmarks/train_fields.py` from"
    yield "`gold_style/config/train_fields.yaml`; `tests/job/test_train_fields.py` runs each accepted field with and without.\n"
    yield "| field | | its effect, or why it is refused | use instead |"
    yield "|---|---|---|---|"
    for name in gold_config_fields():
        reason, instead = refusal(name) or (f"changes {entry_of(name, train_fields()['accepted'])}", "")
        yield f"| `{name}` | {'refused' if instead else 'accepted'} | {reason} | {instead} |"


def main() -> None:
    """Write both files."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in describe_gold_config())
    FIELDS_FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    PAGE.write_text("\n".join([*page(), ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
