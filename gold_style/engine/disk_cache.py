"""Results on the disk that several processes share: looked up by everything they depend on, bounded, safe to lose.

An entry is one file, named by the SHA-256 of its key, written aside and renamed; its first line is the checksum of the rest, so a
torn or rotten file is a miss. Two processes that compute the same at the same time write the same bytes. Beyond `max_bytes` the
entries that were not read for longest go first.

    cache = DiskCache(Path("multirun/x/.cache"), max_bytes=10**9)
    value = cache.remember(["add", 2, 3], lambda: 2 + 3)     # JSON values
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from gold_style import PACKAGE
from gold_style.runs.files import write_bytes

LOOK_EVERY = 64  # entries written between two looks at the size
KEPT = 0.8  # of max_bytes, once too much is there
NOT_COMPUTING = ("show", "comparison", "opinions", "config", "sweep")  # packages whose code no cached result depends on


@cache
def code_digest() -> str:
    """SHA-256 over this project's code as far as it computes, and the versions of torch and transformers."""
    from importlib.metadata import version

    digest = hashlib.sha256(f"{version('torch')} {version('transformers')} {version('tokenizers')}".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in NOT_COMPUTING:
            digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class DiskCache:
    """A directory of entries. `hits` and `misses` count what this process asked for."""

    def __init__(self, directory: Path, max_bytes: int):
        self.directory, self.max_bytes = directory, max_bytes
        self.hits = self.misses = 0

    def remember(self, key: Any, compute: Callable[[], Any]) -> Any:
        """The JSON value stored under `key` (anything JSON can hold), else `compute()`, which is stored."""
        data = self.remember_bytes(key, lambda: json.dumps(compute(), ensure_ascii=False).encode("utf-8", "surrogatepass"))
        return json.loads(data.decode("utf-8", "surrogatepass"))

    def remember_bytes(self, key: Any, compute: Callable[[], bytes]) -> bytes:
        """As `remember`, for bytes. A full or read-only disk costs the entry, never the result."""
        name = hashlib.sha256(json.dumps(key, ensure_ascii=True, sort_keys=True).encode()).hexdigest()
        path = self.directory / name[:2] / name
        if (data := self._read(path)) is not None:
            self.hits += 1
            return data
        self.misses += 1
        data = compute()
        if len(data) <= self.max_bytes:
            with contextlib.suppress(OSError):
                self._write(path, data)
        return data

    def _read(self, path: Path) -> bytes | None:
        try:
            checksum, _, data = path.read_bytes().partition(b"\n")
            if checksum != hashlib.sha256(data).hexdigest().encode():
                return None
            os.utime(path)  # read just now: goes last
        except OSError:
            return None
        return data

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
        if self.misses % LOOK_EVERY == 0 or len(data) > self.max_bytes / LOOK_EVERY:
            self.shrink()

    def shrink(self) -> None:
        """Remove the entries not read for longest until KEPT of `max_bytes` is left, where there is more than all of it."""
        entries = []
        for path in self.directory.rglob("*"):
            with contextlib.suppress(OSError):  # another process was faster
                if path.is_file():
                    status = path.stat()
                    entries.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total <= self.max_bytes:
            return
        for _, size, path in sorted(entries):
            if total <= KEPT * self.max_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
