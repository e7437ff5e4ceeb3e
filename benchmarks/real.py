"""Runs `experiment=bard` with the seeds that are missing, keeps what each reached and cost, and writes docs/real.md.

    python benchmarks/real.py              seeds 0, 1 and 2, a quarter of an hour each on two otherwise idle cores
    python benchmarks/real.py --seeds 1    only that one; the page says which are missing
    python benchmarks/real.py --seeds      no run: the page from the results that are there

Needs the unpacked model: `make real` installs and unpacks it, and trains with seed 0.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

from cells import RESULTS as FOLDER
from cells import ROOT, entry_of, hits_of, write_page

from gold_style.comparison.leaderboard import Entry
from gold_style.comparison.records import read_run
from gold_style.runs.files import read_json_lines, write_text
from gold_style.show.command import markdown
from gold_style.show.tables import Column, markdown_table, share

SEEDS = (0, 1, 2)
RESULTS = FOLDER / "real_cpu.jsonl"
ANSWERS = FOLDER / "real_cpu.md"  # table and answers of the first seed
PAGE = ROOT / "docs" / "real.md"


def run(seed: int, directory: Path) -> dict:
    """What a run with this seed reached, minutes of its whole command and gigabytes of its peak memory."""
    command = [sys.executable, "train.py", "experiment=bard", f"seed={seed}", f"output_dir={directory}"]
    start = time.monotonic()
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        raise SystemExit(f"{' '.join(command)}: exit code {code}")
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    cost = {"minutes": round((time.monotonic() - start) / 60, 1), "peak_gb": round(peak_bytes / 1e9, 2)}
    found = read_run(directory)
    if seed == SEEDS[0]:
        write_text(ANSWERS, markdown(directory))
    parts = {name: found.summary[name] for name in ("before", "after", "teacher", "steps")}
    details = {name: found.summary["details"][name] for name in ("retention", "verdict")}
    provenance = {"date": str(date.today()), "device": found.state["device"], "commit": found.state["git"]["commit"]}
    return {"seed": seed} | cost | provenance | parts | details | {"hits": hits_of(found)}


def entry(rows: list[dict]) -> Entry:
    return entry_of([row["after"] | {"hits": row["hits"]} for row in rows])


def text_of(rows: list[dict]) -> str:
    """The table, one line a seed and one for all of them."""
    lines = [(str(row["seed"]), entry([row]), [row]) for row in rows]
    if len(rows) > 1:
        lines.append(("all", entry(rows), rows))

    def mean(name: str, form: str = ".2f"):
        return lambda line: format(sum(numbers(row)[name] for row in line[2]) / len(line[2]), form)

    def change(name: str, *of: str):
        return lambda line: " ".join(mean(f"{model}/{name}")(line) for model in of)

    columns = [
        Column("seed", lambda line: line[0], right=True),
        Column("margin", lambda line: share(line[1].margin, line[1].interval)),
        Column("teacher's", mean("teacher/margin"), right=True),
        Column("leakage", mean("after/leakage"), right=True),
        Column("untagged", mean("after/untagged"), right=True),
        Column("content before, after", change("content", "before", "after")),
        Column("degenerate after, teacher", change("degenerate", "after", "teacher")),
        Column("bits per byte", mean("bits", "+.1%"), right=True),
        Column("choices before, after", change("choice", "before", "after")),
        Column("minutes", mean("minutes", ".0f"), right=True),
        Column("peak GB", mean("peak_gb", ".1f"), right=True),
    ]
    missing = [str(seed) for seed in SEEDS if seed not in {row["seed"] for row in rows}]
    said = f"Seeds that are missing: {', '.join(missing)}." if missing else ""
    devices, dates = (", ".join(sorted({row[name] for row in rows})) for name in ("device", "date"))
    head = f"`python benchmarks/real.py`, {dates}, {devices}; 128 requests a tag, {rows[0]['steps']} steps. {said}".rstrip()
    return f"{head}\n\n{markdown_table(columns, lines)}\nSeed {SEEDS[0]}:\n\n{ANSWERS.read_text(encoding='utf-8')}".rstrip() + "\n"


def numbers(row: dict) -> dict[str, float]:
    """What the table says of one run."""
    measured = {f"{model}/{name}": row[model][name] for model in ("before", "after", "teacher") for name in row["after"]}
    bits, choice = row["retention"]["bits_per_byte"], row["retention"]["choice"]
    kept = {"bits": bits["change"] / bits["before"], "before/choice": choice["before"], "after/choice": choice["after"]}
    return row | measured | kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="*", choices=SEEDS, default=SEEDS)
    parser.add_argument("--root", type=Path, default=ROOT / "multirun" / "real", help="where the runs go")
    given = parser.parse_args()
    rows = list(read_json_lines(RESULTS)) if RESULTS.is_file() else []
    for seed in given.seeds:
        if seed not in {row["seed"] for row in rows}:
            rows.append(run(seed, (given.root / f"seed{seed}_{os.getpid()}").resolve()))
            rows.sort(key=lambda row: row["seed"])
            write_text(RESULTS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    text = text_of(rows) if rows else "No seed has been run yet.\n"
    write_page(PAGE, text)
    print(text)


if __name__ == "__main__":
    main()
