"""The launch that this process belongs to: how many processes, which of them speaks, and one time stamp for all."""

import os
from datetime import datetime
from functools import cache

import psutil


def world_size() -> int:
    """Processes of this launch, as the launcher says; 1 without one."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_sharded() -> bool:
    """Whether `accelerate launch` was asked to shard the student's weights over the processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def is_main_process() -> bool:
    """Whether this process speaks for the launch."""
    return int(os.environ.get("RANK") or 0) == 0


@cache
def run_stamp() -> str:
    """<date>/<time> of this launch, the same in all its processes: `2026-11-22/15-04-05-123456`.

    Processes of one launcher take the launcher's start time. Several machines have a launcher each and share nothing:
    ValueError asks for `output_dir` there. The environment variable GOLD_STYLE_STAMP wins.
    """
    if stamp := os.environ.get("GOLD_STYLE_STAMP"):
        return stamp
    started = datetime.now()
    if world_size() > 1:
        if int(os.environ.get("LOCAL_WORLD_SIZE") or world_size()) != world_size():
            raise ValueError("must be given when a run spans several machines, on a disk that all of them see")
        started = datetime.fromtimestamp(psutil.Process(os.getppid()).create_time())
    return f"{started:%Y-%m-%d/%H-%M-%S-%f}"
