"""What one process of a launch decides for all of them, before torch.distributed is set up.

torchrun and `accelerate launch` already run a key-value store for their processes; `from_main` puts the main process's
answer there and the others wait for it. With a single process it is a plain call.

Example: `directory = from_main(lambda: {"directory": str(choose())})["directory"]`.
"""

import json
import os
from collections.abc import Callable
from datetime import timedelta

from gold_style.config.launch import is_main_process, world_size

PATIENCE = timedelta(minutes=10)  # the main process may be reading checkpoints of many gigabytes
_answers = 0
_store = None  # kept: in a launch without a launcher the main process serves it


def from_main(decide: Callable[[], dict]) -> dict:
    """`decide()` of the main process, in every process; a JSON-like dict.

    An exception of the main process is raised there as it is, and in the others as a ValueError with its message.
    """
    if world_size() == 1:
        return decide()
    global _answers
    _answers += 1
    key = f"gold_style/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{_answers}"
    if not is_main_process():
        told = json.loads(_open_store().get(key))
        if "error" in told:
            raise ValueError(told["error"])
        return told["answer"]
    try:
        answer = decide()
    except BaseException as error:
        _open_store().set(key, json.dumps({"error": str(error)}))
        raise
    _open_store().set(key, json.dumps({"answer": answer}))
    return answer


def _open_store():
    global _store
    if _store is None:
        from torch.distributed.rendezvous import rendezvous

        _store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    return _store
