"""The table at the end of a run: for a terminal of 80 columns, and as Markdown for a README.

Everything is drawn from summary.json and samples.jsonl, so the same table can be had again at any time:

    print_summary(json.loads(Path("summary.json").read_text()), read_json_lines(Path("samples.jsonl")))
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.text import Text

from gold_style.measure.retention import retention_numbers
from gold_style.measure.samples import MODELS
from gold_style.measure.verdict import verdict_of
from gold_style.show.answers import answers_text, tag_text
from gold_style.show.tables import Column, interval_text, markdown_table, number, share, terminal_table

TEXTS = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
SHOWN_REQUESTS = 3


class Scored(NamedTuple):
    """A row of the table: the name of a model or cheat, its S with the joint score, and the intervals of its shares."""

    name: str
    scores: dict[str, Any]
    intervals: dict[str, Any]


def label(name: str) -> str:
    """A model or cheat as a table calls it."""
    return TEXTS["labels"].get(name, (name,))[0]


def scored_models(summary: dict[str, Any]) -> list[Scored]:
    """Every model and cheat that was scored, in order."""
    details = summary.get("details", {})
    models = {model: details.get("models", {}).get(model) or {} for model in MODELS if summary.get(model)}
    scored = [Scored(model, {"joint": part.get("joint"), **summary[model]}, part.get("intervals", {})) for model, part in models.items()]
    return scored + [Scored(name, scores, {}) for name, scores in details.get("cheats", {}).items()]


def toggle_of(summary: dict[str, Any]) -> dict[str, Any]:
    """First tag, neutral tag and target verdict of the run; the default pack's for a summary without details."""
    return summary.get("details", {}).get("toggle") or {"first": "chosun", "neutral": "none", "target": "joseon"}


def without_misspelt(rows: Sequence[dict[str, Any]], summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of samples.jsonl under a tag of the pack or under none; misspelt tags are for report.html."""
    known = toggle_of(summary).get("verdicts")
    return [row for row in rows if known is None or row["style"] is None or row["style"] in known]


def warnings_of(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name of the model, sentence) of every warning."""
    for model, sentences in summary.get("details", {}).get("warnings", {}).items():
        for sentence in sentences:
            yield label(model), sentence


def verdict_line(summary: dict[str, Any]) -> str:
    """Whether the student has learned the style: the sentence, and a word of Korean."""
    verdict = verdict_of(summary)
    return f"{verdict['sentence']} · {TEXTS['verdicts'][verdict['code']]}"


def result_lines(summary: dict[str, Any]) -> list[str]:
    """What is said below the table: how much of the way from the student before to the teacher was gone; what the student has kept of its
    start, and how far its neutral answers have moved. Of each only what is known."""
    details, numbers, parts = summary.get("details", {}), retention_numbers(summary), []
    gap, interval = summary.get("gap_closed"), details.get("gap_closed_interval")
    limits = f" [{interval[0]:.0%}, {interval[1]:.0%}]" if interval else ""
    lines = [] if gap is None else [f"gap closed: {gap:.0%}{limits} of the way from before to the teacher · 교사와의 차이를 메운 정도"]
    if kept := details.get("retention"):
        bits, choice = kept["bits_per_byte"], kept["choice"]
        before, after, chance = (round(choice[name] * choice["items"]) for name in ("before", "after", "chance"))
        parts.append(f"bits per byte {bits['before']:.2f} -> {bits['after']:.2f} ({numbers['bits_percent']:+.1f} %)")
        parts.append(f"choices {before}/{choice['items']} -> {after}/{choice['items']} (chance {chance})")
        parts.append(f"KL {number(numbers['kl_nats'], 3)} nats/token")
    if numbers["neutral_chrf"] is not None:
        parts.append(f"neutral answers chrF {numbers['neutral_chrf']:.2f}, lemmas {number(details['forgetting'].get('lemma_overlap'))}")
    return lines + ([f"retention: {', '.join(parts)} · 학습 전의 것을 지킨 정도"] if parts else [])


def summary_columns(summary: dict[str, Any]) -> list[Column]:
    """The columns of a run's table, over `scored_models`."""
    toggle, confidence = toggle_of(summary), summary.get("details", {}).get("confidence", 0.95)
    target = toggle["target"] if len(toggle["target"]) <= 6 else "style"

    def column(key: str, heading: str, brief: str | None) -> Column:
        return Column(heading, lambda row: share(row.scores.get(key), row.intervals.get(key)), brief, right=True)

    return [
        Column("", lambda row: label(row.name)),
        Column(None, label_text, "model\n모델"),
        column("chosun_rate", f"{toggle['target']} under `{tag_text(toggle['first'])}`", f"{target}\n말투"),
        column("leakage", f"leakage under `{tag_text(toggle['neutral'])}`", "leakage\n누출"),
        column("untagged", "untagged", "untag.\n무태그"),
        column("margin", "margin", None),
        Column(None, margin_text, f"margin [{confidence:.0%}]\n차이", right=True),
        column("content", "content", "content\n내용"),
        column("joint", "joint", "joint\n종합"),
        column("degenerate", "degenerate", "degen.\n붕괴"),
        column("ambiguous", "ambiguous", "ambig.\n모호"),
        Column("prompts", lambda row: row.scores.get("prompts"), right=True),
    ]


def label_text(row: Scored) -> Text:
    """The label in English and Korean."""
    english, korean = TEXTS["labels"].get(row.name, (row.name, ""))
    return Text.assemble((english, "bold" if row.name == "after" else ""), (f"\n{korean}", "dim"))


def margin_text(row: Scored) -> Text:
    """The margin, and its interval below."""
    margin = row.scores.get("margin")
    return Text.assemble(f"{number(margin)}\n", (interval_text(row.intervals.get("margin") if margin is not None else None), "dim"))


def legend(summary: dict[str, Any]) -> str:
    """What the columns mean, in English and in Korean."""
    toggle, prompts = toggle_of(summary), scored_models(summary)[0].scores.get("prompts", "–")
    first, neutral = tag_text(toggle["first"]), tag_text(toggle["neutral"])
    return TEXTS["legend"].format(target=toggle["target"], first=first, neutral=neutral, prompts=prompts)


def print_summary(summary: dict[str, Any], rows: Sequence[dict[str, Any]] = (), console: Console | None = None) -> None:
    """Print the table, what its columns mean, warnings, and some requests with their answers."""
    console = console or Console()
    if not any(summary.get(model) for model in MODELS):
        console.print("Nothing was scored: no requests were held out (prompts.eval_samples is 0).")
        return
    console.print(Text(f"{verdict_line(summary)}\n", style="bold"))
    console.print(terminal_table(summary_columns(summary), scored_models(summary)))
    console.print()
    console.print(Text("\n".join([*result_lines(summary), legend(summary)]), style="dim"))
    for model, sentence in warnings_of(summary):
        console.print(Text(f"warning, {model}: {sentence}", style="yellow"))
    if rows:
        console.print(answers_text(without_misspelt(rows, summary), SHOWN_REQUESTS))


def summary_markdown(summary: dict[str, Any]) -> str:
    """The same table in Markdown, with the interval of every share; the verdict below it."""
    lines = [f"**{verdict_line(summary)}**", *result_lines(summary)]
    return "\n".join([markdown_table(summary_columns(summary), scored_models(summary)), *(f"{line}\n" for line in lines)])
