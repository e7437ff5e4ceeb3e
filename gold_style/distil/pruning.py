"""A trial of a search: reports its live margins to the study, which may say that they are too low to continue."""

from pathlib import Path

from transformers import TrainerCallback

from gold_style.distil.callbacks import LiveEvaluation
from gold_style.runs.run import Pruned
from gold_style.runs.study import PRUNED_AT, open_study


class Pruning(TrainerCallback):
    """Reports every live margin to trial `search.trial` of the study in `sweep`; raises Pruned once it has seen enough."""

    def __init__(self, live: LiveEvaluation, sweep: Path, search):
        import optuna

        self.live = live
        self.trial = optuna.trial.Trial(open_study(sweep, search), search.trial)
        self.seen: dict = {}

    def on_step_end(self, args, state, control, **kwargs):
        margin = self.live.last.get("style/margin")
        if self.live.last is self.seen or margin is None:
            return
        self.seen = self.live.last
        self.trial.report(margin, state.global_step)
        if state.global_step < state.max_steps and self.trial.should_prune():
            self.trial.set_user_attr(PRUNED_AT, state.global_step)
            raise Pruned(f"pruned at step {state.global_step}: live margin {margin:.3f} is below the median of earlier trials")
