"""Real settings for tests of run files: composed, not made up; nothing here loads a model."""

from dataclasses import replace
from pathlib import Path

from gold_style.config.settings import Settings


def compose(output_dir: Path, *overrides: str) -> Settings:
    """The settings of `python train.py model=qwen3b_to_1p5b tracker=none output_dir=... ...`."""
    return Settings.compose("model=qwen3b_to_1p5b", "tracker=none", f"output_dir='{output_dir}'", *overrides)


def changed(settings: Settings, section: str = "", **fields) -> Settings:
    """A copy with some fields of a section (or of the root) replaced; cheaper than composing again."""
    if not section:
        return replace(settings, **fields)
    old = getattr(settings, section)
    new = {**old, **fields} if isinstance(old, dict) else replace(old, **fields)
    return replace(settings, **{section: new})
