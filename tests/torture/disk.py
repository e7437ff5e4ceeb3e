"""A file system of a few megabytes that really runs full under a run; given room, the run goes on and ends as if it always had it.

As root a tmpfs is mounted (`mount -t tmpfs -o size=...`), and made larger for the resume. Elsewhere the largest file that a
process may write is limited (RLIMIT_FSIZE): another limit, the same error in the same places.
"""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gold_style.runs.files import read_json
from gold_style.runs.run_directory import status_of
from tests.torture.runs import TINY, Result, clock, differences, faults_of_remains, good_steps, launch

CONFIG = (*TINY, "train.max_steps=4", "evaluation.every_steps=2", "evaluation.keep=best")
WORDS = ("space", "free", "large", "ENOSPC", "EFBIG")  # one of these tells the user what is wrong


@contextlib.contextmanager
def small_disk(directory: Path, size_bytes: int) -> Iterator[bool]:
    """`directory` on a tmpfs of that size; False where nothing may be mounted."""
    directory.mkdir(parents=True, exist_ok=True)
    options = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(directory)]
    mounted = os.geteuid() == 0 and shutil.which("mount") and subprocess.run(options, capture_output=True).returncode == 0
    try:
        yield bool(mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(directory)], check=True)


def take_the_rest(run: Path, disk: Path) -> threading.Thread:
    """Fills the disk as soon as a checkpoint is being written, after the run has looked whether there is room for it."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (run / "checkpoints" / ".partial").exists():
            time.sleep(0.001)
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def full_disk(directory: Path, seed: int, rounds: int = 6) -> Result:
    """One run over and over on disks of random size, each time resumed with a little more room, at last with enough."""
    result = Result("disk runs full", "disk", " ".join(CONFIG))
    directory.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{seed} disk")
    with clock(result):
        done = launch([*CONFIG, "output_dir=whole"], directory)
        assert done.code == 0, done.stderr[-1500:]
        whole_bytes = sum(path.stat().st_size for path in (directory / "whole").rglob("*") if path.is_file())
        sizes = sorted(rng.randint(50_000, whole_bytes) for _ in range(rounds))
        with small_disk(directory / "small", sizes[0]) as mounted:
            run, newest = directory / "small" / "cut", 0
            for number, size in enumerate(sizes):
                if status_of(run) == "completed":
                    break
                place = f"resume={run}" if (run / "run.json").exists() else f"output_dir={run}"
                if mounted:
                    subprocess.run(["mount", "-o", f"remount,size={size}", str(directory / "small")], check=True)
                    thief = take_the_rest(run, directory / "small") if number % 2 else None
                    done = launch([*CONFIG, place], directory)
                    if thief is not None:
                        thief.join(1)
                    (directory / "small" / "ballast").unlink(missing_ok=True)
                else:
                    with file_size_limit(size // rounds):
                        done = launch([*CONFIG, place], directory, fresh=True)
                state = read_json(run / "run.json") or {}
                how = "tmpfs" if mounted else "RLIMIT_FSIZE"
                event = {
                    "disk": how,
                    "filled": "while saving" if mounted and number % 2 else "from the start",
                    "bytes": size,
                    "code": done.code,
                    "status": status_of(run),
                    "reason": (state.get("reason") or "")[:160],
                }
                result.events.append(event)
                if done.code != 0 and not any(word in done.stderr for word in WORDS):
                    result.lost.append(f"{size} bytes: nothing says that the disk is full: {done.stderr[-1500:]}")
                result.lost += [f"{size} bytes: {fault}" for fault in faults_of_remains(run, newest)]
                newest = max([newest, *good_steps(run)])
                event["checkpoint"] = newest
            if mounted:
                subprocess.run(["mount", "-o", f"remount,size={4 * whole_bytes}", str(directory / "small")], check=True)
            if status_of(run) != "completed":
                place = f"resume={run}" if (run / "run.json").exists() else f"output_dir={run}"
                done = launch([*CONFIG, place], directory)
                assert done.code == 0, f"with enough room it failed: {done.stderr[-1500:]}"
            result.lost += differences(directory / "whole", run)
    return result


@contextlib.contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """No file may grow beyond this, here and in processes started here; Python turns the signal into EFBIG."""
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
