"""A run whose answers are judged or rated: what both commands read, and the arguments that both take.

Example: `RatedRun.read(Path("multirun/.../0")).samples["after"]`.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gold_style.measure.rates import Toggle
from gold_style.measure.samples import Samples, samples_from
from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.run_directory import CONFIG, read_config
from gold_style.styles import StylePack


@dataclass(frozen=True)
class RatedRun:
    """`config`: the resolved config that the answers were made with; `pack` and `toggle`: its styles."""

    directory: Path
    config: dict[str, Any]
    pack: StylePack
    toggle: Toggle
    samples: Samples

    @classmethod
    def read(cls, directory: Path, config: Path | None = None) -> "RatedRun":
        """Raises ValueError where samples.jsonl, a config or its style pack is missing or broken."""
        samples = directory / "samples.jsonl"
        if not samples.is_file():
            raise ValueError(f"{directory}: no samples.jsonl in it; name the directory of a finished run")
        resolved = run_config(directory, config)
        if not isinstance(resolved.get("styles"), dict) or "styles" not in resolved["styles"]:  # keys of today are filled in
            raise ValueError(f"{CONFIG}: holds no styles; name the run's own with --config FILE")
        pack = StylePack.from_settings(resolved["styles"])
        return cls(directory, resolved, pack, Toggle.from_pack(pack), samples_from(read_json_lines(samples), samples))


def run_config(run: Path, config: Path | None) -> dict[str, Any]:
    """The config in `config`, or else the run's own, or that of the run that evaluate.py was given as its target.

    Raises ValueError where there is none, or none that can be read.
    """
    if config is not None:
        if not config.is_dir() and config.name != CONFIG:
            raise ValueError(f"--config {config}: name a {CONFIG}, or the run directory that holds it")
        return read_config(config if config.is_dir() else config.parent)
    target = (read_json(run / "run.json") or {}).get("target")
    places = [run, *([Path(target), *list(Path(target).parents)[:2]] if target else [])]
    found = next((place for place in places if (place / CONFIG).is_file()), None)
    if found is None:
        raise ValueError(f"{run}: no {CONFIG} in it to take the styles from; name one with --config FILE")
    return read_config(found)


def run_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser of RUN, --seed and --config."""
    parser = argparse.ArgumentParser(prog=f"python -m gold_style.{command}", description=description)
    parser.add_argument("run", type=Path, metavar="RUN", help="a directory of train.py or evaluate.py, with samples.jsonl")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random choice (default: 0)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="config.yaml to take the styles from (default: the run's)")
    return parser


def whole(least: int) -> Callable[[str], int]:
    """A parser of whole numbers from `least` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= {least}")
        return int(text)

    return number
