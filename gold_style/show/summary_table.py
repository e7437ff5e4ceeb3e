"""The table at the end of a run: for a terminal of 80 columns, and as Markdown for a README.

Everything is drawn from summary.json and samples.jsonl, so the same table can be had again at any time:

    print_summary(json.loads(Path("summary.json").read_text()), read_json_lines(Path("samples.jsonl")))
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from gold_style.measure.retention import retention_numbers
from gold_style.measure.samples import MODELS
from gold_style.measure.verdict import verdict_of
from gold_style.show.answers import answers_text, tag_text
from gold_style.show.tables import Cell, Column, interval_text, markdown_table, number, share, terminal_table
from gold_style.show.words import TEXTS, both, language, word

SHOWN_REQUESTS = 1


class Scored(NamedTuple):
    """A row of the table: the name of a model or cheat, its S with the joint score, and the intervals of its shares."""

    name: str
    scores: dict[str, Any]
    intervals: dict[str, Any]


def label(name: str, lang: str = "en") -> Cell:
    """A model or cheat as a table calls it."""
    text = TEXTS["labels"].get(name, name)
    return Cell(Text(word(text, lang), style="bold" if name == "after" else ""), both(text), word(text, lang))


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
    """(name of the model as tables call it, sentence) of every warning."""
    for model, sentences in summary.get("details", {}).get("warnings", {}).items():
        for sentence in sentences:
            yield TEXTS["labels"].get(model, model), sentence


def verdict_line(summary: dict[str, Any], lang: str = "en") -> str:
    """Whether the student has learned the style."""
    return word(verdict_of(summary)["sentence"], lang)


def result_lines(summary: dict[str, Any]) -> list[str]:
    """What is said below the table: how much of the way from the student before to the teacher was gone; what the student has kept of its
    start, and how far its neutral answers have moved. Of each only what is known."""
    details, numbers, parts = summary.get("details", {}), retention_numbers(summary), []
    gap, interval = summary.get("gap_closed"), details.get("gap_closed_interval")
    limits = f" [{interval[0]:.0%}, {interval[1]:.0%}]" if interval else ""
    lines = [] if gap is None else [f"gap closed: {gap:.0%}{limits} of the way from before to the teacher"]
    if kept := details.get("retention"):
        bits, choice = kept["bits_per_byte"], kept["choice"]
        before, after, chance = (round(choice[name] * choice["items"]) for name in ("before", "after", "chance"))
        parts.append(f"bits per byte {bits['before']:.2f} -> {bits['after']:.2f} ({numbers['bits_percent']:+.1f} %)")
        parts.append(f"choices {before}/{choice['items']} -> {after}/{choice['items']} (chance {chance})")
        parts.append(f"KL {number(numbers['kl_nats'], 3)} nats/token")
    if numbers["neutral_chrf"] is not None:
        parts.append(f"neutral answers chrF {numbers['neutral_chrf']:.2f}, lemmas {number(details['forgetting'].get('lemma_overlap'))}")
    return lines + ([f"retention: {', '.join(parts)}"] if parts else [])


def summary_columns(summary: dict[str, Any], lang: str = "en") -> list[Column]:
    """The columns of a run's table, over `scored_models`; a terminal gets few of them."""
    toggle, confidence = toggle_of(summary), summary.get("details", {}).get("confidence", 0.95)
    target = toggle["target"] if len(toggle["target"]) <= 6 else "style"

    def column(key: str, heading: str, brief: str | None = None) -> Column:
        return Column(heading, lambda row: share(row.scores.get(key), row.intervals.get(key)), brief, right=True)

    def limits(row: Scored) -> Text:
        return Text(interval_text(row.intervals.get("margin") if row.scores.get("margin") is not None else None), style="dim")

    return [
        Column("", lambda row: label(row.name, lang), ""),
        column("chosun_rate", f"{toggle['target']} under `{tag_text(toggle['first'])}`", target),
        column("leakage", f"leakage under `{tag_text(toggle['neutral'])}`", "leak"),
        column("untagged", "untagged", "untag."),
        column("margin", "margin", "margin"),
        Column(None, limits, f"[{confidence:.0%}]", right=True),
        column("content", "content", "content"),
        column("joint", "joint"),
        column("degenerate", "degenerate", "degen."),
        column("ambiguous", "ambiguous"),
        Column("prompts", lambda row: row.scores.get("prompts"), right=True),
    ]


def legend(summary: dict[str, Any], lang: str = "en") -> str:
    """What the columns of the terminal mean."""
    toggle, prompts = toggle_of(summary), scored_models(summary)[0].scores.get("prompts", "–")
    first, neutral = tag_text(toggle["first"]), tag_text(toggle["neutral"])
    return TEXTS["legend"][lang].format(target=toggle["target"], first=first, neutral=neutral, prompts=prompts)


def print_summary(summary: dict[str, Any], rows: Sequence[dict[str, Any]] = (), console: Console | None = None) -> None:
    """Print the verdict, the table, what its columns mean, warnings, and some requests with their answers, in the reader's language."""
    console, lang = console or Console(), language()
    models = [row for row in scored_models(summary) if row.name in MODELS]
    if not models:
        console.print(word("Nothing was scored: no requests were held out (prompts.eval_samples is 0).", lang))
        return
    console.print(Text(f"{verdict_line(summary, lang)}\n", style="bold"))
    console.print(terminal_table(summary_columns(summary, lang), models, lang=lang))
    console.print(Text("\n".join(["", *(word(line, lang) for line in result_lines(summary)), legend(summary, lang)]), style="dim"))
    for model, sentence in warnings_of(summary):
        console.print(Text(f"{word('warning, ', lang)}{word(model, lang)}: {word(sentence, lang)}", style="yellow"))
    if rows:
        console.print(answers_text(without_misspelt(rows, summary), SHOWN_REQUESTS, lang))


def summary_markdown(summary: dict[str, Any], lang: str = "en") -> str:
    """The same table in Markdown, with the interval of every share; the verdict below it."""
    lines = [f"**{verdict_line(summary, lang)}**", *(word(line, lang) for line in result_lines(summary))]
    return "\n".join([markdown_table(summary_columns(summary, lang), scored_models(summary), lang), *(f"{line}\n" for line in lines)])
