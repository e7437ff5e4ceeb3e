"""What helps a student that never writes the style? Runs what is missing of a small study, then writes docs/cold_start.md.

    python benchmarks/cold_start.py                  30 runs, one after another; the same command goes on where it was
    python benchmarks/cold_start.py --pair smollm2   10 runs of the real model, at half the steps of its recipe
    python benchmarks/cold_start.py --minutes 25     at most so long; a run that is cut is resumed by the next call
    python benchmarks/cold_start.py --only-write     tables from the results that are there

The tiny student is that of model=tiny, built once more without the Joseon texts (`python -m gold_style.pairs.tiny --cold`), so that it
starts as a released model does: it never writes the style. Each variant is tried with seed 0, at several rates where that is cheap; the
best variants are repeated with two further seeds. The last four are added to the better one of the two plain ones. Guided rollouts and
evidence did not help and are not in the code any more: their runs were made at commit 87cd53c, and one that is missing needs it.
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
from collections.abc import Sequence
from dataclasses import dataclass
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
    "beta 0, over {ramp} steps to 0.3": ["loss.beta={from:0,to:0.3,steps:{ramp}}"],
    "warm start of {warm} steps": ["loss.beta={beta}", "loss.warm_start_steps={warm}"],
    "guided 0.5": ["loss.beta={beta}", "loss.guided_share=0.5"],
    "guided 0.5, evidence 0.1 nats": ["loss.beta={beta}", "loss.guided_share=0.5", "loss.evidence_nats=0.1"],
}
SEEDS = (0, 1, 2)
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Who is trained, and how often."""

    title: str
    given: tuple[str, ...]  # overrides of every run
    rates: dict[str, float]  # learning rates
    tried: tuple[float, ...]  # multiples of them, of which seed 0 chooses one for each variant
    ramp: int  # optimizer steps in which beta rises
    warm: int  # optimizer steps on teacher-written text
    repeated: int  # variants, the best with seed 0, that are run with the other seeds, too


PAIRS = {
    "tiny": Pair(
        title="The embedded pair, whose student has read no Joseon",
        given=SHORT,
        rates={"train.learning_rate": 2e-3, "model.recipe.muon_learning_rate": 0.01},
        tried=(1.0, 2.0, 4.0),
        ramp=40,
        warm=20,
        repeated=6,
    ),
    "smollm2": Pair(
        title="SmolLM2-135M-Instruct",
        given=(
            *("experiment=bard", "tracker=none", "train.max_steps=15", "train.warmup_steps=5", "prompts.eval_samples=64"),
            *("evaluation.every_steps=0", "evaluation.keep=last", "evaluation.misspelt=0", "evaluation.retention=null"),
        ),
        rates={"train.learning_rate": 2.5e-4},
        tried=(1.0,),
        ramp=10,
        warm=5,
        repeated=2,
    ),
}
EMPTY_PAGE = "# Cold start: a student that never writes the style\n\n<!-- study -->\n<!-- /study -->\n"


class OutOfTime(Exception):
    """The minutes are over; what was cut is resumed by the next call."""


class Study:
    """The runs under `root`, and their results as JSON lines in `file`."""

    def __init__(self, pair: Pair, root: Path, file: Path, minutes: float):
        self.pair, self.root, self.file, self.end = pair, root, file, time.monotonic() + 60 * minutes
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

    def student(self) -> list[str]:
        """The override that names the tiny student without its prior, built on first use."""
        if self.pair is not PAIRS["tiny"]:
            return []
        folder = self.root / "pair" / "tiny" / "student"
        if not (folder / "README.md").is_file():
            self.command(["-m", "gold_style.pairs.tiny", "--cold", "--output", str(self.root / "pair")])
        return [f"model.student={folder}"]

    def result(self, variant: str, overrides: list[str], rate: float, seed: int) -> dict:
        """What one run reached; run, or resumed, where it is not known."""
        cell = {"variant": variant, "overrides": overrides, "rate": rate, "seed": seed}
        known = next((row for row in self.results if cell.items() <= row.items()), None)
        if known:
            return known
        student, directory = self.student(), self.root / f"{hashlib.sha256(json.dumps(cell).encode()).hexdigest()[:12]}"
        rates = [f"{key}={value * rate:g}" for key, value in self.pair.rates.items()]
        given = [*self.pair.given, *student, *overrides, *rates, f"seed={seed}"]
        start = time.monotonic()
        if not (directory / "summary.json").is_file():
            self.command(["train.py", *given, f"output_dir={directory}", f"cache.dir={self.root / '.cache'}", "resume=auto"])
        run = read_run(directory)
        hits = {hashlib.sha256(request.encode()).hexdigest()[:8]: pair for request, pair in run.hits.items()}
        numbers = {name: run.after.get(name) for name in ("margin", "leakage", "content", "degenerate")}
        provenance = {"date": str(date.today()), "machine": processor(), "commit": run.state.get("git", {}).get("commit")}
        cell |= numbers | {"teacher": run.teacher_margin} | provenance | {"hits": hits}
        with open(self.file, "a") as lines:
            lines.write(json.dumps(cell, ensure_ascii=False) + "\n")
        self.results.append(cell)
        print(f"{variant}, rate x {rate:g}, seed {seed}: margin {number(cell['margin'])}, {time.monotonic() - start:.0f} s", flush=True)
        return cell

    def first(self, name: str, overrides: list[str]) -> tuple[str, list[str], list[dict]]:
        """A variant's name and overrides, and what it reached with the first seed at each rate."""
        words = {"{ramp}": self.pair.ramp, "{warm}": self.pair.warm}
        for word, value in words.items():
            name, overrides = name.replace(word, str(value)), [text.replace(word, str(value)) for text in overrides]
        return name, overrides, [self.result(name, overrides, rate, SEEDS[0]) for rate in self.pair.tried]

    def entries(self) -> list[Entry]:
        """Every variant at its best rate, the better plain one first; the best variants with every seed."""
        plain = sorted((self.first(*pair) for pair in PLAIN.items()), key=lambda found: -best(found)["margin"])
        beta = plain[0][1][0].partition("=")[2]
        found = plain + [self.first(name, [text.replace("{beta}", beta) for text in given]) for name, given in OTHERS.items()]
        repeated = sorted(found, key=lambda found: -best(found)["margin"])[: self.pair.repeated]
        return [self.entry(one, SEEDS if one in repeated else SEEDS[:1]) for one in found]

    def entry(self, found: tuple[str, list[str], list[dict]], seeds: Sequence[int]) -> Entry:
        name, overrides, tried = found
        rate = best(found)["rate"]
        rows = [self.result(name, overrides, rate, seed) for seed in seeds]
        runs = [SimpleNamespace(after=row, numbers=row, hits={key: tuple(pair) for key, pair in row["hits"].items()}) for row in rows]
        return Entry({"variant": name, "rate": rate, "tried": [row["margin"] for row in tried]}, runs)


def best(found: tuple[str, list[str], list[dict]]) -> dict:
    """What a variant reached at its best rate."""
    return max(found[2], key=lambda row: row["margin"])


def processor() -> str:
    """The processor's name, where the system says it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor() or platform.machine())


def text_of(name: str, entries: list[Entry]) -> str:
    """The table of a pair, and which variant beats the better plain one, from the figures."""
    pair = PAIRS[name]
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
        Column(f"seed 0 at x {', '.join(f'{rate:g}' for rate in pair.tried)}", lambda row: " ".join(map(number, row[0].settings["tried"]))),
        Column("p against the first", lambda row: row[1], right=True),
    ]
    used = [run.after for entry in entries for run in entry.runs]
    dates, machines = (sorted({row[name] for row in used}) for name in ("date", "machine"))
    return "\n".join(
        [
            f"## {pair.title}\n",
            f"`python benchmarks/cold_start.py --pair {name}`, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, one thread of "
            f"{', '.join(machines)}. Teacher's margin: {', '.join(sorted({number(row['teacher']) for row in used}))}. Seeds "
            f"{', '.join(map(str, SEEDS))} for the best {pair.repeated}, at the rate that was best with seed {SEEDS[0]}; every run: "
            f"`{' '.join(pair.given)}`. p: paired over requests, Holm; it says nothing about seeds.\n",
            markdown_table(columns, rows),
            *said,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    parser.add_argument("--pair", choices=PAIRS, default="tiny")
    parser.add_argument("--root", type=Path, default=ROOT / "multirun" / "cold_start", help="where student and runs go")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="where cold_start_<pair>.jsonl is")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "cold_start.md")
    parser.add_argument("--only-write", action="store_true", help="run nothing")
    given = parser.parse_args()
    texts = []
    for name, pair in PAIRS.items():
        minutes = given.minutes if name == given.pair and not given.only_write else 0
        root = (given.root / name).resolve()
        root.mkdir(parents=True, exist_ok=True)
        study = Study(pair, root, given.results / f"cold_start_{name}.jsonl", minutes)
        try:
            texts.append(text_of(name, study.entries()))
        except OutOfTime:
            missing = f"{len(study.results)} runs are done, others are missing: `python benchmarks/cold_start.py --pair {name}` continues."
            texts.append(f"## {pair.title}\n\n{missing}")
    text = "\n\n".join(texts)
    print(text)
    old = given.page.read_text(encoding="utf-8") if given.page.is_file() else EMPTY_PAGE
    write_text(given.page, MARKERS.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old))


if __name__ == "__main__":
    main()
