"""The study of a search: what it has tried and measured, in the sweep's directory.

It is Optuna's (https://optuna.readthedocs.io), in a journal file, so trials in other processes and on other machines of the
same file system write to it alike. gold_style.sweep.search proposes trials and records how they ended;
gold_style.distil.pruning reports margins during one, and may end it.
"""

from pathlib import Path

from gold_style.config.schema import Search

STUDY, JOURNAL = "gold_style", "study.journal"
PRUNED_AT = "pruned_at"  # attribute of a trial: the step at which it was pruned


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
