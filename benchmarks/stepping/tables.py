"""Writes the benchmark's figures into docs/speed.md, between `<!-- bench -->` and `<!-- /bench -->`.

python benchmarks/stepping/tables.py      # reads benchmarks/results/step_cpu.json and step_cpu_rounds.json
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS, DETAILS = (ROOT / "benchmarks" / "results" / name for name in ("step_cpu.json", "step_cpu_rounds.json"))
PAGE = ROOT / "docs" / "speed.md"
HEAD = (
    "vocabulary",
    "system tokens",
    "rows a step",
    "stock, s",
    "stable*, s",
    "ours, s",
    "faster than stock",
    "than stable",
    "peak MB stock / ours",
    "share of the floor",
    "rounds",
)
NOTE = "Measured {date} on {machine}, {threads} thread, fp32, torch {torch}, trl {trl}. Medians, also of each round's ratio."


def table(rows: list[dict], details: list[dict]) -> str:
    """Markdown: a line a row, and what it was measured on."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---:|" * len(HEAD)]
    lines += ["| " + " | ".join(_cells(row, detail)) + " |" for row, detail in zip(rows, details, strict=True)]
    by_machine: dict[tuple, list[dict]] = {}
    for detail in details:
        by_machine.setdefault((detail["machine"], detail["threads"], *detail["versions"].values()), []).append(detail)
    for measured in by_machine.values():
        which = "" if len(by_machine) == 1 else f"{', '.join(dict.fromkeys(map(_vocabulary, measured)))}: "
        lines += ["", which + NOTE.format(**{**measured[-1], **measured[-1]["versions"]})]
    return "\n".join(lines)


def _vocabulary(detail: dict) -> str:
    return f"{detail['vocab']:,}" + (" (SmolLM2)" if detail.get("pair") == "smollm2" else "")


def _cells(row: dict, detail: dict) -> list[str]:
    def number(key: str, form: str) -> str:
        return "" if row[key] is None else form.format(row[key])

    peaks = "" if row["stock_peak_mb"] is None or row["ours_peak_mb"] is None else f"{row['stock_peak_mb']:.0f} / {row['ours_peak_mb']:.0f}"
    return [
        _vocabulary(detail),
        f"{row['system_tokens']:,}",
        str(row["window"]),
        number("stock_s", "{:.1f}"),
        number("stable_s", "{:.1f}"),
        number("ours_s", "{:.1f}"),
        number("ratio_stock", "**{:.1f}x**"),
        number("ratio_stable", "{:.1f}x"),
        peaks,
        number("floor_fraction", "{:.0%}"),
        str(row["rounds"]),
    ]


def main() -> None:
    rows, details = json.loads(ROWS.read_text()), json.loads(DETAILS.read_text())
    block = f"<!-- bench -->\n{table(rows, details)}\n<!-- /bench -->"
    changed, found = re.subn(r"<!-- bench -->.*?<!-- /bench -->", lambda _: block, PAGE.read_text(), flags=re.DOTALL)
    if not found:
        sys.exit(f"{PAGE}: no block between <!-- bench --> and <!-- /bench -->")
    PAGE.write_text(changed)
    print(PAGE)


if __name__ == "__main__":
    main()
