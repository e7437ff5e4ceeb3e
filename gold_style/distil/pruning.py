"""A trial of a search: its live margins go to the study, which may say that they are too low to go on.

The study (Optuna's, https://optuna.readthedocs.io) is a journal file in the sweep's directory, so trials in other processes and on
other machines of the same file system write to it alike. gold_style.sweep.search proposes the trials and hears how they ended.
"""

from pathlib import Path

from transformers import TrainerCallback

from gold_style.config.schema import Search
from gold_style.distil.callbacks import LiveEvaluation
from gold_style.runs.run import Pruned

STUDY, JOURNAL = "gold_style", "study.journal"


def open_study(sweep: Path, search: Search):
    """The study of a sweep's directory, made if need be. Raises ValueError where Optuna is not installed."""
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise ValueError("a search needs Optuna: pip install 'gold-style[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=max(1, search.startup_trials)) if search.prune else optuna.pruners.NopPruner()
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(sweep / JOURNAL))),
        study_name=STUDY,
        direction="maximize",
        load_if_exists=True,
        pruner=pruner,
    )
    seed = search.seed + len(study.get_trials(deepcopy=False))  # a study taken up again must not draw what it drew before
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.startup_trials)
    return study


class Pruning(TrainerCallback):
    """Reports every live margin to trial `search.trial` of the study in `sweep`; raises Pruned once the study has seen enough."""

    def __init__(self, live: LiveEvaluation, sweep: Path, search: Search):
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
            self.trial.set_user_attr("pruned_at", state.global_step)
            raise Pruned(f"pruned at step {state.global_step}: live margin {margin:.3f} is below the median of earlier trials")
