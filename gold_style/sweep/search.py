"""Bayesian search behind Hydra's sweeper interface: Optuna (TPE, median pruning) proposes, Hydra's launcher runs.

Hydra's own Optuna plugin (1.3.0) needs optuna < 3, and one trial that is NaN or fails ends its study; this one needs optuna >= 4,
marks such a trial as failed and continues. The study is `study.journal` in the sweep's directory: `resume=auto` takes it up, and
trials that were cut off are proposed again and resumed in their run directories.

    python train.py -m sweep.search.trials=20 loss.beta=interval(0,1) 'train.learning_rate=tag(log, interval(5e-4, 5e-3))'
    python train.py -m sweep=search
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Transformer
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from gold_style.config.schema import Search
from gold_style.runs.files import write_json
from gold_style.runs.study import PRUNED_AT, open_study

INTERRUPTED, BEST = "interrupted", "best.json"


def search(sweeper: Any, arguments: Sequence[str]) -> dict:
    """Run trials until the study has `sweep.search.trials` of them; returns the best, which best.json holds, too."""
    options = Search(**OmegaConf.to_container(sweeper.config.sweep.search))
    directory = Path(sweeper.config.hydra.sweep.dir)
    directory.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(sweeper.config, directory / "multirun.yaml")
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    fixed = [override.input_line for override in overrides if not override.is_sweep_override()]
    space = {override.get_key_element(): distribution(override) for override in overrides if override.is_sweep_override()}
    study = open_study(directory, options)
    propose_again(study)
    while (number := options.trials - num_finished(study)) > 0:
        trials = [study.ask(space) for _ in range(min(number, options.parallel))]
        jobs = [[*fixed, *overrides_of(trial.params), f"sweep.search.trial={trial._trial_id}"] for trial in trials]
        sweeper.validate_batch_is_legal(jobs)
        results = sweeper.launcher.launch(jobs, initial_job_idx=trials[0].number)
        for trial, result in zip(trials, results, strict=True):
            close_trial(study, trial, result)
        write_json(directory / BEST, best_of(study))
    return best_of(study)


def distribution(override: Override) -> Any:
    """A swept override as what Optuna draws from. Raises ValueError for values that it cannot draw."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value, key = override.value(), override.get_key_element()
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        if log and value.start <= 0:
            raise ValueError(f"{key}: an interval with the tag log begins above 0")
        whole = isinstance(value.start, int) and isinstance(value.end, int)  # int(interval(2, 8))
        return IntDistribution(value.start, value.end, log=log) if whole else FloatDistribution(value.start, value.end, log=log)
    if isinstance(value, (ChoiceSweep, RangeSweep)):
        return CategoricalDistribution(list(override.sweep_iterator(transformer=Transformer.encode)))
    raise ValueError(f"{key}: a search draws from interval(...), range(...) and choice(...)")


def overrides_of(params: dict[str, Any]) -> list[str]:
    """Drawn values as overrides; numbers with all their digits, so that the same draw is the same config."""
    return [f"{key}={value!r}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()]


def num_finished(study: Any) -> int:
    """Trials that ended by themselves: completed, pruned or failed, but not cut off."""
    return sum(trial.state.is_finished() and not trial.user_attrs.get(INTERRUPTED) for trial in study.get_trials(deepcopy=False))


def propose_again(study: Any) -> None:
    """Trials that were running when an earlier session ended: closed, and their values proposed anew, before any others."""
    from optuna.trial import Trial, TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        Trial(study, trial._trial_id).set_user_attr(INTERRUPTED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def close_trial(study: Any, trial: Any, result: Any) -> None:
    """Tell the study how a trial ended. One without a number, or that failed, counts as a failed trial."""
    from optuna.trial import TrialState

    pruned = PRUNED_AT in study.get_trials()[trial.number].user_attrs
    value = result.return_value if result.status == JobStatus.COMPLETED else None
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
    elif value is not None and math.isfinite(value):
        study.tell(trial, value)
    else:
        trial.set_user_attr("reason", "its objective is null" if value is not None else "the run failed")
        study.tell(trial, state=TrialState.FAIL)


def best_of(study: Any) -> dict:
    """The best trial so far, and how many ended how."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(INTERRUPTED)]
    counts = Counter(trial.state.name.lower() for trial in trials)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = max(complete, key=lambda trial: trial.value, default=None)
    found = best and {"trial": best.number, "value": best.value, "overrides": overrides_of(best.params)}
    return {"best": found, "trials": {state: counts[state] for state in ("complete", "pruned", "fail")}}
