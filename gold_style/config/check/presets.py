"""`sweep=NAME` on a command line -> the overrides of conf/sweep/NAME.yaml, and -m.

A preset is a shorthand for typing: what it varies is written out before Hydra reads the line, so checks, names, W&B and
`resume=auto` see the same sweep either way. Keys that are given on the command line replace the preset's.

    with_preset(["sweep=styles", "seed=0"], CONF)     # ["sweep=styles", "seed=0", "-m", "styles.teacher_prompt=combined,per_style", ...]
"""

import re
from collections.abc import Sequence
from pathlib import Path

from gold_style.config.yaml_file import mapping_in

SWEEPER = "hydra/sweeper"
PRESET = re.compile(r"\+{0,2}sweep=['\"]?([A-Za-z0-9_-]+)['\"]?")


def with_preset(arguments: Sequence[str], conf: Path) -> list[str]:
    """The arguments, with what a preset varies written out; unchanged where no preset of that name is there to be read."""
    names = [match[1] for argument in arguments if (match := PRESET.fullmatch(argument))]
    path = conf / "sweep" / f"{names[-1]}.yaml" if names else None
    preset = mapping_in(path) if path is not None else {}  # Hydra will say what is wrong with it
    varied = preset.get("vary") if isinstance(preset.get("vary"), dict) else {}
    given = {argument.partition("=")[0].lstrip("+") for argument in arguments}
    added = [f"{key}={value}" for key, value in varied.items() if key not in given]
    flag = ["-m"] if varied and not {"-m", "--multirun"} & set(arguments) else []
    return [*arguments, *flag, *added, *_sweeper([*arguments, *added], preset, given)]


def with_own_conf(arguments: Sequence[str], conf: Path) -> list[str]:
    """The arguments; where conf/styles of the working directory has packs, that conf/ is a further config directory."""
    own, given = Path("conf"), any(argument.partition("=")[0] in ("--config-dir", "-cd") for argument in arguments)
    has_own = not given and any(own.glob("styles/*.yaml")) and own.resolve() != conf.resolve()
    return [*arguments, "--config-dir", str(own)] if has_own else list(arguments)


def _sweeper(arguments: Sequence[str], preset: dict, given: set[str]) -> list[str]:
    """The search instead of the grid, where trials are asked for."""
    asked = next((text.partition("=")[2] for text in arguments if text.startswith("sweep.search.trials=")), None)
    trials = asked if asked is not None else (preset.get("search") or {}).get("trials", 0)
    return [f"{SWEEPER}=gold_style_search"] if str(trials) != "0" and SWEEPER not in given else []
