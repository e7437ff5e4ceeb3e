"""What happens between steps: live evaluation, best checkpoint, early stop, the bar, and an orderly end after a signal."""

import time
from collections.abc import Callable
from pathlib import Path

from accelerate.utils import gather_object
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from gold_style.distil.meters import Meters
from gold_style.runs.progress import Progress


class Resumable(TrainerCallback, ExportableState):
    """A callback whose attributes named in `STORED` travel with the checkpoint: a resumed run continues as if nothing had happened.

    transformers would build the callback anew from JSON; ours hold functions, so they take their numbers back themselves.
    """

    STORED: tuple[str, ...] = ()
    trainer = None  # set once it exists, where a callback needs it

    def state(self) -> dict:
        return {"args": {}, "attributes": {name: getattr(self, name) for name in self.STORED}}

    def on_train_begin(self, args, state, control, **kwargs):
        stored = state.stateful_callbacks.get(type(self).__name__)
        for name, value in (stored or {}).get("attributes", {}).items():
            setattr(self, name, value)


class Totals(Resumable):
    """Carries what every process has measured, and the seconds of training, through checkpoints."""

    STORED = ("processes",)

    def __init__(self, meters: Meters):
        self.meters = meters
        self.processes: list[dict] = []  # every process's share, as of the checkpoint
        self._started, self._seconds_before = time.monotonic(), 0.0

    @property
    def train_seconds(self) -> float:
        """Seconds of training, those before a resume included."""
        return self._seconds_before + time.monotonic() - self._started

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        self._started = time.monotonic()
        if self.processes:
            shares = [dict(share) for share in self.processes]
            self._seconds_before = max(share.pop("train_seconds") for share in shares)
            self.meters.restore(shares[args.process_index :: args.world_size])

    def collect(self) -> None:
        """Gather every process's share for the checkpoint that is about to be written; called by all of them."""
        self.processes = gather_object([self.meters.export() | {"train_seconds": self.train_seconds}])


class LiveEvaluation(Resumable):
    """Every `every_steps` the student answers the selection requests, greedily; its style rates join that step's row.

    `measure(trainer)` returns the row's `style/...` numbers. With `keep_best` a checkpoint is written whenever the margin is the
    highest so far (a later step wins a tie); `stop_margin` ends training once the margin has been at least that
    `stop_patience` times in a row.
    """

    STORED = ("best_margin", "best_step", "num_reached")

    def __init__(self, *, measure: Callable, every_steps: int, keep_best: bool, stop_margin: float | None, stop_patience: int):
        self.measure = measure
        self.every_steps, self.keep_best = every_steps, keep_best
        self.stop_margin, self.stop_patience = stop_margin, stop_patience
        self.best_margin: float | None = None
        self.best_step: int | None = None
        self.num_reached = 0
        self.last: dict[str, float | None] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        if self.keep_best and self.best_step is not None:  # a resumed run must not prune the best one so far
            self.trainer.decisions.kept_checkpoints = {self.best_checkpoint(args)}
        self.trainer.decisions.is_over = self.has_reached

    @property
    def has_reached(self) -> bool:
        return self.stop_margin is not None and self.num_reached >= self.stop_patience

    def on_step_end(self, args, state, control, **kwargs):
        if not self.every_steps or (state.global_step % self.every_steps and state.global_step != state.max_steps):
            return
        numbers = self.measure(self.trainer)
        self.last = numbers
        self.trainer.meters.pending_numbers.update(numbers)
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
    STORED = ("end",)

    def __init__(self, *, measure: Callable, until: float | None):
        self.measure, self.until = measure, until
        self.end: int | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        self.trainer.decisions.warm_start_end = self.end

    def on_step_end(self, args, state, control, **kwargs):
        if self.until is None or self.end is not None or state.global_step < self.trainer.options.warm_start_steps:
            return
        if state.global_step % self.EVERY_STEPS == 0:
            probability = self.measure(self.trainer)
            self.trainer.meters.pending_numbers["train/opening_probability"] = probability
            if probability >= self.until:
                self.end = self.trainer.decisions.warm_start_end = state.global_step


class Bar(TrainerCallback):
    """Moves the training bar, which also shows loss and margin."""

    def __init__(self, progress: Progress, live: LiveEvaluation):
        self.progress, self.live = progress, live
        self.loss: float | None = None
        self.tick = None

    def on_train_begin(self, args, state, control, **kwargs):
        self.tick = self.progress.phase("training", state.max_steps, state.global_step)

    def on_step_end(self, args, state, control, logs=None, **kwargs):
        self.loss = (logs or {}).get("train/loss", self.loss)
        self.tick(state.global_step, state.max_steps, loss=self.loss, margin=self.live.last.get("style/margin"))

    on_log = on_step_end


class StopOnSignal(TrainerCallback):
    """After a signal to any process the optimizer step is finished and saved, then training ends in all of them."""

    def __init__(self, is_requested: Callable[[], bool]):
        self.is_requested = is_requested
        self.has_stopped = False

    def on_step_end(self, args, state, control, **kwargs):
        if any(gather_object([self.is_requested()])):
            self.has_stopped = True
            control.should_save = True
            control.should_training_stop = True
