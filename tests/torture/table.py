"""docs/reliability.json -> the table between the marks of docs/reliability.md. `python -m tests.torture.table` draws it again."""

import json
from collections import Counter
from pathlib import Path

BEGIN, END = "<!-- table -->", "<!-- /table -->"


def write_table(report: dict, page: Path) -> None:
    """Replace what is between the marks of `page`."""
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{table(report)}\n{END}{tail}", encoding="utf-8")


def table(report: dict) -> str:
    """Markdown: one line per trial, then how the kills were spread and what the bad input was."""
    results = report["results"]
    dates, seeds = ("/".join(sorted({str(line[key]) for line in results})) for key in ("date", "seed"))
    whole = report.get("whole")
    how = "trial by trial"
    if whole:
        cores = f"{whole['cores']} core{'s' * (whole['cores'] > 1)}"
        how = f"in {whole['seconds'] / 60:.0f} minutes on {cores}, {whole['workers']} trials side by side"
    lines = [
        f"Tried on {dates} by `{report['command']}` {how}, seed {seeds}. Every event is in [reliability.json](reliability.json).",
        "",
        "| trial | what was done to it | how often | lost |",
        "|---|---|---:|---|",
    ]
    for result in results:
        what, times = done_to(result)
        lines.append(f"| {result['name']} | {what} | {times} | {'; '.join(result['lost']) or 'nothing'} |")
    killed = Counter(event["phase"] for result in results for event in result["events"] if event.get("killed"))
    spread = ", ".join(f"{phase} {number}" for phase, number in killed.most_common())
    return "\n".join([*lines, "", f"{killed.total()} runs were killed with SIGKILL: {spread}."])


def done_to(result: dict) -> tuple[str, int]:
    """What happened in a trial, as a phrase, and how often."""
    events = result["events"]
    if "kills" in events[0]:
        return f"SIGKILL of a process that only writes checkpoints ({events[0]['checkpoints']} written)", events[0]["kills"]
    if result["part"] == "kills":
        killed = [event for event in events if event.get("killed")]
        return f"SIGKILL in {', '.join(event['phase'] for event in killed)}; resumed each time", len(killed)
    if result["part"] == "teacher":
        return f"SIGKILL of {', '.join(event['phase'] for event in events)}; the run resumed", len(events)
    if result["part"] == "signals":
        return f"{', '.join(event['signal'] + ' in ' + event['phase'] for event in events)}; resumed each time", len(events)
    if result["part"] == "disk":
        failed = [event for event in events if event["code"]]
        sizes = ", ".join(f"{event['bytes'] / 1e6:.1f}" for event in failed)
        return f"{failed[0]['disk']} of {sizes} MB ran full; resumed each time with more room", len(failed)
    if result["part"] == "tracker":
        return f"W&B server: {', '.join(event['server'] for event in events)}", len(events)
    cases = Counter()
    for event in events:
        cases[event["kind"].partition(":")[0].partition(",")[0]] += event["cases"]
    kinds = ", ".join(f"{number:,} {kind}s" if kind != "file of rows" else f"{number:,} files of rows" for kind, number in cases.items())
    return f"{kinds}: each accepted or refused with a message", cases.total()


if __name__ == "__main__":
    DOCS = Path(__file__).resolve().parents[2] / "docs"
    write_table(json.loads((DOCS / "reliability.json").read_text(encoding="utf-8")), DOCS / "reliability.md")
