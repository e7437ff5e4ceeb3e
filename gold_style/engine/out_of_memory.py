"""Out of memory: one sentence with the settings to lower, in place of a traceback.

with memory_advice("while the teacher read the window", "train.max_completion_length"): ...
"""

import contextlib
from collections.abc import Iterator

import torch

SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")  # of errors that have no class
LESS_TO_TRAIN = "what is trained: hardware=gpu_24gb, model.lora.enabled=true or train.optim=adamw_8bit (plan=here shows what fits)"


@contextlib.contextmanager
def memory_advice(when: str, lower: str) -> Iterator[None]:
    """Turns torch's error into a ValueError that names the settings to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(f"out of memory {when}: lower {lower}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch.OutOfMemoryError on a GPU, a plain RuntimeError of its libraries or of the allocator on a CPU."""
    is_said = isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    return is_said or isinstance(error, (torch.OutOfMemoryError, MemoryError))
