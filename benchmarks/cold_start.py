"""What helps a student that never writes the style? Runs what is missing of a small study, then writes docs/cold_start.md.

    python benchmarks/cold_start.py                  30 runs, one after another; the same command goes on where it was
    python benchmarks/cold_start.py --minutes 25     at most so long; a run that is cut is resumed by the next call
    python benchmarks/cold_start.py --only-write     tables from the results that are there

The student is that of model=tiny, built once more without the Joseon texts (`python -m gold_style.pairs.tiny --cold`), so that it
starts as a released model does: it never writes the style. Each variant is tried at three rates with seed 0, and at the best of them
with two further seeds. The last three variants are added to the better one of the two plain ones, which need no code of their own.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from study import INTERRUPTED, SHORT  # noqa: E402
from study_page import MARKERS  # noqa: E402

from gold_style.comparison.leaderboard import Entry, difference_p, p_text  # noqa: E402
from gold_style.comparison.records import read_run  # noqa: E402
from gold_style.measure.statistics import holm  # noqa: E402
from gold_style.runs.files import read_json_lines, write_text  # noqa: E402
from gold_style.show.tables import Column, markdown_table, number, share  # noqa: E402

PLAIN = {"on-policy, beta 0": ["loss.beta=0"], "on-policy, beta 0.3": ["loss.beta=0.3"]}
OTHERS = {  # {beta}: of the better plain one
    "beta 0, over 40 steps to 0.3": ["loss.beta={from:0,to:0.3,steps:40}"],
    "warm start of 20 steps": ["loss.beta={beta}", "loss.warm_start_steps=20"],
    "guided 0.5": ["loss.beta={beta}", "loss.guided_share=0.5"],
    "guided 0.5, evidence 0.1 nats": ["loss.beta={beta}", "loss.guided_share=0.5", "loss.evidence_nats=0.1"],
}
RATES = (1.0, 2.0, 4.0)  # of the pair's two learning rates: Muon's and AdamW's
PAIR_RATES = {"train.learning_rate": 2e-3, "model.recipe.muon_learning_rate": 0.01}
SEEDS = (0, 1, 2)
ALPHA = 0.05
EMPTY_PAGE = "# Cold start: a student that never writes the style\n\n<!-- study -->\n<!-- /study -->\n"


class OutOfTime(Exception):
    """The minutes are over; what was cut is resumed by the next call."""


class Study:
    """The runs under `root`, and their results as JSON lines in `file`."""

    def __init__(self, root: Path, file: Path, minutes: float):
        self.root, self.file, self.end = root, file, time.monotonic() + 60 * minutes
        self.results = list(read_json_lines(file)) if file.is_file() else []

    def command(self, words: list[str]) -> None:
        """One of the project's commands on one thread, ended in order when time is up. Raises OutOfTime then."""
        if time.monotonic() >= self.end:
            raise OutOfTime
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with open(self.root / "console.txt", "a") as console:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=environment, stdout=console, stderr=console, start_new_session=True
            )
            try:
                code = process.wait(min(self.end - time.monotonic(), 10**6))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                os.killpg(process.pid, signal.SIGTERM)  # its own processes, too
                process.wait()
                raise OutOfTime from None
        if code in INTERRUPTED:
            raise OutOfTime
        if code:
            raise SystemExit(f"{' '.join(words)}: exit code {code}; see {self.root / 'console.txt'}")

    def student(self) -> Path:
        """The student without its prior, built on first use."""
        folder = self.root / "pair" / "tiny" / "student"
        if not (folder / "README.md").is_file():
            self.command(["-m", "gold_style.pairs.tiny", "--cold", "--output", str(self.root / "pair")])
        return folder

    def result(self, variant: str, overrides: list[str], rate: float, seed: int) -> dict:
        """What one run reached; run, or resumed, where it is not known."""
        cell = {"variant": variant, "overrides": overrides, "rate": rate, "seed": seed}
        known = next((row for row in self.results if cell.items() <= row.items()), None)
        if known:
            return known
        student, directory = self.student(), self.root / f"{hashlib.sha256(json.dumps(cell).encode()).hexdigest()[:12]}"
        rates = [f"{key}={value * rate:g}" for key, value in PAIR_RATES.items()]
        given = [*SHORT, f"model.student={student}", *overrides, *rates, f"seed={seed}"]
        start = time.monotonic()
        if not (directory / "summary.json").is_file():
            self.command(["train.py", *given, f"output_dir={directory}", f"cache.dir={self.root / '.cache'}", "resume=auto"])
        run = read_run(directory)
        hits = {hashlib.sha256(request.encode()).hexdigest()[:8]: pair for request, pair in run.hits.items()}
        numbers = {name: run.after.get(name) for name in ("margin", "leakage", "content", "degenerate")}
        provenance = {"date": str(date.today()), "machine": processor(), "commit": run.state.get("git", {}).get("commit")}
        cell |= numbers | {"teacher": run.teacher_margin, "seconds": round(run.numbers["seconds"])} | provenance | {"hits": hits}
        with open(self.file, "a") as lines:
            lines.write(json.dumps(cell, ensure_ascii=False) + "\n")
        self.results.append(cell)
        print(f"{variant}, rate x {rate:g}, seed {seed}: margin {number(cell['margin'])}, {time.monotonic() - start:.0f} s", flush=True)
        return cell

    def variant(self, name: str, overrides: list[str]) -> Entry:
        """A variant at its best rate over all seeds; that rate is chosen by seed 0."""
        tried = [self.result(name, overrides, rate, SEEDS[0]) for rate in RATES]
        best = max(tried, key=lambda row: row["margin"] if row["margin"] is not None else -math.inf)
        rows = [self.result(name, overrides, best["rate"], seed) for seed in SEEDS]
        runs = [SimpleNamespace(after=row, numbers=row, hits={key: tuple(pair) for key, pair in row["hits"].items()}) for row in rows]
        return Entry({"variant": name, "rate": best["rate"], "tried": [row["margin"] for row in tried]}, runs)

    def entries(self) -> list[Entry]:
        """Every variant, the better plain one first."""
        plain = sorted((self.variant(*pair) for pair in PLAIN.items()), key=lambda entry: -(entry.margin or 0))
        beta = PLAIN[plain[0].settings["variant"]][0].partition("=")[2]
        return plain + [self.variant(name, [text.replace("{beta}", beta) for text in given]) for name, given in OTHERS.items()]


def processor() -> str:
    """The processor's name, where the system says it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor() or platform.machine())


def text_of(entries: list[Entry]) -> str:
    """The table, and which variant beats the better plain one, from the figures."""
    plain, *others = entries
    p_values = holm([difference_p(plain.contributions(), entry.contributions()) for entry in others])
    said, rows = [], [(plain, "")]
    for entry, p in zip(others, p_values, strict=True):
        sure, better = p is not None and p < ALPHA, (entry.margin or 0) > (plain.margin or 0)
        word = ("beats" if better else "is worse than") if sure else "cannot be told apart from"
        said.append(f"- {entry.settings['variant']} {word} {plain.settings['variant']} (p {p_text(p)})")
        rows.append((entry, p_text(p)))
    columns = [
        Column("variant", lambda row: row[0].settings["variant"]),
        Column("margin [95 %]", lambda row: share(row[0].margin, row[0].interval)),
        Column("of the seeds", lambda row: " ".join(number(run.after["margin"]) for run in row[0].runs)),
        Column("leakage", lambda row: share(row[0].mean("leakage")), right=True),
        Column("content", lambda row: share(row[0].mean("content")), right=True),
        Column("rate", lambda row: f"x {row[0].settings['rate']:g}", right=True),
        Column(f"seed 0 at x {', '.join(f'{rate:g}' for rate in RATES)}", lambda row: " ".join(map(number, row[0].settings["tried"]))),
        Column("s", lambda row: f"{row[0].mean('seconds'):.0f}", right=True),
        Column("p against the first", lambda row: row[1], right=True),
    ]
    used = [run.after for entry in entries for run in entry.runs]
    dates, machines = (sorted({row[name] for row in used}) for name in ("date", "machine"))
    return "\n".join(
        [
            f"`python benchmarks/cold_start.py`, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, one thread of {', '.join(machines)}. "
            f"Teacher's margin: {', '.join(sorted({number(row['teacher']) for row in used}))}. "
            f"{len(SEEDS)} seeds at the rate that was best with seed {SEEDS[0]}; every run: `{' '.join(SHORT)}`. "
            "p: paired over requests, Holm; it says nothing about seeds.\n",
            markdown_table(columns, rows),
            *said,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    parser.add_argument("--root", type=Path, default=ROOT / "multirun" / "cold_start", help="where student and runs go")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "cold_start_tiny.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "cold_start.md")
    parser.add_argument("--only-write", action="store_true", help="run nothing")
    given = parser.parse_args()
    given.root.mkdir(parents=True, exist_ok=True)
    study = Study(given.root.resolve(), given.results, 0 if given.only_write else given.minutes)
    try:
        text = text_of(study.entries())
    except OutOfTime:
        print(f"{len(study.results)} runs are done, others are missing: call again to go on")
        return
    print(text)
    old = given.page.read_text(encoding="utf-8") if given.page.is_file() else EMPTY_PAGE
    write_text(given.page, MARKERS.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old))


if __name__ == "__main__":
    main()
