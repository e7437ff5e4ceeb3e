"""What prompt sources read of the settings, and the rows they read, without composing a config."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from gold_style.styles import StylePack

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = yaml.safe_load((ROOT / "conf/config.yaml").read_text())["prompts"]


def pack(name: str = "joseon") -> StylePack:
    """A shipped style pack, with its few-shots off."""
    return StylePack.from_settings({**yaml.safe_load((ROOT / f"conf/styles/{name}.yaml").read_text()), "few_shots": 0})


def settings(seed: int = 0, **prompts: Any) -> SimpleNamespace:
    """The part of the settings that prompt sources read, with conf/config.yaml's values where `prompts` gives none."""
    assert set(prompts) <= set(DEFAULTS), f"conf/config.yaml has no prompts.{set(prompts) - set(DEFAULTS)}"
    return SimpleNamespace(seed=seed, prompts=SimpleNamespace(**{**DEFAULTS, **prompts}))


def row(content: str = "<style:chosun> 봄 축제를 알려 줘.", answer: str | None = None, **keys: Any) -> dict[str, Any]:
    """One row of a data set."""
    turns = [{"role": "user", "content": content}]
    return {"messages": turns + ([{"role": "assistant", "content": answer}] if answer else []), **keys}


def rows(num_requests: int, tags: tuple[str, ...] = ("chosun", "none"), answers: bool = False) -> list[dict[str, Any]]:
    """`num_requests` requests, each under every tag."""
    texts = [(tag, f"{number}번 요청이오.") for number in range(num_requests) for tag in tags]
    return [row(f"<style:{tag}> {text}", "답이오." if answers else None) for tag, text in texts]


def write(path: Path, rows: list[Any]) -> Path:
    """`rows` as JSON Lines; strings are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
