"""What one process of a launch decides for all of them, before torch.distributed is set up.

torchrun and `accelerate launch` already run a key-value store for their processes; `from_main` puts the main process's
answer there and the others wait for it. With a single process it is a plain call.

Example: `directory = from_main(lambda: {"directory": str(choose())})["directory"]`.
"""

import functools
import json
import os
from collections.abc import Callable
from datetime import timedelta
from itertools import count

from gold_style.config.launch import is_main_process, world_size

PATIENCE = timedelta(minutes=10)  # the main process may be reading checkpoints of many gigabytes
_numbers = count(1)


def from_main(decide: Callable[[], dict]) -> dict:
    """`decide()` of the main process, in every process; a JSON-like dict.

    An exception of the main process is raised there unchanged, and in the others as a ValueError with its message.
    """
    if world_size() == 1:
        return decide()
    key = f"gold_style/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{next(_numbers)}"
    if not is_main_process():
        answer = json.loads(_store().get(key))
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["decided"]
    try:
        decided = decide()
    except BaseException as error:
        _store().set(key, json.dumps({"error": str(error)}))
        raise
    _store().set(key, json.dumps({"decided": decided}))
    return decided


@functools.cache  # kept open: in a launch without a launcher the main process serves it
def _store():
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    return store
