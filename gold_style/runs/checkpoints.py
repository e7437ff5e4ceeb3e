"""Checkpoints that are there or not there: sealed when complete, judged before use, pruned but for the last good one.

A checkpoint is written into `checkpoints/.partial/`, flushed, given a list of its files (`complete.json`: size and
CRC-32 of each) and renamed to `checkpoints/checkpoint-N`. A kill at any instant leaves the old checkpoints and, at
worst, a directory that `newest_valid_checkpoint` passes over with a warning.

Example:
    seal_checkpoint(checkpoints / ".partial" / "checkpoint-50", checkpoints / "checkpoint-50")
    newest_valid_checkpoint(checkpoints)
"""

import os
import re
import shutil
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

from gold_style.runs.files import read_json, sync_directory, write_json
from gold_style.runs.redact import say

SEAL = "complete.json"
PARTIAL = ".partial"  # where checkpoints are written
REPLACED = ".replaced-"  # prefix of a checkpoint that the same step, trained again, takes the place of
DELETED = ".deleted-"  # prefix of what is on its way out: renamed first, so that it never looks like a torn checkpoint
CHECKPOINT = re.compile(r"checkpoint-(\d+)")
BLOCK_BYTES = 1 << 22


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    match = CHECKPOINT.fullmatch(checkpoint.name)
    assert match, f"{checkpoint} is not named like a checkpoint"
    return int(match[1])


def checkpoints_in(directory: Path) -> list[Path]:
    """The directories named checkpoint-N, oldest step first, whole or not."""
    if not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if CHECKPOINT.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of)


def size_bytes(directory: Path) -> int:
    """Bytes of the files under `directory`: what the next checkpoint will need, give or take."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum


def seal_checkpoint(partial: Path, final: Path) -> None:
    """Make the finished files of `partial` appear as `final`, on the disk and all at once.

    An older `final` is replaced. Raises OSError (disk full); `final` is then as it was.
    """
    files = sorted(path for path in partial.rglob("*") if path.is_file() and path.name != SEAL)
    entries = {}
    for path in files:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        name = path.relative_to(partial).as_posix()
        entries[name] = {"bytes": path.stat().st_size, "crc32": _crc32(path)}
    for directory in {path.parent for path in files}:
        sync_directory(directory)
    write_json(partial / SEAL, {"files": entries})
    aside = final.with_name(REPLACED + final.name)
    if final.exists():
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(final, aside)
    os.rename(partial, final)
    sync_directory(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def checkpoint_fault(checkpoint: Path, contents: bool = True) -> str | None:
    """Why `checkpoint` cannot be used, in words; None for a good one. `contents=False` looks at sizes alone."""
    listing = read_json(checkpoint / SEAL)
    if listing is None or not isinstance(listing.get("files"), dict) or not listing["files"]:
        return f"it was never finished (no {SEAL})"
    for name, entry in listing["files"].items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {entry['bytes']}"
        if contents and _crc32(path) != entry["crc32"]:
            return f"{name} has changed since it was written (its checksum differs)"
    return None


def newest_valid_checkpoint(directory: Path, warn: Callable[[str], None] = say) -> Path | None:
    """The good checkpoint with the highest step, or None; `warn` hears of every newer one that is passed over."""
    for checkpoint in reversed(checkpoints_in(directory)):
        fault = checkpoint_fault(checkpoint)
        if fault is None:
            return checkpoint
        warn(f"warning: {checkpoint} is passed over: {fault}")
    return None


def tidy(directory: Path) -> None:
    """Clear what kills have left: half-written checkpoints go; one whose replacement never arrived comes back."""
    if not directory.is_dir():
        return
    for path in list(directory.iterdir()):
        if path.name == PARTIAL or path.name.startswith(DELETED):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(REPLACED):
            final = path.with_name(path.name.removeprefix(REPLACED))
            if final.exists():
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.rename(path, final)


def prune(directory: Path, save_total_limit: int | None, keep: Collection[Path] = ()) -> list[Path]:
    """Delete the oldest checkpoints beyond `save_total_limit`, and return them.

    Never those in `keep` (the best one), never the newest good one; torn ones count for nothing and go first. None or 0
    deletes nothing. A directory is renamed before it is deleted, so that a kill leaves no half-deleted checkpoint.
    """
    if not save_total_limit:
        return []
    kept = {path.name for path in keep}
    good, torn = [], []
    for checkpoint in checkpoints_in(directory):
        (torn if checkpoint_fault(checkpoint, contents=False) else good).append(checkpoint)
    protected = kept | {checkpoint.name for checkpoint in good[-1:]}
    surplus = max(0, len(good) - save_total_limit)
    deletable = [checkpoint for checkpoint in good if checkpoint.name not in protected][:surplus]
    gone = [checkpoint for checkpoint in torn if checkpoint.name not in kept] + deletable if good else []
    for checkpoint in gone:
        doomed = checkpoint.with_name(DELETED + checkpoint.name)
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(checkpoint, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return gone
