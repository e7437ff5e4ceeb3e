"""report.html of one run, drawn only from the files in its directory, also for a run that stopped half-way.

Nothing is loaded from the network, and everything a model or a user wrote is escaped.

    path = write_report(Path("multirun/2026-11-22/10-00-00/0"))
"""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from gold_style.measure.samples import MODELS
from gold_style.runs.files import read_json, read_json_lines, write_text
from gold_style.runs.run_directory import status_of
from gold_style.show.answers import answers_html, chosen_rows
from gold_style.show.curves import metric_charts
from gold_style.show.page import folded, grid, page, section, warning
from gold_style.show.summary_table import TEXTS, label, result_lines, scored_models, summary_columns, toggle_of, verdict_line, warnings_of
from gold_style.show.tables import Column, code, html_table, share

NAMES = {"target_rate": "{target}", "style_rate": "asked style", "strict_style_rate": "every sentence", "accepted_level": "fitting level"}
RATES = ("target_rate", "style_rate", "strict_style_rate", "content", "joint", "accepted_level", "ambiguous", "degenerate", "copied")
BRIEF = ("target_rate", "style_rate", "accepted_level", "content", "joint", "ambiguous")  # of a slice by direction or era
SHOWN_CHARTS, SHOWN_REQUESTS = 4, 6  # the others are behind a click
FOLDED_REQUESTS = 250


def write_report(run_directory: Path | str) -> Path:
    """Write report.html into a run's directory and return its path. What a run has not written is left out."""
    path = Path(run_directory) / "report.html"
    write_text(path, report_html(path.parent))
    return path


def report_html(directory: Path) -> str:
    """The page of one run."""
    summary, run = read_json(directory / "summary.json") or {}, read_json(directory / "run.json") or {}
    metrics, rows = list(read_json_lines(directory / "metrics.jsonl")), list(read_json_lines(directory / "samples.jsonl"))
    config = directory / "config.yaml"
    toggle, details = toggle_of(summary), summary.get("details", {})
    tags = {model: (part or {}).get("tags", {}) for model, part in details.get("models", {}).items()}
    return page(
        f"{title(directory)} · gold_style",
        [
            heading(directory, run, summary),
            section("Did it learn the style?", headline(summary)),
            section("Curves", some_at_once(metric_charts(metrics, toggle), SHOWN_CHARTS, "more", grid)),
            section("Answers side by side", answers(rows, toggle["target"])),
            section("By tag", slices(tags, toggle, (*RATES, "unfinished", "tokens"))),
            section("By direction of address", split_slices("directions", details, toggle)),
            section("By era of the topic", split_slices("eras", details, toggle)),
            section("Retention and forgetting", retention_table(details) + overlaps(details)),
            section("How it was made", made(run, config)),
        ],
    )


def title(directory: Path) -> str:
    """The last three parts of the path: date, time and number of a run under multirun/."""
    return "/".join(directory.resolve().parts[-3:])


def heading(directory: Path, run: dict[str, Any], summary: dict[str, Any]) -> str:
    """Name, verdict, state and size of the run."""
    status = status_of(directory, run) or summary.get("status") or "unknown"  # says `interrupted` of a run that was killed
    facts = [f"status: {status}"]
    if summary.get("steps") is not None:
        facts.append(f"{summary['steps']} steps in {summary.get('train_seconds', 0):.0f} s")
    facts += [str(run[key]) for key in ("started", "device") if run.get(key)]
    reason = run.get("reason") or run.get("error")
    stopped = warning(f"The run is {status}: {reason}") if reason and status != "completed" else ""
    learned = f"<p><b>{escape(verdict_line(summary))}</b></p>" if scored_models(summary) else ""
    return f"<h1>{escape(title(directory))}</h1>{learned}<p class=soft>{escape(' · '.join(facts))}</p>{stopped}"


def headline(summary: dict[str, Any]) -> str:
    """The table of the run with intervals, gap closed, warnings, and what the columns mean."""
    scored, details = scored_models(summary), summary.get("details", {})
    if not scored:
        return "<p>Nothing was scored: no summary yet, or no requests were held out.</p>"
    note = TEXTS["note"].format(confidence=details.get("confidence", 0.95))
    if details.get("backend"):
        note += f" Backend: {details['backend']}."
    body = html_table(summary_columns(summary), scored, best=lambda row: row.name == "after")
    lines = "".join(f"<p>{escape(line)}</p>" for line in result_lines(summary))
    said = "".join(warning(f"{model}: {sentence}") for model, sentence in warnings_of(summary))
    return f"{body}{lines}{said}<p class=soft>{escape(note)}</p>"


def some_at_once(parts: Sequence, shown: int, more: str, draw: Callable[[Sequence], str]) -> str:
    """The first `shown` parts drawn, the others behind a click on how many they are."""
    rest = parts[shown:]
    return draw(parts[:shown]) + (folded(f"{len(rest)} {more}", draw(rest)) if rest else "")


def answers(rows: Sequence[dict[str, Any]], target: str) -> str:
    """Requests with their answers before, after and of the teacher, some of every direction and era first."""
    blocks = []
    for group in chosen_rows(rows, SHOWN_REQUESTS + FOLDED_REQUESTS):
        about = " · ".join(str(group[0][key]) for key in ("direction", "era", "topic") if group[0].get(key))
        tags = [(row["style"], [(model, row, model) for model in MODELS]) for row in group]
        blocks.append(answers_html(group[0]["request"], tags, target, about))
    return some_at_once(blocks, SHOWN_REQUESTS, "more requests", "".join)


def split_slices(name: str, details: dict[str, Any], toggle: dict[str, Any]) -> str:
    """A table per value of `directions` or `eras`."""
    models = {model: (part or {}).get(name, {}) for model, part in details.get("models", {}).items()}
    values = dict.fromkeys(value for parts in models.values() for value in parts)
    tables = {value: slices({model: parts.get(value, {}) for model, parts in models.items()}, toggle, BRIEF) for value in values}
    return "".join(f"<h3>{escape(value)}</h3>{drawn}" for value, drawn in tables.items())


def slices(parts: dict[str, dict[str, Any]], toggle: dict[str, Any], keys: Sequence[str]) -> str:
    """A row per model and tag, of {model: {tag: slice of the details}}, with the columns `keys`."""

    def column(key: str) -> Column:
        interval = "target_interval" if key == "target_rate" else ""
        digits = 1 if key == "tokens" else 2
        heading = NAMES.get(key, key).format(target=toggle["target"])
        return Column(heading, lambda row: share(row[2].get(key), row[2].get(interval), digits), right=True)

    columns = [
        Column("model", lambda row: label(row[0])),
        Column("tag", lambda row: row[1]),
        Column("answers", lambda row: row[2]["answers"], right=True),
        *map(column, keys),
        Column("speech levels", lambda row: ", ".join(f"{level} {part:.0%}" for level, part in list(row[2]["levels"].items())[:3])),
    ]
    return html_table(columns, [(model, tag, part) for model, tags in parts.items() for tag, part in tags.items()], kind="dense")


def overlaps(details: dict[str, Any]) -> str:
    """What the two answers of a request share, and how far the neutral answers have moved."""
    rows = [(f"{label(model)}: its two answers", part["pairs"]) for model, part in details.get("models", {}).items() if part]
    if details.get("forgetting"):
        rows.append(("neutral answers, after against before", details["forgetting"]))
    headings = {"chrf": "chrF", "lemma_overlap": "lemma overlap", "identical": "identical"}
    columns = [Column("", lambda row: row[0]), Column("requests", lambda row: row[1]["requests"], right=True)]
    columns += [Column(heading, lambda row, key=key: share(row[1][key]), right=True) for key, heading in headings.items()]
    return html_table(columns, rows)


def retention_table(details: dict[str, Any]) -> str:
    """What the student has kept of its start; empty where that was not measured."""
    rows = [(TEXTS["retention"][name], part) for name, part in (details.get("retention") or {}).items()]
    columns = [Column("retention", lambda row: row[0])]
    for name in ("before", "after", "teacher", "chance"):
        columns.append(Column(name, lambda row, name=name: share(row[1].get(name)), right=True))
    columns.append(Column("change", lambda row: share(row[1].get("change", row[1].get("value")), row[1]["interval"]), right=True))
    return html_table(columns, rows)


def made(run: dict[str, Any], config: Path) -> str:
    """Command, code, packages, and the whole resolved config."""
    git = run.get("git") or {}
    facts = {
        "command": run.get("command"),
        "commit": git.get("commit") and f"{git['commit']}{' with uncommitted changes' if git.get('dirty') else ''}",
        "device": run.get("device"),
        "seed": run.get("seed"),
        "packages": ", ".join(f"{name} {version}" for name, version in (run.get("packages") or {}).items()),
    }
    known = [(name, fact) for name, fact in facts.items() if fact not in (None, "")]
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    resolved = folded("config.yaml, resolved", f"<pre>{escape(text)}</pre>") if text else ""
    return html_table([Column("", lambda row: row[0]), Column("", lambda row: code(str(row[1])))], known) + resolved
