"""Out of memory, in words that name what to lower."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def out_of_memory_in_words(when: str, lower: str) -> Iterator[None]:
    """Turns torch's error into a ValueError that names the settings to lower."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(f"out of memory {when}: lower {lower}") from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that memory ran out, on whatever device."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error)
