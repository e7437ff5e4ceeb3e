"""Seconds and peak memory of a step's phases, with the card waited for before and after each of them."""

import contextlib
import statistics

import torch
from stepping.turns import Loop
from transformers import TrainerCallback

from card.case import Case

PHASES = ("rollout", "teacher", "student", "optimizer")


class Phases(TrainerCallback):
    """Of the latest step: `seconds` and `peaks` (GB allocated at most) by phase. `entered` is the phase that
    is, or was last, under way; `reserved` is what torch's allocator held at most (GB) in any step."""

    def __init__(self, trainer, case: Case):
        self.case, self.seconds, self.peaks, self.entered, self.reserved = case, {}, {}, "start", 0.0
        if plain := getattr(trainer, "_timed", None):  # ours names its phases
            trainer._timed = lambda name: self._timed(plain, name)
        trainer.add_callback(self)

    @contextlib.contextmanager
    def _timed(self, plain, name: str):
        self._begin(name)
        with plain(name):
            yield
        self._end(name)

    def _begin(self, name: str) -> None:
        self.entered = name
        reset_peak(self.case)
        self._start = self.case.now()

    def _end(self, name: str) -> None:
        self.seconds[name] = self.case.now() - self._start
        self.keep_peak(name)

    def keep_peak(self, name: str) -> None:
        if self.case.on_card:
            self.peaks[name] = torch.cuda.max_memory_allocated() / 1e9
            self.reserved = max(self.reserved, torch.cuda.max_memory_reserved() / 1e9)

    def start_anew(self) -> None:
        """Before a step: not in `on_step_begin`, which a loop that is held calls at the end of the step before."""
        self.seconds, self.peaks, self.entered = {}, {}, "step"
        reset_peak(self.case)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.keep_peak("before the optimizer")  # of sides that name no phases
        self._begin("optimizer")

    def on_optimizer_step(self, args, state, control, **kwargs):
        self._end("optimizer")


def reset_peak(case: Case) -> None:
    if case.on_card:
        torch.cuda.reset_peak_memory_stats()


class Side:
    """A trainer that is stepped and measured; `seconds` are those of its counted steps. Peaks are the process's: of a trainer alone."""

    def __init__(self, trainer, case: Case):
        self.trainer, self.case = trainer, case
        self.phases = Phases(trainer, case)
        self.loop = Loop(trainer, case.now)
        self.start_anew()

    def start_anew(self) -> None:
        self.seconds: list[float] = []
        self.by_phase: dict[str, list[float]] = {}
        self.peaks: dict[str, float] = {}

    def step(self, *, counted: bool = True) -> float:
        self.phases.start_anew()
        seconds = self.loop.step()
        for name, peak in self.phases.peaks.items():
            self.peaks[name] = max(peak, self.peaks.get(name, 0.0))
        if counted:
            self.seconds.append(seconds)
            for name, value in self.phases.seconds.items():
                self.by_phase.setdefault(name, []).append(value)
        return seconds

    def fits_once_more(self, share: float = 1.0) -> bool:
        """Whether another step fits into this share of the time that is left."""
        return self.case.seconds_left * share > 1.3 * max(self.seconds, default=0.0) + 3

    @property
    def figures(self) -> dict:
        """Of the counted steps: medians, each step's seconds, peaks."""
        if not self.seconds:
            return {}
        median = statistics.median(self.seconds)
        found = {"seconds": round(median, 4), "steps": " ".join(f"{value:.3f}" for value in self.seconds)}
        found |= {f"{name}_s": round(statistics.median(values), 4) for name, values in self.by_phase.items()}
        return found

    @property
    def peak_figures(self) -> dict:
        """GB allocated at most, in a step and in each of its phases."""
        if not self.peaks:
            return {}
        by_phase = {f"{name}_gb": round(self.peaks[name], 2) for name in PHASES if name in self.peaks}
        return {"peak_gb": round(max(self.peaks.values()), 2), **by_phase}

    def close(self) -> None:
        self.loop.close()
