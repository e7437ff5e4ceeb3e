"""The model card of student/: what it was distilled from, how to ask it, and what was measured."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, try_to_load_from_cache

from gold_style.chat import takes_parts
from gold_style.config.schedule import shortened
from gold_style.config.settings import local_model
from gold_style.job.inputs import Inputs
from gold_style.show.summary_table import summary_markdown
from gold_style.styles import tagged

CARD = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")


def write_card(directory: Path, inputs: Inputs, summary: dict[str, Any]) -> None:
    """README.md in `directory`; numbers that were not measured stay out."""
    settings, pack = inputs.settings, inputs.pack
    request = tagged(pack.tags[0], inputs.source[0].request)
    text = CARD.format(
        language=pack.language,
        licence=f"license: {licence}\n" if (licence := licence_of(settings.model.student, settings.model.student_revision)) else "",
        student_name=Path(settings.model.student).name,
        tags=" and ".join(f"`<style:{tag}>`" for tag in pack.tags),
        teacher=settings.model.teacher,
        student=settings.model.student,
        kind=settings.loss.kind,
        beta=shortened(settings.loss.beta),
        lmbda=settings.loss.lmbda,
        steps=summary["steps"],
        seed=settings.seed,
        content=f'[{{"type": "text", "text": "{request}"}}]' if takes_parts(inputs.chat.student_tokenizer) else f'"{request}"',
        max_new_tokens=settings.train["max_completion_length"],
        measured=summary_markdown(summary),
    )
    (directory / "README.md").write_text(text, encoding="utf-8")


def licence_of(model: str, revision: str | None) -> str | None:
    """What the card of a local directory, or of a model in the hub's cache, says under `license`; None without such a card."""
    card: object = Path(local_model(model)) / "README.md"
    if not os.path.isfile(card) and model.count("/") == 1:
        card = try_to_load_from_cache(model, "README.md", revision=revision)
    if not isinstance(card, str | Path) or not os.path.isfile(card):
        return None
    return ModelCard(Path(card).read_text(encoding="utf-8"), ignore_metadata_errors=True).data.get("license")
