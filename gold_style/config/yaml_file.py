"""Reads the YAML files of run directories, which may have come from anywhere: plain values only, no tags, no references.

With references a file of a kilobyte can mean a terabyte, or a mapping that holds itself; no file of ours has any.

Example: `read_mapping(run / "config.yaml")["loss"]["beta"]`.
"""

from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 16 * 2**20
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ValueError, naming the file, where there is none or it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        text = content.decode("utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, SafeLoader)):
            raise ValueError("references (*name) are not read here")
        value = yaml.load(text, SafeLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:  # UnicodeDecodeError, an impossible date: ValueError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as the settings of a run: {reason}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: cannot be read as the settings of a run: not a mapping")
    return value


def mapping_in(path: Path) -> dict[str, Any]:
    """As `read_mapping`, of a file that somebody else will complain about; empty where it cannot be read."""
    try:
        return read_mapping(path)
    except ValueError:
        return {}
