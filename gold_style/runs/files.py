"""Files that survive a kill: written aside and renamed, appended line by line, or locked.

`write_text` and `write_json` replace a file as a whole or not at all: written aside in the same directory, flushed to
the disk, renamed (the sequence of https://lwn.net/Articles/457667/). `JsonLines` appends rows and cuts off a line torn
by a kill. `FileLock` lets one process into a directory; the operating system frees it when that process dies.

Example: `JsonLines(run / "metrics.jsonl").append({"step": 1, "train/loss": 0.7})`.
"""

import contextlib
import errno
import fcntl
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

FULL_BYTES = 1 << 20  # a disk with less than this free counts as full
ASIDE = ".aside"  # ending of a file that is being written; a kill may leave one behind


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: scalars of torch and numpy unpacked, paths as text, and NaN and infinity as None."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # a tensor or an array; one element gives a number
        return plain(value.tolist())
    return str(value)


def to_json(value: Any, indent: int | None = None) -> bytes:
    """UTF-8 JSON without NaN. A lone surrogate, which UTF-8 cannot hold, becomes its JSON escape."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode("utf-8", "backslashreplace")


def sync_directory(directory: Path) -> None:
    """Make renames and new names in `directory` last through a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, as a whole or not at all; what is no file, such as a pipe or /dev/null, is written to.

    Raises OSError (disk full, no permission); the old file is then untouched.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    aside = path.with_name(f".{path.name}.{uuid4().hex}{ASIDE}")
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, to_json(value, indent=2) + b"\n")


def write_json_lines(path: Path, rows: list[dict]) -> None:
    write_bytes(path, b"".join(to_json(row) + b"\n" for row in rows))


def read_json(path: Path) -> dict | None:
    """The JSON object in `path`; None if it is missing or cannot be read."""
    try:
        return _row(path.read_bytes())
    except OSError:
        return None


def read_json_lines(path: Path) -> Iterator[dict]:
    """The rows of a .jsonl file that this module wrote; a torn last line (its run lives, or was killed) is left out.

    Raises ValueError, naming file and line, for any other line that is not a JSON object.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row = _row(line)
            if row is None and line.endswith(b"\n"):
                raise ValueError(f"{path}:{number}: holds a line that is not a JSON object: {line[:80]!r}")
            if row is not None:
                yield row


def _row(line: bytes) -> dict | None:
    try:
        row = json.loads(line)
    except ValueError:  # UnicodeDecodeError is one too
        return None
    return row if isinstance(row, dict) else None


class JsonLines:
    """A .jsonl file to append to. Every row reaches the operating system at once: a killed process loses none.

    Opening repairs the file: part of a line, left by a kill or a full disk, is cut off.
    """

    def __init__(self, path: Path):
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        rows, newline, tail = path.read_bytes().rpartition(b"\n")
        if tail and _row(tail) is not None:  # whole except for its newline
            os.write(self._descriptor, b"\n")
        elif tail:
            os.ftruncate(self._descriptor, len(rows + newline))

    def append(self, row: dict) -> None:
        """Write one row. Raises OSError (for instance a full disk); the file then ends with the last whole row."""
        line = to_json(row) + b"\n"
        size = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def sync(self) -> None:
        """Make the rows last through a power cut, as a checkpoint that counts on them must."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1


def keep_rows_up_to(path: Path, step: int) -> int:
    """Cut the rows after `step` from a metrics file, as a whole or not at all; returns how many were cut."""
    rows = list(read_json_lines(path))
    kept = [row for row in rows if row.get("step", 0) <= step]
    if len(kept) < len(rows):
        write_json_lines(path, kept)
    return len(rows) - len(kept)


class Locked(ValueError):
    """Somebody else holds the lock; the message says who."""


class FileLock:
    """An exclusive lock on `path`, which holds the owner's process id and host, for messages; or one that several share.

    flock(2): the operating system frees it when the owner ends, however it ends. A forked child closes its copy of the
    descriptor, so that a worker that outlives a killed owner does not keep the lock.
    """

    def __init__(self, path: Path, is_shared: bool = False):
        self.path, self.is_shared = path, is_shared
        self._descriptor: int | None = None

    def acquire(self, patience_s: float = 0.2) -> None:
        """Take the lock. Raises Locked, naming the holder; `patience_s` outlasts whoever only looks at it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        deadline = time.monotonic() + patience_s
        while not _try_lock(descriptor, fcntl.LOCK_SH if self.is_shared else fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise Locked(f"{self.path.parent} is in use by {lock_owner(self.path)}")
            time.sleep(0.02)
        if not self.is_shared:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, to_json({"pid": os.getpid(), "host": socket.gethostname()}), 0)
        self._descriptor = descriptor
        _held.add(self)

    def release(self) -> None:
        """Let go. The file stays: removing it would let a third process lock another file of the same name."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self.forget()

    def forget(self) -> None:
        """Close this process's descriptor; in a forked child this leaves the parent's lock alone."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _held.discard(self)


_held: set[FileLock] = set()
os.register_at_fork(after_in_child=lambda: [lock.forget() for lock in list(_held)])


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def lock_is_held(path: Path) -> bool:
    """Whether a living process holds the lock; takes and frees a shared one to find out, and writes nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def lock_owner(path: Path) -> str:
    """The process that holds the lock, as its file names it."""
    try:
        owner = json.loads(path.read_bytes())
        return f"process {int(owner['pid'])} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextlib.contextmanager
def full_disk_explained(directory: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises when the disk under `directory` is full into an OSError (ENOSPC) that says so."""
    try:
        yield
    except Exception as error:
        free_bytes = shutil.disk_usage(directory).free
        if free_bytes < FULL_BYTES or "No space left" in str(error):
            reason = f"{what} could not be written: the disk of {directory} is full ({free_bytes / 1e6:.3g} MB free)"
            raise OSError(errno.ENOSPC, reason) from error
        raise


def require_free_space(path: Path, needed_bytes: int, purpose: str) -> None:
    """Raise OSError (ENOSPC) where the disk under `path` has less than `needed_bytes` free. Quotas are not seen."""
    while not path.exists():
        path = path.parent
    free_bytes = shutil.disk_usage(path).free
    if free_bytes < needed_bytes:
        need, free = (f"{number / 1e9:.3g} GB" for number in (needed_bytes, free_bytes))
        raise OSError(errno.ENOSPC, f"{purpose} needs {need} and only {free} are free on the disk of {path}")
