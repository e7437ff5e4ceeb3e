"""The model card of student/, in English and Korean: how to ask it, what was measured, what it was made of and under which licences.

(run / "student" / "README.md").write_text(card_text(run, summary))    # name="ORG/NAME": as it is published

It is drawn from the files of the run, so `python -m gold_style.publish` draws it anew; no path of this machine is in it.
"""

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import ModelCard, try_to_load_from_cache
from jinja2 import Template

from gold_style import PROJECT
from gold_style.chat import takes_parts
from gold_style.config.schedule import shortened
from gold_style.config.settings import find_directory, local_model
from gold_style.engine.models import load_tokenizer
from gold_style.job.shapes import table
from gold_style.measure.verdict import verdict_of
from gold_style.prompts import Message
from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.run_directory import read_config
from gold_style.show.answers import answers_markdown, chosen_rows, tag_text
from gold_style.show.summary_table import summary_markdown, without_misspelt
from gold_style.styles import StylePack, tagged

CARD = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")  # in Jinja, as chat templates are
COMPOSED = "Apache-2.0 where the pack comes with gold_style"
RESTRICTED = re.compile(r"\bnc\b|non-?commercial|not for commercial|research", re.IGNORECASE)  # of a licence's name


class Part(NamedTuple):
    """Something that the student was made of: what it is called, its name on the hub, its licence; None where its files do not say."""

    name: str
    hub: str | None = None
    licence: str | None = None

    @classmethod
    def of(cls, name: str, revision: str | None, repo_type: str | None = None) -> "Part":
        """Of a local directory or a hub name: what models.yaml knows, else what the card in the directory or in the hub's cache says."""
        is_local, path = os.path.isdir(local_model(name)), os.path.join(local_model(name), "README.md")
        found = path if is_local else try_to_load_from_cache(name, "README.md", revision=revision, repo_type=repo_type)
        text = Path(found).read_text(encoding="utf-8") if isinstance(found, str) and os.path.isfile(found) else ""
        data = ModelCard(text, ignore_metadata_errors=True).data if text else {}
        heading = re.search(r"^# +(\S.*)$", text, re.M) if is_local else None
        base = data.get("base_model") if is_local else name
        hub = base[0] if isinstance(base, list) and base else base
        licence = table("models").get(hub, {}).get("licence") or data.get("license_name") or data.get("license")
        return cls(heading[1] if heading else Path(name).name if is_local else name, hub, licence)


def parts_of(config: dict[str, Any]) -> dict[str, Part]:
    """Student, teacher and data of a run's config."""
    model, prompts = config["model"], config["prompts"]
    names = {f"teacher under `{tag_text(tag)}`": name for tag, name in (model["teachers"] or {}).items()} or {"teacher": model["teacher"]}
    parts = {side: Part.of(name, model[f"{side.split()[0]}_revision"]) for side, name in ({"student": model["student"]} | names).items()}
    if prompts["source"] == "hf":
        return parts | {"data": Part.of(prompts["name"], prompts["revision"], "dataset")}
    if prompts["source"] == "jsonl":
        path = find_directory(prompts["path"])
        return parts | {"data": Part(path.name, None, "CC0-1.0" if path.is_relative_to(PROJECT / "data") else None)}
    return parts | {"data": Part(f"requests composed from the style pack {config['styles']['name']}", None, COMPOSED)}


def student_name(config: dict[str, Any]) -> str:
    """What a run's student is called: the model that it was, and the style pack."""
    start = Part.of(config["model"]["student"], config["model"]["student_revision"])
    return f"{Path(start.hub).name if start.hub else start.name.replace('/', '-')}-{config['styles']['name']}"


def student_messages(config: dict[str, Any], tag: str | None, request: str) -> list[Message]:
    """A request as the student was trained to read it: the run's own system turn, if it has one, and the tag before the request."""
    system, user = config["prompts"]["student_system_prompt"], {"role": "user", "content": tagged(tag, request)}
    return [{"role": "system", "content": system}, user] if system else [user]


def card_text(run: Path, summary: dict[str, Any] | None = None, name: str | None = None) -> str:
    """The card of run/student. `summary`: where its file is not yet there; `name`: what the student is called on the hub.

    Numbers that were not measured stay out. Raises ValueError where the run's summary, config, pack or tokenizer cannot be read.
    """
    summary = summary or read_json(run / "summary.json")
    if summary is None:
        raise ValueError(f"{run / 'summary.json'}: is missing, or no JSON object")
    config, rows = shortened(read_config(run)), without_misspelt(list(read_json_lines(run / "samples.jsonl")), summary)
    pack, parts, verdict, after = StylePack.from_settings(config["styles"]), parts_of(config), verdict_of(summary), summary.get("after")
    request = chosen_rows(rows, 1)[0][0]["request"] if rows else next(shot.request for style in pack.styles for shot in style.few_shots)
    messages: list[Any] = student_messages(config, pack.tags[0], request)
    if takes_parts(load_tokenizer(str(run / "student"), None, False)):
        messages = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in messages]
    restricted = [part for part in parts.values() if RESTRICTED.search(part.licence or "")]
    return Template(CARD, trim_blocks=True, keep_trailing_newline=True).render(
        locals(),
        own_name=student_name(config),
        tags=", ".join(f"`{tag_text(tag)}`" for tag in pack.tags),
        messages=json.dumps(messages, ensure_ascii=False),
        measured={lang: summary_markdown(summary, lang) for lang in ("en", "ko")},
        examples=answers_markdown(rows),
    )
