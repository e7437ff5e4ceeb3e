"""Checkpoints, each there as a whole or not at all: sealed when complete, checked before use, pruned down to the last good one.

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
    return sorted((path for path in directory.glob("checkpoint-*/") if CHECKPOINT.fullmatch(path.name)), key=step_of)


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
    """Why `checkpoint` cannot be used; None for a good one. `contents=False` checks names and sizes only."""
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


def adopt(checkpoint: Path, directory: Path) -> Path:
    """Another run's checkpoint as one of `directory`: hard links, or copies where the file system has none. Returns its new path."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(checkpoint, directory / PARTIAL, copy_function=link)
    return (directory / PARTIAL).rename(directory / checkpoint.name)


def tidy(directory: Path) -> None:
    """Clear what kills have left: half-written checkpoints go; one whose replacement never arrived comes back."""
    for path in directory.glob(f"{REPLACED}*"):
        final = path.with_name(path.name.removeprefix(REPLACED))
        if not final.exists():
            os.rename(path, final)
    for path in (path for ending in (PARTIAL, f"{DELETED}*", f"{REPLACED}*") for path in directory.glob(ending)):
        shutil.rmtree(path, ignore_errors=True)


def prune(directory: Path, save_total_limit: int | None, keep: Collection[Path] = ()) -> None:
    """Delete the oldest checkpoints beyond `save_total_limit`; None or 0 deletes nothing.

    Never those in `keep` (the best one), never the newest good one. Torn ones do not count and go first, once there is
    a good one. A directory is renamed before it is deleted, so that a kill leaves no half-deleted checkpoint.
    """
    found = [path for path in checkpoints_in(directory) if path.name not in {kept.name for kept in keep}]
    good = [path for path in checkpoints_in(directory) if checkpoint_fault(path, contents=False) is None]
    if not save_total_limit or not good:
        return
    torn = [path for path in found if path not in good]
    oldest = [path for path in found if path in good[:-1]][: max(0, len(good) - save_total_limit)]
    for checkpoint in torn + oldest:
        doomed = checkpoint.with_name(DELETED + checkpoint.name)
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(checkpoint, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
