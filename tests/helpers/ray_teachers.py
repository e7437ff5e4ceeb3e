"""Teachers behind Ray for tests: built as a run builds them, out of any directory; and processes that ask one.

python -m tests.helpers.ray_teachers MODEL SECONDS [ADDRESS]      asks once, prints the actor's process id, holds on to it
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import torch

from gold_style.config.schema import Model, TeacherBackend
from gold_style.config.settings import Settings
from gold_style.engine.models import load_tokenizer, shell
from gold_style.engine.ray_teacher import RayTeacher
from gold_style.engine.teacher import Scored, Teacher
from gold_style.job.teacher import identity, load_shared
from gold_style.runs.ray_cluster import own_directory

LOADS = "TEACHER_LOADS"  # names a file that gets a line for every time the weights are loaded


class TracedTeacher(Teacher):
    """Says which process it is in, and can be made to hang or to die."""

    def process(self) -> int:
        return os.getpid()


def settings_of(model: str) -> tuple[Model, int]:
    """What a teacher is loaded with."""
    return Settings.compose(f"model.teacher={model}", "model.dtype=float32").model, 2**30


def load(model: Model, cache_bytes: int, on_gpu: bool) -> Teacher:
    """What a run loads, noted down beside the weights."""
    teacher = load_shared(model, cache_bytes, on_gpu)
    teacher.__class__ = TracedTeacher
    with (Path(model.teacher) / "loads").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return teacher


def identify_otherwise(model: Model, cache_bytes: int, own: int) -> dict:
    """As if the files on the actor's machine were others than in process `own`."""
    return identity(model, cache_bytes) | ({} if os.getpid() == own else {"weights": ["other"]})


def ray_teacher(model: str, *, identify=identity, limit_s: float = 600.0, address: str | None = None) -> RayTeacher:
    settings = settings_of(model)
    return RayTeacher(
        load_tokenizer(model, None, False),
        shell(model, None, False),
        load=partial(load, *settings),
        identify=partial(identify, *settings),
        backend=TeacherBackend(kind="ray", address=address, model=None, gpus=None, limit_s=limit_s),
        device=torch.device("cpu"),
        disk=None,
    )


def process_of(teacher: RayTeacher) -> int:
    """Process id of the actor."""
    return teacher._ask("process")


def states(model: str, rows: list[Scored], report) -> None:
    """What a client's process does: connect, ask three times, report the states."""
    torch.set_num_threads(1)
    teacher = ray_teacher(model)
    report.put(torch.cat([torch.cat(teacher.hidden(rows)) for _ in range(3)]).numpy())


def cluster(directory: Path | None = None) -> list[psutil.Process]:
    """The process that a local cluster belongs to, and all below it."""
    mine = [
        p for p in psutil.process_iter() if str(directory or own_directory()) in _words(p) and "gold_style.runs.ray_cluster" in _words(p)
    ]
    return [process for keeper in mine for process in (keeper, *keeper.children(recursive=True))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def actor_of(directory: Path) -> int:
    """Process id of a teacher in this cluster, once there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in cluster(directory):
            if "SharedTeacher" in " ".join(_words(process)):
                return process.pid
        time.sleep(0.2)
    raise AssertionError("no teacher was started")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
    print(process_of(ray_teacher(sys.argv[1], address=sys.argv[3] if sys.argv[3:] else None)), flush=True)
    time.sleep(float(sys.argv[2]))
