"""report.html of one run, drawn only from the files in its directory, also for a run that stopped half-way.

Nothing is loaded from the network, and everything a model or a user wrote is escaped. A page is in English and in Korean.

    path = write_report(Path("multirun/2026-11-22/10-00-00/0"))
"""

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from gold_style.measure.samples import MODELS
from gold_style.measure.verdict import verdict_of
from gold_style.runs.files import read_json, read_json_lines, write_text
from gold_style.runs.run_directory import flattened, read_config, status_of
from gold_style.show.answers import chosen_rows, failed, tag_text
from gold_style.show.curves import metric_charts
from gold_style.show.page import SCRIPT, contents, folded, grid, html, page, section, warning
from gold_style.show.summary_table import label, result_lines, scored_models, summary_columns, toggle_of, warnings_of
from gold_style.show.tables import Cell, Column, code, html_table, share, short
from gold_style.show.words import TEXTS, both, language

NAMES = {"target_rate": "{target}", "style_rate": "asked style", "strict_style_rate": "every sentence", "accepted_level": "fitting level"}
RATES = ("target_rate", "style_rate", "strict_style_rate", "content", "joint", "accepted_level", "ambiguous", "degenerate", "copied")
BRIEF = ("target_rate", "style_rate", "accepted_level", "content", "joint", "ambiguous")  # of a slice by direction or era
SHOWN_CHARTS = 3  # the others open on a click
REQUESTS = 256  # at most on a page
FILES = ("config.yaml", "run.json", "summary.json", "metrics.jsonl", "samples.jsonl", "readings.jsonl", "student/README.md")


def write_report(run_directory: Path | str) -> Path:
    """Write report.html into a run's directory and return its path. What a run has not written is left out."""
    path = Path(run_directory) / "report.html"
    write_text(path, report_html(path.parent))
    return path


def report_html(directory: Path) -> str:
    """The page of one run."""
    summary, run = read_json(directory / "summary.json") or {}, read_json(directory / "run.json") or {}
    metrics, rows = list(read_json_lines(directory / "metrics.jsonl")), list(read_json_lines(directory / "samples.jsonl"))
    read = list(read_json_lines(directory / "readings.jsonl"))
    toggle, details, config = toggle_of(summary), summary.get("details", {}), config_of(directory)
    tags = {model: (part or {}).get("tags", {}) for model, part in details.get("models", {}).items()}
    charts = metric_charts(metrics, summary, toggle)
    rest = folded(f"{len(charts) - SHOWN_CHARTS} more", grid(charts[SHOWN_CHARTS:])) if charts[SHOWN_CHARTS:] else ""
    sections = [
        section("Curves", grid(charts[:SHOWN_CHARTS]) + rest),
        section("Answers side by side", answers(rows, toggle)),
        section("Where the teacher disagreed", html("disagreements", read) if read else ""),
        section("What each side read", html("sides", read) if read else ""),
        section("All numbers", headline(summary)),
        section("By tag", slices(tags, toggle, (*RATES, "unfinished", "tokens"))),
        section("By direction of address", split_slices("directions", details, toggle)),
        section("By era of the topic", split_slices("eras", details, toggle)),
        section("Retention and forgetting", retention_table(details) + overlaps(details)),
        section("How it was made", made(directory, run, metrics)),
    ]
    first = first_screen(directory, run, summary, config) + pair(rows, toggle)
    name = title(directory, config, toggle)
    return page(f"{name} · gold_style", [contents(sections), f"<h1>{escape(name)}</h1>", first, *sections], SCRIPT, language())


def config_of(directory: Path) -> dict[str, Any]:
    """The run's config.yaml as dotted keys; empty where it cannot be read, as of a run that failed early."""
    try:
        return flattened(read_config(directory))
    except ValueError:
        return {}


def title(directory: Path, config: dict[str, Any], toggle: dict[str, Any]) -> str:
    """Pair, style and loss; the last parts of the path where there is no config of them."""
    kind, beta = config.get("loss.kind"), config.get("loss.beta")
    loss = kind and f"{kind}, beta {short(beta) if isinstance(beta, (int, float)) else beta}"
    words = [config.get("model.name"), config.get("styles.name") or toggle["target"], loss]
    return " · ".join(map(str, filter(None, words))) if words[0] else "/".join(directory.resolve().parts[-3:])


def first_screen(directory: Path, run: dict[str, Any], summary: dict[str, Any], config: dict[str, Any]) -> str:
    """What was trained, whether it learned, the three numbers, and how the run ended."""
    toggle, verdict = toggle_of(summary), verdict_of(summary)
    first, neutral = tag_text(toggle["first"]), tag_text(toggle["neutral"])
    names = {side: "/".join(Path(str(config.get(f"model.{side}") or side)).parts[-2:]) for side in ("student", "teacher")}
    several = {key.rpartition(".")[2]: Path(str(name)) for key, name in config.items() if key.startswith("model.teachers.")}
    names["teacher"] = ", ".join(f"{'/'.join(path.parts[-2:])} ({tag_text(tag)})" for tag, path in several.items()) or names["teacher"]
    words = {"target": toggle["target"], "first": first, "neutral": neutral, **names}
    status = status_of(directory, run) or summary.get("status") or "unknown"  # says `interrupted` of a run that was killed
    facts = [f"status: {status}"]
    if summary.get("steps") is not None:
        facts.append(f"{summary['steps']} steps in {summary.get('train_seconds', 0):.0f} s")
    reason = run.get("reason") or run.get("error")
    own = config.get("model.student") and config.get("model.student") == config.get("model.teacher")
    parts = [
        soft("intro_self" if own else "intro", **words),
        warning(f"The run is {status}: {reason}") if reason and status != "completed" else "",
    ]
    if scored_models(summary):
        details = summary.get("details", {})
        intervals, confidence = (details.get("models", {}).get("after") or {}).get("intervals") or {}, details.get("confidence", 0.95)
        parts.append(html("conclusion", verdict["code"], verdict["sentence"]))
        parts += [
            html("numbers", summary.get("after") or {}, intervals, summary.get("teacher") or {}, neutral),
            soft("margin", **words, prompts=(summary.get("after") or {}).get("prompts"), confidence=confidence),
        ]
    return "".join([*parts, f"<p class=soft>{' · '.join(map(both, facts))}</p>"])


def soft(name: str, **words: Any) -> str:
    """A paragraph of TEXTS in small print."""
    return f"<p class=soft>{both(*(TEXTS[name][lang].format(**words) for lang in ('en', 'ko')))}</p>"


def pair(rows: Sequence[dict[str, Any]], toggle: dict[str, Any]) -> str:
    """One request under the first tag, before and after: the first whose answer got the commonest verdict."""
    asked = [row for row in rows if row["style"] == toggle["first"] and row.get("after") is not None]
    for verdict, _ in Counter(row.get("verdict_after") for row in asked).most_common(1):
        shown = next(row for row in asked if row.get("verdict_after") == verdict)
        return html("pair", shown, toggle["target"])
    return ""


def headline(summary: dict[str, Any]) -> str:
    """The table of the run with intervals, gap closed, warnings, and what the columns mean."""
    scored, details = scored_models(summary), summary.get("details", {})
    if not scored:
        return f"<p>{both('Nothing was scored: no summary yet, or no requests were held out.')}</p>"
    backend = f" Backend: {details['backend']}." if details.get("backend") else ""
    body = html_table(summary_columns(summary), scored, best=lambda row: row.name == "after")
    lines = "".join(f"<p>{both(line)}</p>" for line in result_lines(summary))
    said = "".join(f'<p class="warn">⚠ {both(model)}: {both(sentence)}</p>' for model, sentence in warnings_of(summary))
    return f"{body}{lines}{said}{soft('note', confidence=details.get('confidence', 0.95), backend=backend)}"


def answers(rows: Sequence[dict[str, Any]], toggle: dict[str, Any]) -> str:
    """Requests with their answers before, after and of the teacher: failures first, then some of every direction and era; a filter."""
    groups = sorted(chosen_rows(rows, REQUESTS), key=lambda group: not any(failed(row, toggle) for row in group))
    blocks = []
    for group in groups:
        about = " · ".join(str(group[0][key]) for key in ("direction", "era", "topic") if group[0].get(key))
        tags = [(row["style"], [(model, row, model) for model in MODELS], failed(row, toggle)) for row in group]
        blocks.append(html("sample", group[0]["request"], tags, toggle["target"], about))
    return "".join([html("filter", dict.fromkeys(tag_text(row["style"]) for row in rows)), *blocks]) if blocks else ""


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
    rows = [(f"{TEXTS['labels'][model]}: its two answers", part["pairs"]) for model, part in details.get("models", {}).items() if part]
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


def made(directory: Path, run: dict[str, Any], metrics: Sequence[dict[str, Any]]) -> str:
    """Command, code, packages, cost and times, the files, and the whole resolved config."""
    git, config = run.get("git") or {}, directory / "config.yaml"
    spent = {name: value for row in metrics for name, value in row.items() if name.startswith("perf/") and value is not None}
    clocks = [f"{name[5:-2]} {value:.0f} s" for name, value in spent.items() if name.endswith("_s")]
    tokens = [f"{spent['perf/tokens']:,} tokens"] if "perf/tokens" in spent else []
    facts = {
        "command": run.get("command"),
        "cost": ", ".join(tokens + clocks),
        "commit": git.get("commit") and f"{git['commit']}{' with uncommitted changes' if git.get('dirty') else ''}",
        "device": run.get("device"),
        "seed": run.get("seed"),
        "packages": ", ".join(f"{name} {version}" for name, version in (run.get("packages") or {}).items()),
        **{name: run.get(name) for name in ("started", "ended")},
    }
    known = [(name, code(str(fact))) for name, fact in facts.items() if fact not in (None, "")]
    known.append(("files", Cell("", html("files", [name for name in FILES if (directory / name).is_file()]), "")))
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    resolved = folded("config.yaml, resolved", f"<pre>{escape(text)}</pre>") if text else ""
    return html_table([Column("", lambda row: Cell("", both(row[0]), "")), Column("", lambda row: row[1])], known) + resolved
