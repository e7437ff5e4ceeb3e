"""How many tokens the student reads at once: as many as fit, measured once, and half of them where memory runs out."""

from collections.abc import Callable, Sequence

import torch

from gold_style.distil.options import Options
from gold_style.distil.window import Row
from gold_style.engine.out_of_memory import is_out_of_memory
from gold_style.runs.redact import say

SPARE = 0.1  # of the free memory: left for longer rows and for holes between blocks


class CudaMemory:
    """What torch's allocator says of this process's GPU, in bytes."""

    def free(self) -> int:
        """What could still be allocated: free on the card, or held by the allocator and unused."""
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()

    def peak(self, work: Callable[[], object]) -> int:
        """What `work` needs at most, above what was allocated before."""
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before


def fitting(free: float, fixed: float, per_token: float, longest: int) -> int:
    """Padded tokens of a micro-batch that needs `fixed` + `per_token` x tokens of `free` bytes; never less than the longest row."""
    return max(longest, int(((1 - SPARE) * free - fixed) / max(1.0, per_token)))


def measured(work: Callable[[Sequence[Row]], object], rows: Sequence[Row], memory: CudaMemory, to_come: float) -> int:
    """Tokens that fit, from forward and backward of the longest row, once and twice in a micro-batch: `work(rows)`, which leaves gradients.

    `to_come`: bytes that the run will yet allocate for good. Where they do not fit, one row is taken at a time.
    """
    row = max(rows, key=lambda row: len(row.student_prompt) + len(row.completion))
    longest = len(row.student_prompt) + len(row.completion)
    try:
        work([row])  # makes the gradients, which are no part of a micro-batch
        one, two = memory.peak(lambda: work([row])), memory.peak(lambda: work([row, row]))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return longest
    per_token = (two - one if two > one else one) / longest
    return fitting(memory.free() - to_come, one - per_token * longest, per_token, longest)


def halved(now: int | None, rows: Sequence[Row], options: Options, num_processes: int) -> int:
    """Tokens of the next micro-batches of a window whose micro-batches of `now` tokens (None: of so many rows) did not fit.

    Raises ValueError, naming what to lower, where the size is fixed or a single row is left.
    """
    longest = max(len(row.student_prompt) + len(row.completion) for row in rows)
    tokens = now or (options.rows_per_microbatch or len(rows)) * longest
    if not options.auto_microbatch or tokens <= longest or num_processes > 1:
        raise ValueError(
            f"out of memory with micro-batches of {tokens} tokens: lower hardware.tokens_per_microbatch (now {now}), "
            "train.per_device_train_batch_size or train.max_completion_length, or set train.gradient_checkpointing=true"
        ) from None
    tokens = max(longest, tokens // 2)
    say(f"out of memory: micro-batches of at most {tokens} tokens from here on, same gradients")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return tokens
