"""How many rows a step has and how many steps a run has: arithmetic on settings, without torch.

num_steps(settings, source.num_rows)
"""

from gold_style.config.launch import world_size
from gold_style.config.settings import Settings


def rows_per_window(settings: Settings) -> int:
    """Rows of one optimizer step on one process."""
    return settings.train["per_device_train_batch_size"] * settings.train["gradient_accumulation_steps"]


def rows_per_step(settings: Settings) -> int:
    """Rows of one optimizer step, over all processes."""
    return rows_per_window(settings) * world_size()


def prompts_per_step(settings: Settings) -> int:
    return rows_per_step(settings) // settings.train.get("num_generations", 1)


def num_steps(settings: Settings, num_rows: int | None) -> int:
    """Optimizer steps of the run: train.max_steps, or train.num_train_epochs of a finite source of `num_rows`.

    Raises ValueError for epochs of a source whose length is not known.
    """
    train = settings.train
    if train.get("max_steps", -1) > 0:
        return train["max_steps"]
    if num_rows is None:
        raise ValueError("train.max_steps=-1: the length of a stream is known at its end only; give the number of optimizer steps")
    return max(1, round(train.get("num_train_epochs", 1) * num_rows / prompts_per_step(settings)))


def too_few_rows(settings: Settings, num_rows: int | None) -> str | None:
    """What is wrong where the training rows do not fill a step."""
    if num_rows is None or num_rows >= prompts_per_step(settings):
        return None
    return (
        f"prompts: {num_rows} training rows are fewer than the {prompts_per_step(settings)} of one step "
        "(train.per_device_train_batch_size x train.gradient_accumulation_steps x processes / train.num_generations): "
        "lower those, or hold out less with prompts.eval_samples"
    )
