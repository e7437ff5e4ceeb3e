"""report.html of one run, drawn from the files in its directory alone, also of a run that stopped half-way.

Nothing is loaded from the network, and everything a model or a user wrote is escaped.

    path = write_report(Path("multirun/2026-11-22/10-00-00/0"))
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from gold_style.measure.samples import MODELS
from gold_style.runs.files import read_json, read_json_lines, write_text
from gold_style.show.curves import metric_charts
from gold_style.show.page import folded, number, page, section, table, verdict_badge, warning, with_interval
from gold_style.show.tables import LABELS, chosen_rows, gap_line, scored_models, toggle_of

SHARES = ("chosun_rate", "leakage", "margin", "content", "joint", "degenerate")
SLICE = {  # key of a slice of the details -> heading
    "target_rate": "{target}",
    "style_rate": "asked style",
    "strict_style_rate": "every sentence",
    "content": "content",
    "joint": "joint",
    "accepted_level": "fitting level",
    "ambiguous": "ambiguous",
    "degenerate": "degenerate",
    "copied": "copied",
    "unfinished": "unfinished",
    "tokens": "tokens",
}
BRIEF = ("target_rate", "style_rate", "accepted_level", "content", "joint", "ambiguous")  # columns of a split
NOTE = (
    "{confidence:.0%} intervals over requests. Rates are per answer and leave out ambiguous ones; degenerate answers "
    "are failures. Content: the answer names the request's topic. Joint: style, content, neither degenerate nor a copy "
    "of the request, per answer, then averaged. Verdicts come from a classifier of sentence endings that takes period "
    "drama as its norm: a scholarly translation that ends in 입니다 counts as modern."
)
SHOWN_REQUESTS, FOLDED_REQUESTS = 6, 250  # side by side at once, and behind a click


def write_report(run_directory: Path | str) -> Path:
    """Write report.html into a run's directory and return its path. What a run has not written is left out."""
    directory = Path(run_directory)
    path = directory / "report.html"
    write_text(path, report_html(directory))
    return path


def report_html(directory: Path) -> str:
    """The page of one run."""
    summary, run = read_json(directory / "summary.json") or {}, read_json(directory / "run.json") or {}
    metrics, rows = list(read_json_lines(directory / "metrics.jsonl")), list(read_json_lines(directory / "samples.jsonl"))
    config = directory / "config.yaml"
    toggle, details = toggle_of(summary), summary.get("details", {})
    tags = {model: (behind or {}).get("tags", {}) for model, behind in details.get("models", {}).items()}
    return page(
        f"{title(directory)} · gold_style",
        [
            heading(directory, run, summary),
            section("Did it learn the style?", headline(summary)),
            section("Curves", wrapped(metric_charts(metrics, toggle))),
            section("Answers side by side", sample_blocks(rows, toggle["target"])),
            section("By tag", slices(tags, toggle)),
            section("By direction of address", split_slices("directions", details, toggle)),
            section("By era of the topic", split_slices("eras", details, toggle)),
            section("Pairs and forgetting", overlaps(details)),
            section("How it was made", made(run, config)),
        ],
    )


def title(directory: Path) -> str:
    """The last three parts of the path: date, time and number of a run under multirun/."""
    return "/".join(directory.resolve().parts[-3:])


def heading(directory: Path, run: dict[str, Any], summary: dict[str, Any]) -> str:
    """Name, state and size of the run."""
    status = run.get("status") or summary.get("status") or "unknown"
    facts = [f"status: {status}"]
    if summary.get("steps") is not None:
        facts.append(f"{summary['steps']} steps in {summary.get('train_seconds', 0):.0f} s")
    facts += [str(run[key]) for key in ("started", "device") if run.get(key)]
    reason = run.get("reason") or run.get("error")
    stopped = warning(f"The run is {status}: {reason}") if reason and status != "completed" else ""
    return f"<h1>{escape(title(directory))}</h1><p class=soft>{escape(' · '.join(facts))}</p>{stopped}"


def headline(summary: dict[str, Any]) -> str:
    """The table of the run with intervals, gap closed, warnings, and what the columns mean."""
    scored = list(scored_models(summary))
    if not scored:
        return "<p>Nothing was scored: no summary yet, or no requests were held out.</p>"
    toggle, details = toggle_of(summary), summary.get("details", {})
    target, first, neutral = (escape(toggle[key]) for key in ("target", "first", "neutral"))
    heads = ["", f"{target} under &lt;style:{first}&gt;", f"leakage under &lt;style:{neutral}&gt;", *SHARES[2:]]
    rows = [
        [
            escape(LABELS.get(name, (name,))[0]),
            *(with_interval(scores[key], intervals.get(key)) for key in SHARES),
            number(scores["ambiguous"]),
            str(scores["prompts"]),
        ]
        for name, scores, intervals in scored
    ]
    marked = ["best" if name == "after" else "" for name, _, _ in scored]
    said = "".join(
        warning(f"{LABELS[model][0]}: {sentence}") for model, sentences in details.get("warnings", {}).items() for sentence in sentences
    )
    note = NOTE.format(confidence=details.get("confidence", 0.95))
    if details.get("backend"):
        note += f" Backend: {details['backend']}."
    body = table([*heads, "ambiguous", "prompts"], rows, numbers=range(1, 9), row_class=marked)
    return f"{body}<p>{escape(gap_line(summary))}</p>{said}<p class=soft>{escape(note)}</p>"


def wrapped(figures: Sequence[str]) -> str:
    """Figures in a grid, the first four at once and the others behind a click."""
    if not figures:
        return ""
    more = f"<div class=grid-2>{''.join(figures[4:])}</div>"
    return f"<div class=grid-2>{''.join(figures[:4])}</div>" + (folded(f"{len(figures) - 4} more", more) if figures[4:] else "")


def sample_blocks(rows: Sequence[dict[str, Any]], target: str) -> str:
    """Requests with their answers: some of every direction and era at once, the others behind a click."""
    groups = chosen_rows(rows, SHOWN_REQUESTS + FOLDED_REQUESTS)
    blocks = [sample_block(group, target) for group in groups]
    rest = blocks[SHOWN_REQUESTS:]
    return "".join(blocks[:SHOWN_REQUESTS]) + (folded(f"{len(rest)} more requests", "".join(rest)) if rest else "")


def sample_block(group: Sequence[dict[str, Any]], target: str) -> str:
    """One request under every tag: before, after and teacher side by side with their verdicts."""
    parts = []
    for row in group:
        tag = "untagged" if row["style"] is None else f"<style:{row['style']}>"
        cells = [
            f"<div><small class=soft>{model}</small> {verdict_badge(row.get(f'verdict_{model}'), target)}"
            f"<p>{escape(row[model]) or '<span class=soft>(empty)</span>'}</p></div>"
            for model in MODELS
            if row.get(model) is not None
        ]
        parts.append(f"<code>{escape(tag)}</code><div class=answers>{''.join(cells)}</div>")
    known = [str(group[0][key]) for key in ("direction", "era", "topic") if group[0].get(key)]
    about = f" <span class=soft>{escape(' · '.join(known))}</span>" if known else ""
    return f"<div class=sample><p><b>{escape(group[0]['request'])}</b>{about}</p>{''.join(parts)}</div>"


def split_slices(name: str, details: dict[str, Any], toggle: dict[str, Any]) -> str:
    """A table per value of `directions` or `eras`."""
    models = details.get("models", {})
    values = dict.fromkeys(value for model in models.values() if model for value in model.get(name, {}))
    parts = {value: {model: (behind or {}).get(name, {}).get(value, {}) for model, behind in models.items()} for value in values}
    return "".join(f"<h3>{escape(value)}</h3>{slices(tags, toggle, BRIEF)}" for value, tags in parts.items())


def slices(parts: dict[str, dict[str, Any]], toggle: dict[str, Any], keys: Sequence[str] = tuple(SLICE)) -> str:
    """A row per model and tag, of {model: {tag: slice of the details}}, with the columns `keys`."""
    rows = []
    for model, tags in parts.items():
        for tag, part in tags.items():
            cells = [with_interval(part["target_rate"], part["target_interval"], 2)]
            cells += [number(part[key], 1 if key == "tokens" else 2) for key in keys[1:]]
            rows.append([escape(LABELS[model][0]), escape(tag), str(part["answers"]), *cells, escape(levels_text(part))])
    heads = ["model", "tag", "answers", *(escape(SLICE[key].format(target=toggle["target"])) for key in keys)]
    return table([*heads, "speech levels"], rows, numbers=range(2, 3 + len(keys)), kind="dense") if rows else ""


def levels_text(part: dict[str, Any]) -> str:
    """The most frequent speech levels of a slice."""
    return ", ".join(f"{level} {share:.0%}" for level, share in list(part["levels"].items())[:3])


def overlaps(details: dict[str, Any]) -> str:
    """What the two answers of a request share, and how far the neutral answers have moved."""
    keys = ("requests", "chrf", "lemma_overlap", "identical")
    named = [(f"{LABELS[model][0]}: its two answers", part["pairs"]) for model, part in details.get("models", {}).items() if part]
    if details.get("forgetting"):
        named.append(("neutral answers, after against before", details["forgetting"]))
    rows = [[escape(name), str(part["requests"]), *(number(part[key]) for key in keys[1:])] for name, part in named]
    heads = ["", "requests", "chrF", "lemma overlap", "identical"]
    return table(heads, rows, numbers=range(1, 5)) if rows else ""


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
    rows = [[escape(name), f"<code>{escape(str(fact))}</code>"] for name, fact in facts.items() if fact not in (None, "")]
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    resolved = folded("config.yaml, resolved", f"<pre>{escape(text)}</pre>") if text else ""
    return (table(["", ""], rows) if rows else "") + resolved
