"""What happens between steps: live evaluation, best checkpoint, early stop, the bar, and an orderly end after a signal."""

import time
from collections.abc import Callable
from pathlib import Path

from accelerate.utils import gather_object
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from gold_style.distil.window import Row
from gold_style.runs.progress import Progress


class Resumable(TrainerCallback, ExportableState):
    """A callback whose attributes named in `REMEMBERED` travel with the checkpoint: a resumed run goes on as if nothing had happened.

    transformers would build the callback anew from JSON; ours hold functions, so they take their numbers back themselves.
    """

    REMEMBERED: tuple[str, ...] = ()

    def state(self) -> dict:
        return {"args": {}, "attributes": {name: getattr(self, name) for name in self.REMEMBERED}}

    def on_train_begin(self, args, state, control, **kwargs):
        stored = state.stateful_callbacks.get(type(self).__name__)
        for name, value in (stored or {}).get("attributes", {}).items():
            setattr(self, name, value)


class Totals(Resumable):
    """What is counted over the whole run, and what was measured since the last logged row. Each process has its own share."""

    REMEMBERED = ("processes",)

    def __init__(self, trainer):
        self.trainer = trainer
        self.num_tokens = 0  # generated or read completion tokens of this process
        self.num_skipped_steps = 0  # steps dropped by on_nonfinite=skip
        self.not_aligned: dict[str, int] = {}  # completions that did not reach the teacher whole, by reason
        self.processes: list[dict] = []  # every process's share, as of the checkpoint
        self._started, self._seconds_before = time.monotonic(), 0.0

    def count(self, rows: list[Row]) -> None:
        for row in rows:
            self.num_tokens += len(row.completion)
            if row.reason != "exact":
                self.not_aligned[row.reason] = self.not_aligned.get(row.reason, 0) + 1

    @property
    def train_seconds(self) -> float:
        """Seconds of training, those before a resume included."""
        return self._seconds_before + time.monotonic() - self._started

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        self._started = time.monotonic()
        if self.processes:
            own = self.processes[args.process_index]
            self.num_tokens, self.num_skipped_steps = own["num_tokens"], own["num_skipped_steps"]
            self.not_aligned, self._seconds_before = own["not_aligned"], own["train_seconds"]
            self.trainer.seconds, self.trainer.pending_numbers = own["seconds"], own["pending_numbers"]
            self.trainer.meters.restore(own["sums"])

    def collect(self) -> None:
        """Gather every process's share for the checkpoint that is about to be written; called by all of them."""
        own = {
            "num_tokens": self.num_tokens,
            "num_skipped_steps": self.num_skipped_steps,
            "not_aligned": self.not_aligned,
            "train_seconds": self.train_seconds,
            "seconds": self.trainer.seconds,
            "pending_numbers": self.trainer.pending_numbers,
            "sums": self.trainer.meters.export(),
        }
        self.processes = gather_object([own]) if self.trainer.accelerator.num_processes > 1 else [own]


class LiveEvaluation(Resumable):
    """Every `every_steps` the student answers the selection requests, greedily; its style rates join that step's row.

    `measure(trainer)` returns the row's `style/...` numbers. With `keep_best` a checkpoint is written whenever the margin is the
    highest so far (a later step wins a tie); `stop_margin` ends training once the margin has been at least that
    `stop_patience` times in a row.
    """

    REMEMBERED = ("best_margin", "best_step", "num_reached")

    def __init__(self, *, measure: Callable, every_steps: int, keep_best: bool, stop_margin: float | None, stop_patience: int):
        self.measure = measure
        self.every_steps, self.keep_best = every_steps, keep_best
        self.stop_margin, self.stop_patience = stop_margin, stop_patience
        self.trainer = None  # set once the trainer exists
        self.best_margin: float | None = None
        self.best_step: int | None = None
        self.num_reached = 0
        self.last: dict[str, float | None] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        if self.keep_best and self.best_step is not None:  # a resumed run must not prune the best one so far
            self.trainer.decisions.kept_checkpoints = {self.best_checkpoint(args)}
        self.trainer.is_over = self.has_reached

    @property
    def has_reached(self) -> bool:
        return self.stop_margin is not None and self.num_reached >= self.stop_patience

    def on_step_end(self, args, state, control, **kwargs):
        if not self.every_steps or (state.global_step % self.every_steps and state.global_step != state.max_steps):
            return
        numbers = self.measure(self.trainer)
        self.last = numbers
        self.trainer.pending_numbers.update(numbers)
        control.should_log = True
        margin = numbers.get("style/margin")
        if margin is None:
            return
        if self.keep_best and (self.best_margin is None or margin >= self.best_margin):
            self.best_margin, self.best_step = margin, state.global_step
            self.trainer.decisions.kept_checkpoints = {self.best_checkpoint(args)}
            control.should_save = True
        self.num_reached = self.num_reached + 1 if self.stop_margin is not None and margin >= self.stop_margin else 0
        if self.has_reached:
            control.should_training_stop = True

    def best_checkpoint(self, args) -> Path:
        return Path(args.output_dir) / f"checkpoint-{self.best_step}"


class WarmStart(Resumable):
    """Ends the warm start once the student's P(style opening) has reached `until` under every style; looks every `EVERY_STEPS`.

    `measure(trainer)` returns the smallest of those probabilities. `warm_start_steps` is a lower bound.
    """

    EVERY_STEPS = 5
    REMEMBERED = ("end",)

    def __init__(self, *, measure: Callable, until: float | None):
        self.measure, self.until = measure, until
        self.trainer = None  # set once the trainer exists
        self.end: int | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        self.trainer.decisions.warm_start_end = self.end

    def on_step_end(self, args, state, control, **kwargs):
        if self.until is None or self.end is not None or state.global_step < self.trainer.options.warm_start_steps:
            return
        if state.global_step % self.EVERY_STEPS == 0:
            probability = self.measure(self.trainer)
            self.trainer.pending_numbers["train/opening_probability"] = probability
            if probability >= self.until:
                self.end = self.trainer.decisions.warm_start_end = state.global_step


class Bar(TrainerCallback):
    """Moves the training bar; loss and margin stand behind it."""

    def __init__(self, progress: Progress, live: LiveEvaluation):
        self.progress, self.live = progress, live
        self.loss: float | None = None
        self.tick = None

    def on_train_begin(self, args, state, control, **kwargs):
        self.tick = self.progress.phase("training", state.max_steps, state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.loss = (logs or {}).get("train/loss", self.loss)
        self.tick(state.global_step, state.max_steps, loss=self.loss, margin=self.live.last.get("style/margin"))

    def on_step_end(self, args, state, control, **kwargs):
        self.tick(state.global_step, state.max_steps, loss=self.loss, margin=self.live.last.get("style/margin"))


class StopOnSignal(TrainerCallback):
    """After a signal to any process the optimizer step is finished and saved, then training ends in all of them."""

    def __init__(self, is_requested: Callable[[], bool]):
        self.is_requested = is_requested
        self.has_stopped = False

    def on_step_end(self, args, state, control, **kwargs):
        asked = self.is_requested()
        if args.world_size > 1:
            asked = any(gather_object([asked]))
        if asked:
            self.has_stopped = True
            control.should_save = True
            control.should_training_stop = True
