"""The table at the end of a run, and answers to read: for a terminal of 80 columns, and as Markdown for a README.

Everything is drawn from summary.json and samples.jsonl, so that the same table can be had again at any time:

    print_summary(json.loads(Path("summary.json").read_text()), read_json_lines(Path("samples.jsonl")))
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gold_style.measure.samples import MODELS

LABELS = {
    "before": ("student before", "학생 · 학습 전"),
    "after": ("student after", "학생 · 학습 후"),
    "teacher": ("teacher+system", "교사 · 지침"),
    "constant": ("cheat constant", "꼼수 · 같은 말"),
    "copy": ("cheat copy", "꼼수 · 되풀이"),
}
COLOURS = {"modern": "cyan", "ambiguous": "yellow", "other": "red"}  # the pack's own style: magenta
LONGEST_ANSWER = 240  # characters of an answer shown in a terminal


def scored_models(summary: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, S with its joint score, intervals) of every model and cheat that was scored, in order."""
    models = summary.get("details", {}).get("models", {})
    for model in MODELS:
        if summary.get(model):
            behind = models.get(model) or {}
            yield model, {"joint": behind.get("joint"), **summary[model]}, behind.get("intervals", {})
    for name, scores in summary.get("details", {}).get("cheats", {}).items():
        yield name, scores, {}


def share(value: float | None) -> str:
    """A share with two digits; a dash where nothing could be scored."""
    return "–" if value is None else f"{value:.2f}"


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval in brackets; empty where there is none."""
    return "" if interval is None else f"[{interval[0]:.2f}, {interval[1]:.2f}]"


def toggle_of(summary: dict[str, Any]) -> dict[str, Any]:
    """First tag, neutral tag and target verdict of the run; the default pack's for a summary without details."""
    return summary.get("details", {}).get("toggle") or {"first": "chosun", "neutral": "none", "target": "joseon"}


def gap_line(summary: dict[str, Any]) -> str:
    """How much of the way from the student before to the teacher was gone; empty where that is not known."""
    gap = summary.get("gap_closed")
    if gap is None:
        return ""
    interval = summary.get("details", {}).get("gap_closed_interval")
    limits = f" [{interval[0]:.0%}, {interval[1]:.0%}]" if interval else ""
    return f"gap closed: {gap:.0%}{limits} of the way from before to the teacher · 교사와의 차이를 메운 정도"


def summary_table(summary: dict[str, Any]) -> Table:
    """The headline of a run, at most 80 columns: student before and after, teacher, cheats."""
    toggle = toggle_of(summary)
    confidence = summary.get("details", {}).get("confidence", 0.95)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", title_justify="left")
    table.add_column("model\n모델", no_wrap=True)
    target = toggle["target"] if len(toggle["target"]) <= 6 else "style"
    english = [target, "leakage", f"margin [{confidence:.0%}]", "content", "joint", "degen.", "ambig.", "prompts"]
    korean = ["말투", "누출", "차이", "내용", "종합", "붕괴", "모호", "요청 수"]
    for above, below in zip(english, korean, strict=True):
        table.add_column(f"{above}\n{below}", justify="right", no_wrap=True)
    for name, scores, intervals in scored_models(summary):
        label = LABELS.get(name, (name, ""))
        margin = Text(f"{share(scores['margin'])}\n")
        margin.append(interval_text(intervals.get("margin")) if scores["margin"] is not None else "", style="dim")
        table.add_row(
            Text(label[0], style="bold" if name == "after" else "").append(f"\n{label[1]}", style="dim"),
            share(scores["chosun_rate"]),
            share(scores["leakage"]),
            margin,
            *(share(scores[key]) for key in ("content", "joint", "degenerate", "ambiguous")),
            str(scores["prompts"]),
        )
    return table


def legend_lines(summary: dict[str, Any]) -> list[str]:
    """What the columns mean, in English and in Korean."""
    toggle = toggle_of(summary)
    target, first, neutral = toggle["target"], toggle["first"], toggle["neutral"]
    return [
        f"{target}: answers in {target} style under <style:{first}>; leakage: under <style:{neutral}>;",
        "margin: the difference;",
        "joint: in the asked style, on topic, neither degenerate nor a copy, per answer",
        f"말투: <style:{first}> 답 중 {target} 비율; 누출: <style:{neutral}> 답 중 {target} 비율; 차이: 말투 - 누출;",
        "종합: 말투와 내용이 다 맞고 붕괴도 되풀이도 아닌 답의 비율",
    ]


def chosen_rows(rows: Sequence[dict[str, Any]], number: int) -> list[list[dict[str, Any]]]:
    """`number` requests to read, each with its rows under every tag: first one of every direction and era."""
    requests: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        requests.setdefault(row["id"], []).append(row)
    kinds: dict[tuple, int] = {}
    order = []
    for place, group in enumerate(requests.values()):
        kind = (group[0].get("direction"), group[0].get("era"))
        kinds[kind] = kinds.get(kind, 0) + 1
        order.append((kinds[kind], place, group))
    return [group for _, _, group in sorted(order, key=lambda entry: entry[:2])[:number]]


def samples_text(rows: Sequence[dict[str, Any]], number: int = 3) -> Group:
    """Answers of `number` requests under every tag: before, after, teacher, each with its verdict."""
    parts: list[Any] = []
    for group in chosen_rows(rows, number):
        parts.append(Text(f"\n{group[0]['request']}", style="bold"))
        for row in group:
            parts.append(Text("  untagged" if row["style"] is None else f"  <style:{row['style']}>", style="underline"))
            for model in MODELS:
                if row.get(model) is not None:
                    parts.append(Padding(answer_text(row, model), (0, 0, 0, 4)))
    return Group(*parts)


def answer_text(row: dict[str, Any], model: str) -> Text:
    """One answer, cut to a readable length, behind who gave it and its verdict."""
    verdict, text = row.get(f"verdict_{model}") or "–", " ".join(row[model].split())
    said = text if len(text) <= LONGEST_ANSWER else text[:LONGEST_ANSWER] + "…"
    line = Text(f"{model} ", style="dim")
    line.append(f"[{verdict}] ", style=COLOURS.get(verdict, "magenta"))
    return line.append(said or "(empty)")


def print_summary(summary: dict[str, Any], rows: Sequence[dict[str, Any]] = (), console: Console | None = None, number: int = 3) -> None:
    """Print the table, what its columns mean, warnings, and `number` requests with their answers."""
    console = console or Console()
    if not any(summary.get(model) for model in MODELS):
        console.print("Nothing was scored: no requests were held out (prompts.eval_samples is 0).")
        return
    console.print(summary_table(summary))
    console.print()
    console.print(Text("\n".join([*filter(None, [gap_line(summary)]), *legend_lines(summary)]), style="dim"))
    for model, sentences in summary.get("details", {}).get("warnings", {}).items():
        for sentence in sentences:
            console.print(Text(f"warning, {LABELS[model][0]}: {sentence}", style="yellow"))
    if rows:
        console.print(samples_text(rows, number))


def summary_markdown(summary: dict[str, Any]) -> str:
    """The same table in Markdown, with the interval of every share."""
    toggle = toggle_of(summary)
    shares = ("chosun_rate", "leakage", "margin", "content", "joint", "degenerate", "ambiguous")
    first = f"{toggle['target']} under `<style:{toggle['first']}>`"
    heads = ["", first, f"leakage under `<style:{toggle['neutral']}>`", *shares[2:], "prompts"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for name, scores, intervals in scored_models(summary):
        cells = [
            " ".join(filter(None, [share(scores[key]), scores[key] is not None and interval_text(intervals.get(key))])) for key in shares
        ]
        lines.append("| " + " | ".join([LABELS.get(name, (name,))[0], *cells, str(scores["prompts"])]) + " |")
    return "\n".join([*lines, *(["", gap_line(summary)] if gap_line(summary) else [])]) + "\n"


def samples_markdown(rows: Sequence[dict[str, Any]], number: int = 2) -> str:
    """Answers of `number` requests in Markdown: a table per request, a row per tag."""
    parts = []
    for group in chosen_rows(rows, number):
        models = [model for model in MODELS if any(row.get(model) is not None for row in group)]
        lines = [f"**{plain_cell(group[0]['request'])}**", "", "| tag | " + " | ".join(models) + " |", "|---" * (len(models) + 1) + "|"]
        for row in group:
            tag = "untagged" if row["style"] is None else f"`<style:{row['style']}>`"
            lines.append("| " + " | ".join([tag, *(plain_cell(row.get(model) or "–") for model in models)]) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def plain_cell(text: str) -> str:
    """Text that cannot break out of a Markdown table cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
