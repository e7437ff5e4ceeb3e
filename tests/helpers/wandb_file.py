"""Reads a `run-<id>.wandb` file back, so that tests judge what W&B was really told.

The file is LevelDB's log format (https://github.com/google/leveldb/blob/main/doc/log_format.md) behind a 7-byte
header: blocks of 32 KiB, each a run of chunks `crc32 (4) | length (2) | type (1) | data`, where type 1 is a whole
record, 2, 3 and 4 its first, middle and last part. A record is a `wandb.proto.wandb_internal_pb2.Record`.

Example: `read_wandb_file(next(run.glob("wandb/*run-*/*.wandb"))).config["gold_style"]`.
"""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

BLOCK_BYTES = 32 * 1024
HEADER_BYTES = 7  # of the file, and of each chunk


@dataclass
class WandbFile:
    """What the file tells: the run's identity, and what was logged."""

    run_id: str = ""
    project: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    resume: bool = False
    config: dict = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    summary: dict = field(default_factory=dict)
    metrics: list[tuple[str, str]] = field(default_factory=list)  # (name or glob, step metric)
    artifacts: list[dict] = field(default_factory=list)
    exit_code: int | None = None
    kinds: list[str] = field(default_factory=list)  # the kind of every record, in order


def raw_records(path: Path) -> list[bytes]:
    """The records of a .wandb file; a torn last record is left out, as `wandb sync` does."""
    data = path.read_bytes()
    assert data[:4] == b":W&B", f"{path} is no .wandb file"
    position, parts, found = HEADER_BYTES, [], []
    while position + HEADER_BYTES <= len(data):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < HEADER_BYTES:  # too short for a chunk's header: padding
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        chunk = data[position + HEADER_BYTES : position + HEADER_BYTES + length]
        if kind == 0 or len(chunk) < length:
            break
        parts = [chunk] if kind in (1, 2) else [*parts, chunk]
        if kind in (1, 4):
            found.append(b"".join(parts))
        position += HEADER_BYTES + length
    return found


def _nested(items) -> dict:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _read(told: WandbFile, record: Record) -> None:
    kind = record.WhichOneof("record_type")
    told.kinds.append(kind)
    if kind == "run":
        run = record.run
        told.run_id, told.project, told.name, told.resume = run.run_id, run.project, run.display_name, run.resume
        told.group, told.job_type, told.tags = run.run_group, run.job_type, list(run.tags)
        told.config.update(_nested(run.config.update))
    elif kind == "config":
        told.config.update(_nested(record.config.update))
    elif kind == "history":
        told.history.append(_nested(record.history.item))
    elif kind == "summary":
        told.summary.update(_nested(record.summary.update))
    elif kind == "metric":
        told.metrics.append((record.metric.name or record.metric.glob_name, record.metric.step_metric))
    elif kind == "artifact":
        files = [entry.path for entry in record.artifact.manifest.contents]
        aliases = list(record.artifact.aliases)
        told.artifacts.append({"name": record.artifact.name, "type": record.artifact.type, "files": files, "aliases": aliases})
    elif kind == "exit":
        told.exit_code = record.exit.exit_code


def read_wandb_file(path: Path) -> WandbFile:
    """Everything a .wandb file tells about its run."""
    told = WandbFile()
    for raw in raw_records(path):
        _read(told, Record.FromString(raw))
    return told


def wandb_files(run_directory: Path) -> list[Path]:
    """The .wandb files of a run directory, oldest first; `latest-run` is a symlink to one of them."""
    return sorted(path for path in run_directory.glob("wandb/*run-*/*.wandb") if path.parent.name != "latest-run")
