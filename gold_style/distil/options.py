"""What a run was asked for, and what is decided while it trains: the first never changes, each field of the second has one writer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gold_style.engine.rollout import Sampling


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a step reads of the settings. Sizes are per process; `rows_per_window` = batch x accumulation."""

    seed: int
    lmbda: Callable[[int], float]  # of a step
    seq_kd: bool
    sampling: Sampling
    max_completion_length: int
    rows_per_window: int
    beta: Callable[[int], float] | None = None  # of a step; None: the objective's own in all of them
    num_generations: int = 1
    warm_start_steps: int = 0
    warm_start_until: float | None = None
    rows_per_microbatch: int | None = 1
    tokens_per_microbatch: int | str | None = None  # as `hardware.tokens_per_microbatch`
    auto_microbatch: bool = True
    fsdp_gathers: str = "float32"  # or "compute": the dtype of weights on their way to the processes
    muon_learning_rate: float | None = None  # None: transformers' own optimizer
    compute_dtype: torch.dtype = torch.float32
    file_dtype: torch.dtype | None = None  # of student/; None: compute_dtype
    on_nonfinite: str = "stop"
    save_total_limit: int | None = None


@dataclass
class Decisions:
    """What is decided on the way."""

    warm_start_end: int | None = None  # first step after a warm start that reached warm_start_until. Writer: callbacks.WarmStart
    kept_checkpoints: set[Path] = field(default_factory=set)  # never pruned. Writer: callbacks.LiveEvaluation
    is_over: bool = False  # a resumed run that had been stopped early has no step left. Writer: callbacks.LiveEvaluation
    tokens_per_microbatch: int | None = None  # the options' size, or what was measured, until memory runs out. Writer: StyleGOLDTrainer
