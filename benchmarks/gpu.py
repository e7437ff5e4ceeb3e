"""What there is to know about the first graphics card, in ten minutes: correctness, seconds a step, memory, decoding, whole runs.

    python benchmarks/gpu.py --output DIR                                   # Qwen2.5 3B -> 1.5B in their real shapes, random weights
    python benchmarks/gpu.py --pair smallest --device cpu --output DIR      # a rehearsal of all of it: three minutes on two cores
    python benchmarks/gpu.py --only 4,7 --output DIR                        # single sections
    python benchmarks/gpu.py --page DIR                                     # its figures into docs/gpu.md and benchmarks/results/

Sections run in the order of ORDER, so that a cut still leaves the headline. Each consists of parts, which are processes of their own with
a deadline (card/parts.py). DIR gets two files: sections.jsonl, one line a section, appended when it has ended, and log.txt.
Exit code: 0 when all that was asked for ran and every check passed, else 1.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from card.case import PAIRS, Case, set_up
from card.parts import Part, run

ORDER = (0, 1, 4, 5, 7, 3, 6, 2, 8)
TITLES = {
    0: "The machine",
    1: "Correctness, four layers of the real width",
    2: "Kernels, launches and waits",
    3: "Decoding alone",
    4: "Our step",
    5: "Beside stock GOLDTrainer",
    6: "Beside TRL's stable DistillationTrainer (without any system prompt)",
    7: "Memory",
    8: "train.py from end to end",
}
SECTIONS = {
    0: [Part("machine", "describe", 45)],
    1: [Part("correctness", "check", 45, ("float32",)), Part("correctness", "check", 45, ("bfloat16",))],
    4: [Part("steps", "our_steps", 75)],
    5: [Part("steps", "beside_stock", 120), Part("steps", "stock_whole", 45)],
    7: [
        Part("memory", "our_memory", 45, ("1 row", False)),
        Part("memory", "our_memory", 45, ("1 row", True)),
        Part("memory", "stock_memory", 35),
        Part("memory", "our_memory", 45, ("whole window", False)),
    ],
    3: [Part("decoding", "decode", 60)],
    6: [Part("steps", "beside_stable", 60)],
    2: [Part("decoding", "kernels", 50)],
    8: [Part("runs", "train", 90)],
}
RESERVED = {3: 30, 6: 35, 2: 25, 8: 65}  # seconds of each later section that earlier ones may not take
SLOW_CPU = 6  # a rehearsal on busy cores may take so many times as long
TABLES_ON_SCREEN = ("checks", "ours", "sides", "peaks", "cards", "decode", "phases", "runs", "resumed against whole", "students")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--pair", choices=tuple(PAIRS), default="qwen3b_to_1p5b")
    parser.add_argument("--only", help="numbers of sections, separated by commas (default: all)")
    parser.add_argument("--output", type=Path, default=Path("gpu"), help="folder for the results (default: gpu)")
    parser.add_argument("--budget", type=float, default=540, help="seconds in all; sections that no longer fit are left out (default: 540)")
    parser.add_argument("--start", choices=("fork", "spawn"), help="how parts are started (default: fork where it works)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: 8 beside a card, else 1)")
    parser.add_argument("--page", type=Path, metavar="DIR", help="only write docs/gpu.md and benchmarks/results/gpu_<card>.jsonl from DIR")
    asked = parser.parse_args()
    asked.sections = [int(number) for number in asked.only.split(",")] if asked.only else list(ORDER)
    if unknown := set(asked.sections) - set(ORDER):
        parser.error(f"--only: no section {min(unknown)}; there are {', '.join(map(str, sorted(ORDER)))}")
    asked.threads = asked.threads or (8 if asked.device == "cuda" else 1)
    return asked


def main() -> int:
    asked = arguments()
    end = time.monotonic() + (asked.budget if asked.device == "cuda" else SLOW_CPU * asked.budget)
    set_up(asked.device, asked.threads)
    if asked.page:
        from card.page import write_page

        return write_page(asked.page)
    asked.output.mkdir(parents=True, exist_ok=True)
    passed = True
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as scratch:
        case = Case(asked.device, asked.pair, Path(scratch), asked.threads)
        start = time.monotonic()
        method = asked.start or _start_method(case)
        print(f"libraries loaded in {time.monotonic() - start:.0f} s; parts are started by {method}", flush=True)
        wanted = [number for number in ORDER if number in asked.sections]
        for index, number in enumerate(wanted):
            later = sum(RESERVED.get(after, 0) for after in wanted[index + 1 :])
            line = run_section(number, case, asked.output, method, end - later)
            with (asked.output / "sections.jsonl").open("a") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            passed &= line["status"] == "ok" and not failed_checks(line)
            show(line)
    print(f"results: {asked.output / 'sections.jsonl'}")
    return 0 if passed else 1


def run_section(number: int, case: Case, output: Path, method: str, end: float) -> dict:
    """Its line: how it ended, facts, tables. The parts' figures are put together."""
    line = {"section": number, "title": TITLES[number], "status": "ok", "seconds": 0.0, "facts": {}, "tables": {}, "errors": []}
    for index, part in enumerate(SECTIONS[number]):
        limit = min(part.limit_s * (1 if case.on_card else SLOW_CPU), end - time.monotonic())
        name = f"{number}.{index + 1} {part.function} {' '.join(map(str, part.arguments))}".rstrip()
        if limit < 10:
            line["status"] = "left out" if line["status"] == "ok" else line["status"]
            line["errors"].append({"part": name, "status": "left out", "seconds": 0.0, "said": "no time was left"})
            continue
        report, log = case.directory / f"{number}-{index}.json", case.directory / f"{number}-{index}.log"
        ended = run(part, case, report, log, method, limit)
        found = json.loads(report.read_text()) if report.exists() else {"facts": {}, "tables": {}}
        label = "" if len(SECTIONS[number]) == 1 else f"{part.function} {' '.join(map(str, part.arguments))}".strip() + ": "
        line["facts"] |= {f"{label}{key}": value for key, value in found["facts"].items()}
        for table, rows in found["tables"].items():
            line["tables"].setdefault(table, []).extend(rows)
        line["seconds"] = round(line["seconds"] + ended.seconds, 1)
        if ended.status != "ok":
            line["status"] = ended.status
            line["errors"].append({"part": name, "status": ended.status, "seconds": ended.seconds, "said": ended.error})
        with (output / "log.txt").open("a") as file:
            said = log.read_text(errors="replace")[-20_000:] if log.exists() else ""
            file.write(f"==== {name}: {ended.status} in {ended.seconds} s\n{said}\n")
    return line


def _start_method(case: Case) -> str:
    """fork, with everything imported here once, if a forked process can use the device, else spawn."""
    try:
        import datasets  # noqa: F401
        import peft  # noqa: F401
        import torch
        import trl.experimental.gold  # noqa: F401
        from stepping import shapes, stable, stock  # noqa: F401
        from transformers.models.qwen2 import modeling_qwen2  # noqa: F401

        shapes.tokenizer_directory(case.shape.vocab_size)  # kept for the parts
        if torch.cuda.is_initialized():
            return "spawn"
        trial = multiprocessing.get_context("fork").Process(target=_touch, args=(case.device,))
        trial.start()
        trial.join(60)
        if trial.exitcode == 0:
            return "fork"
        trial.kill()
    except Exception as error:  # whatever it is, the parts show it
        print(f"libraries: {type(error).__name__}: {error}", file=sys.stderr)
    return "spawn"


def _touch(device: str) -> None:
    import torch

    code = 1
    with contextlib.suppress(Exception):
        code = 0 if float(torch.ones(4, device=device).sum()) == 4 else 1
    os._exit(code)


def failed_checks(line: dict) -> list[dict]:
    return [row for rows in line["tables"].values() for row in rows if row.get("passed") is False]


def show(line: dict) -> None:
    """The section in a few lines of text."""
    facts = ", ".join(f"{name}={value}" for name, value in line["facts"].items())
    print(f"\n[{line['section']}] {line['title']}: {line['status']} in {line['seconds']} s  {facts}")
    for table in TABLES_ON_SCREEN:
        for row in line["tables"].get(table, []):
            print("   ", " ".join(f"{name}={value}" for name, value in row.items() if value is not None))
    for error in line["errors"]:
        print(f"    {error['part']}: {error['status']} after {error['seconds']} s: {error['said'][-600:]}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
