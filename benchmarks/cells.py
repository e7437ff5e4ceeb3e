"""The cells of a study: runs of train.py on one thread, each kept as a JSON line, and the page that is written from the lines.

cells = Cells(SHORT, TINY_RATES, root=Path("multirun/study"), file=Path("study.jsonl"), minutes=25)
cells.result("forward KL", ["loss.beta=0"], rate=1.0, seed=0)     # from the file, else run (or resumed) and added to it
"""

import argparse
import hashlib
import json
import math
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gold_style.comparison.leaderboard import Entry  # noqa: E402
from gold_style.comparison.records import RunRecord, read_run  # noqa: E402
from gold_style.runs.files import read_json_lines, write_text  # noqa: E402
from gold_style.runs.run_directory import status_of  # noqa: E402
from gold_style.show.tables import number  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
MARKERS = re.compile(r"(<!-- study -->\n).*?(<!-- /study -->)", re.DOTALL)
INTERRUPTED, REFUSED = (130, 138, 143, -15), 2  # exit codes: after a signal, to be resumed; settings that this code does not know
SHORT = (  # shorter than the default run: at its 160 steps nearly every setting ends at the ceiling, and nothing can be told apart
    *("train.max_steps=80", "prompts.eval_samples=64", "evaluation.misspelt=0", "evaluation.every_steps=0"),
    *("tracker=none", "hardware=cpu", "hardware.threads=1"),
)
REAL = (  # SmolLM2-135M-Instruct at fewer steps than its recipe has
    *("experiment=bard", "train.max_steps=15", "train.warmup_steps=5", "prompts.eval_samples=64", "evaluation.misspelt=0"),
    *("evaluation.every_steps=0", "evaluation.keep=last", "tracker=none"),
)
REAL_RATES = {"train.learning_rate": 2.5e-4}
TINY_RATES = {"train.learning_rate": 2e-3, "model.recipe.muon_learning_rate": 0.01}
NUMBERS = ("margin", "leakage", "untagged", "content", "degenerate", "bits_percent", "choice_change", "kl_nats", "neutral_chrf")


class Cell(NamedTuple):
    """One run of a study, whatever all its runs share left out."""

    variant: str
    overrides: tuple[str, ...] = ()
    rate: float = 1.0  # multiple of the pair's learning rates
    seed: int = 0


class OutOfTime(Exception):
    """The minutes are over; what was cut is resumed by the next call."""


class Cells:
    """The runs under `root`, and their results as JSON lines in `file`. `refused`: cells whose settings this code does not know."""

    def __init__(
        self, given: Sequence[str], rates: dict[str, float], root: Path, file: Path, minutes: float = 0.0, through: Sequence[str] = ()
    ):
        self.given, self.rates, self.root, self.file, self.through = given, rates, root.resolve(), file, through
        self.end = time.monotonic() + 60 * minutes
        self.results = list(read_json_lines(file)) if file.is_file() else []
        self.refused: list[Cell] = []

    def shared(self) -> Sequence[str]:
        """Overrides of every run."""
        return self.given

    def known(self, cell: Cell) -> dict[str, Any] | None:
        """What a run reached, where that is known."""
        wanted = {**cell._asdict(), "overrides": list(cell.overrides)}
        return next((row for row in self.results if wanted.items() <= row.items()), None)

    def rows(self, cell: Cell, seeds: Iterable[int]) -> list[dict[str, Any]]:
        """What is known of a cell with these seeds."""
        return [row for seed in seeds if (row := self.known(cell._replace(seed=seed))) is not None]

    def result(self, cell: Cell) -> dict[str, Any]:
        """What a run reached; run, or resumed, where that is not known. Raises OutOfTime if it is cut, ValueError if it is refused."""
        if known := self.known(cell):
            return known
        self.root.mkdir(parents=True, exist_ok=True)
        row: dict[str, Any] = {**cell._asdict(), "overrides": list(cell.overrides)}
        directory = self.root / hashlib.sha256(json.dumps(row).encode()).hexdigest()[:12]
        rates = [f"{key}={value * cell.rate:g}" for key, value in self.rates.items()]
        start, fresh, spent = time.monotonic(), not directory.exists(), cpu_seconds()
        given = [*self.shared(), *cell.overrides, *rates, f"seed={cell.seed}"]
        if status_of(directory) == "failed":
            shutil.rmtree(directory)  # it cannot be resumed
        if not (directory / "summary.json").is_file():
            try:
                self.command(["train.py", *given, f"output_dir={directory}", f"cache.dir={self.root / '.cache'}", "resume=auto"])
            except SystemExit:
                if "NonFinite" not in (read_run(directory).reason or ""):
                    raise  # a run that diverged is a result: without a margin
        run = read_run(directory)
        row |= {name: run.numbers.get(name) for name in NUMBERS} | {"teacher": run.teacher_margin}
        row |= {"cpu_s": round(cpu_seconds() - spent, 1) if fresh else None, "date": str(date.today()), "machine": processor()}
        row |= {"commit": run.state.get("git", {}).get("commit"), "hits": hits_of(run)}
        with open(self.file, "a") as lines:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.results.append(row)
        took = f"{time.monotonic() - start:.0f} s"
        print(f"{cell.variant}, rate x {cell.rate:g}, seed {cell.seed}: margin {number(row['margin'])}, {took}", flush=True)
        return row

    def command(self, words: Sequence[str]) -> None:
        """One of the project's commands on one thread, ended in order when time is up. Raises OutOfTime then, ValueError if refused."""
        if time.monotonic() >= self.end:
            raise OutOfTime
        with open(self.root / "console.txt", "a") as console:
            process = subprocess.Popen(
                [*self.through, sys.executable, *words],
                **{"cwd": ROOT, "stdout": console, "stderr": console, "start_new_session": True},
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            try:
                code = process.wait(min(self.end - time.monotonic(), 10**6))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                os.killpg(process.pid, signal.SIGTERM)  # its own processes, too
                process.wait()
                raise OutOfTime from None
        if code in INTERRUPTED:
            raise OutOfTime
        if code == REFUSED:
            raise ValueError(" ".join(words))
        if code:
            raise SystemExit(f"{' '.join(words)}: exit code {code}; see {self.root / 'console.txt'}")


def run_all(plan: Iterable[tuple[Cells, Cell]]) -> None:
    """Every run of a plan that is not known yet, in its order, until time is up; one that is refused is left out."""
    for cells, cell in plan:
        try:
            if cell not in cells.refused:
                cells.result(cell)
        except ValueError:
            cells.refused.append(cell)
            print(f"{cell.variant}: refused; see {cells.root / 'console.txt'}", flush=True)
        except OutOfTime:
            break


def missing_text(plan: Iterable[tuple[Cells, Cell]]) -> str:
    """How many runs of a plan are not known: "4 of jsd, 2 of forward KL"; empty where none is."""
    missing = Counter(cell.variant for cells, cell in dict.fromkeys(plan) if cells.known(cell) is None)
    return ", ".join(f"{count} of {variant}" for variant, count in missing.items())


def entry_of(rows: Sequence[dict[str, Any]], **settings: Any) -> Entry:
    """What the seeds of one setting reached, as `compare` takes it."""
    runs = [SimpleNamespace(after=row, numbers=row, hits={key: tuple(pair) for key, pair in row["hits"].items()}) for row in rows]
    return Entry(settings, runs)


def hits_of(run: RunRecord) -> dict[str, tuple[bool | None, bool | None]]:
    """Short name of each held-out request -> whether its answers hit the style under the first and the neutral tag."""
    return {hashlib.sha256(request.encode()).hexdigest()[:8]: pair for request, pair in run.hits.items()}


def provenance(rows: Sequence[dict[str, Any]]) -> str:
    """When, where and with which code runs were made, and what their teacher reached."""
    dates, machines, commits = (sorted({row[name] for row in rows}) for name in ("date", "machine", "commit"))
    teachers = ", ".join(sorted({number(row["teacher"]) for row in rows}))
    when, code = " to ".join(dict.fromkeys((dates[0], dates[-1]))), ", ".join(name[:7] for name in commits)
    return f"Runs: {len(rows)}; {when}, one thread of {', '.join(machines)}, commit {code}. Teacher's margin: {teachers}."


def cpu_seconds() -> float:
    """What the processes have computed that this one started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor() -> str:
    """The processor's name, where the system says it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor() or platform.machine())


def write_page(page: Path, text: str, title: str = "") -> None:
    """Put text between the markers of a page; what is outside them is kept."""
    old = page.read_text(encoding="utf-8") if page.is_file() else f"# {title}\n\n<!-- study -->\n<!-- /study -->\n"
    write_text(page, MARKERS.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old))


def options(doc: str, name: str, page: str, **more: Any) -> argparse.Namespace:
    """The command line of a study whose runs go to multirun/`name` and whose page is docs/`page`; `more`: choices of further options."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many; the next call continues")
    parser.add_argument("--only-write", action="store_true", help="run nothing")
    parser.add_argument("--through", type=shlex.split, default=[], help="command in front of each run, for instance 'nice -n 10'")
    parser.add_argument("--root", type=Path, default=ROOT / "multirun" / name, help="where the runs go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / page)
    for option, choices in more.items():
        parser.add_argument(f"--{option}", choices=choices, default=choices[0])
    given = parser.parse_args()
    given.minutes = 0.0 if given.only_write else given.minutes
    return given
