"""One part of a section in a process of its own: neither a crash, nor memory that ran out, nor a deadline costs the other parts.

Parts are forked from a process that has imported the libraries and touched no card, which saves each of them ten seconds; where a card
does not work in a forked process they are started anew. A part writes its figures to a file after each of them, so that whatever ends it
keeps what it has.
"""

import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

OUT_OF_MEMORY = 3  # exit code of a part


class Report:
    """What a part has found: single facts, and rows of tables, on disk at any moment."""

    def __init__(self, path: Path):
        self.path, self.facts, self.tables = path, {}, {}

    def fact(self, **values) -> None:
        self.facts |= values
        self._write()

    def row(self, table: str, **values) -> None:
        self.tables.setdefault(table, []).append(values)
        self._write()

    def _write(self) -> None:
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"facts": self.facts, "tables": self.tables}))
        partial.replace(self.path)


@dataclass(frozen=True)
class Part:
    """`function` of module card.<module>, with these arguments after the case and the report, within so many seconds."""

    module: str
    function: str
    limit_s: float
    arguments: tuple = ()


@dataclass(frozen=True)
class Ended:
    """How a part ended."""

    status: str  # ok | failed | out of memory | deadline
    seconds: float
    error: str  # the end of what it said, where it is not ok


def run(part: Part, case, report: Path, log: Path, method: str, limit_s: float) -> Ended:
    """Run a part until it ends or is ended; everything that it prints goes to `log`."""
    start, context = time.monotonic(), multiprocessing.get_context(method)
    process = context.Process(target=_child, args=(part, case, report, log, time.time() + limit_s))
    process.start()
    process.join(limit_s)
    late = process.is_alive()
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it, and what it has started
        os.killpg(process.pid, signal.SIGKILL)
    if late:
        process.kill()
    process.join()
    status = "deadline" if late else {0: "ok", OUT_OF_MEMORY: "out of memory"}.get(process.exitcode, "failed")
    text = log.read_text(errors="replace") if log.exists() and status != "ok" else ""
    return Ended(status, round(time.monotonic() - start, 1), text[-1500:])


def _child(part: Part, case, report: Path, log: Path, deadline: float) -> None:
    os.setpgrp()
    with log.open("a") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout = sys.stderr = open(2, "w", buffering=1, closefd=False)
    code = 0
    try:
        case.prepare(deadline)
        getattr(importlib.import_module(f"card.{part.module}"), part.function)(case, Report(report), *part.arguments)
    except BaseException as error:
        traceback.print_exc()
        code = OUT_OF_MEMORY if ran_out_of_memory(error) else 1
    sys.stderr.flush()
    os._exit(code)  # threads that hold trainers need not be waited for


def ran_out_of_memory(error: BaseException) -> bool:
    return "out of memory" in str(error).lower()


def freed(device: str) -> float:
    """GB that are still allocated once everything unreachable is gone."""
    import torch

    gc.collect()
    if device != "cuda":
        return 0.0
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated() / 1e9
