"""What evaluate.py is pointed at: a run, a checkpoint or student/ in one, a model directory, an adapter directory, or a hub name.

target = Target.find(EvaluateSettings.from_config(cfg))      # before torch is imported
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from gold_style import did_you_mean
from gold_style.config.mirror import written
from gold_style.config.settings import EvaluateSettings, Settings, find_directory


@dataclass(frozen=True)
class Target:
    """What is to be evaluated, and the run it came from."""

    model: str  # local directory or hub name
    run: Path | None
    adapters: tuple[str, ...] = ()  # of PEFT, each added to the model's weights

    @classmethod
    def find(cls, asked: EvaluateSettings) -> "Target":
        """Raises ValueError for a run without a student, a directory that holds neither run, model nor adapter, and for wrong tags."""
        path, run, found = find_directory(asked.target), None, [asked.target]
        if (path / "run.json").is_file():
            if not (path / "student" / "config.json").is_file():
                raise ValueError(f"target={asked.target}: this run has no student/ yet; name one of its checkpoints, or resume={path}")
            run, found = path, [str(path / "student")]
        elif not path.exists() and "/" in asked.target and path.parent.is_dir():
            raise ValueError(f"target={asked.target}: no such directory{did_you_mean(path.name, os.listdir(path.parent))}")
        elif path.exists():
            run = next((parent for parent in list(path.parents)[:2] if (parent / "run.json").is_file()), None)
            found = [str(path)] if (path / "config.json").is_file() else _base_of_adapter(asked.target, path, run)
        _check_tags(asked, run)
        return cls(found[0], run, tuple(filter(None, [*found[1:], asked.model.student_adapter])))


def _base_of_adapter(text: str, path: Path, run: Path | None) -> list[str]:
    """The model under an adapter of PEFT, and what is added to it; of a run's, that is what the run started from."""
    try:
        named = json.loads((path / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        raise ValueError(f"target={text}: holds neither a run (run.json) nor a model (config.json) nor an adapter of PEFT") from None
    if run is not None:
        model = Settings.load(run).model
        return [model.student, model.student_adapter, str(path)]
    if not named:
        raise ValueError(f"target={text}: this adapter does not name its model; write target=MODEL model.student_adapter={text}")
    return [named, str(path)]


def _check_tags(asked: EvaluateSettings, run: Path | None) -> None:
    if asked.tags is None:
        return
    known, key = list((asked.styles or (Settings.load(run) if run else Settings.compose()).styles).styles), f"tags={written(asked.tags)}"
    for tag in asked.tags:
        if tag is not None and tag not in known:
            raise ValueError(f"{key}: the pack has the tags {', '.join(known)}, and null is no tag{did_you_mean(tag, known)}")
    if not asked.tags or (asked.request is None and not {*known} <= {*asked.tags}):
        raise ValueError(f"{key}: scores need every tag of the pack ({', '.join(known)}); with request=TEXT one of them or null will do")
