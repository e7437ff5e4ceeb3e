"""What a run is called in a tracker: by the values that its sweep varies, else by its directory.

Example: job 3 of `python train.py -m loss.beta=0,0.3 seed=0,1 train.max_steps=50` is `beta=0.3,seed=1`.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from gold_style.config.mirror import is_below
from gold_style.config.schedule import shortened
from gold_style.config.settings import BESIDE, in_sweep

NAME_CHARACTERS = 120  # W&B takes 128


def job_overrides(argv: Sequence[str]) -> list[str]:
    """The overrides of one run: Hydra knows those of a sweep's job, the command line has all others."""
    if in_sweep():
        return list(HydraConfig.get().overrides.task)
    return [word for word in argv[1:] if word not in ("-m", "--multirun")]


def key_of(override: str) -> str:
    """`loss.beta` of `+loss.beta=0.3`."""
    return override.partition("=")[0].lstrip("+~")


def varied_keys(sweep_directory: Path) -> set[str] | None:
    """The keys a sweep varies, from the multirun.yaml that Hydra leaves in its directory; None where unknown."""
    try:
        hydra = yaml.safe_load((sweep_directory / "multirun.yaml").read_text(encoding="utf-8"))["hydra"]
        asked = list(hydra["overrides"]["task"])
        presets = (hydra.get("sweeper") or {}).get("params") or {}
        parsed = OverridesParser.create().parse_overrides(asked)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, HydraException):
        return None
    return {override.key_or_group for override in parsed if override.is_sweep_override()} | set(presets)


def run_name(directory: Path, overrides: Sequence[str], pair: str | None = None) -> str:
    """`beta=0.3,seed=1` for a job of a sweep; for a single run the pair and the settings that its command line changes,
    `tiny beta=0.3`; without a pair `<date>/<time>/0` under multirun/, the directory's name elsewhere."""
    if in_sweep() and (name := varied_name(overrides, varied_keys(Path(HydraConfig.get().runtime.output_dir).parent))):
        return name
    if pair is None:
        return label(directory)
    own = [word for word in overrides if key_of(word) != "model" and not is_below(key_of(word), BESIDE)]
    return f"{pair} {varied_name(own, None)}".strip()[:NAME_CHARACTERS]


def varied_name(overrides: Sequence[str], varied: set[str] | None) -> str:
    """`beta=0.3,seed=1`: those overrides whose keys are in `varied` (None: all); empty where none is."""
    pairs = [(key_of(word), word.partition("=")[2]) for word in overrides if varied is None or key_of(word) in varied]
    short = [key.rpartition(".")[2] for key, _ in pairs]
    names = [last if short.count(last) == 1 else key for (key, _), last in zip(pairs, short, strict=True)]
    return ",".join(f"{name}={_short(value)}" for name, (_, value) in zip(names, pairs, strict=True))[:NAME_CHARACTERS]


def _short(value: str) -> str:
    """A drawn number with four digits, a schedule in short; anything else that a person would type unchanged."""
    if value.startswith("{"):
        return str(shortened(OverridesParser.create().parse_override(f"key={value}").value()))
    try:
        return f"{float(value):.4g}" if len(value) > 8 else value
    except ValueError:
        return value


def group_name(directory: Path, single: str | None = None) -> str | None:
    """The sweep that a run belongs to; `single` for a run of its own."""
    return label(directory.parent) if in_sweep() else single


def label(directory: Path) -> str:
    """The part of a path that tells one run or sweep from another."""
    _, multirun, below = f"/{directory}".rpartition("/multirun/")
    if multirun:
        return below
    return "/".join(directory.parts[-2:]) if directory.name.isdigit() else directory.name
