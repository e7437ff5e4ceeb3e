"""How many tokens the student reads at once: half of them where memory runs out."""

from collections.abc import Sequence

import torch

from gold_style.distil.options import Options
from gold_style.distil.window import Row
from gold_style.runs.redact import say


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
