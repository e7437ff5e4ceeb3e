"""The search: real Optuna behind real Hydra. A failing and a null trial are two trials and no more; a study is taken up again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from gold_style.config.schema import Search
from gold_style.distil.pruning import Pruning
from gold_style.runs.run import Pruned, open_run
from gold_style.runs.study import open_study
from gold_style.sweep.search import distribution, num_finished, overrides_of
from tests.helpers.commands import PROJECT, SMALL, finish, python, start
from tests.helpers.run_settings import compose

pytestmark = pytest.mark.slow

OPTIONS = Search(trials=6, parallel=1, startup_trials=2, prune=True, seed=0, trial=None)
LINE = (
    "-m",
    "hydra/sweeper=gold_style_search",
    "hydra.sweep.dir=study",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "x=interval(0,1)",
    "kind=choice(a,b)",
    "n=range(1,4)",
)


def searched(place: Path):
    return start("tests/helpers/search_task.py", *LINE, cwd=place, PYTHONPATH=str(PROJECT))


def rows_of(place: Path) -> list[dict]:
    return [json.loads(line) for line in (place / "trials.jsonl").read_text().splitlines()]


def test_six_trials_of_which_one_fails_and_one_is_null_taken_up_after_a_kill(tmp_path):
    (tmp_path / "die").write_text("")
    first = finish(searched(tmp_path))
    assert first.code == 9
    study = open_study(tmp_path / "study", OPTIONS)
    assert [trial.state for trial in study.get_trials()] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    cut = rows_of(tmp_path)[4]

    second = finish(searched(tmp_path))
    assert second.code == 0, second.stderr[-3000:]
    rows = rows_of(tmp_path)
    assert [row["number"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]  # nothing done before is done again
    assert (rows[5]["x"], rows[5]["kind"], rows[5]["n"]) == (cut["x"], cut["kind"], cut["n"])  # but what was cut off is, first
    study = open_study(tmp_path / "study", OPTIONS)
    assert num_finished(study) == 6
    assert [trial.user_attrs.get("reason") for trial in study.get_trials()][1:4:2] == ["the run failed", "its objective is null"]
    best = json.loads((tmp_path / "study" / "best.json").read_text())
    assert best["trials"] == {"complete": 4, "pruned": 0, "fail": 2}
    top = max((row for row in rows if row["number"] not in (1, 3, 4)), key=lambda row: -((row["x"] - 0.3) ** 2))
    assert best["best"]["trial"] == top["number"] and f"x={top['x']!r}" in best["best"]["overrides"]
    third = finish(searched(tmp_path))
    assert third.code == 0 and len(rows_of(tmp_path)) == 7  # six are six


def override(text: str):
    return OverridesParser.create().parse_override(text)


def test_swept_values_become_what_is_drawn_from():
    assert distribution(override("a=interval(0,1)")) == FloatDistribution(0, 1)
    assert distribution(override("a=tag(log,interval(1e-4,1e-2))")) == FloatDistribution(1e-4, 1e-2, log=True)
    assert distribution(override("a=int(interval(2,8))")) == IntDistribution(2, 8)
    assert distribution(override("a=b,c")) == CategoricalDistribution(["b", "c"])
    assert distribution(override("a=range(1,4)")) == CategoricalDistribution([1, 2, 3])
    with pytest.raises(ValueError, match="begins above 0"):
        distribution(override("a=tag(log,interval(0,1))"))
    assert overrides_of({"a": 0.1 + 0.2, "b": "x", "c": 3}) == ["a=0.30000000000000004", "b=x", "c=3"]


class Live:
    """The part of LiveEvaluation that is read."""

    def __init__(self):
        self.last: dict = {}


class State:
    global_step, max_steps = 0, 40


def test_a_trial_far_below_the_others_is_pruned(tmp_path):
    study = open_study(tmp_path, OPTIONS)
    for margin in (0.8, 0.9, 0.85):
        trial = study.ask({"x": FloatDistribution(0, 1)})
        trial.report(margin / 2, 10)
        study.tell(trial, margin)
    poor = study.ask({"x": FloatDistribution(0, 1)})
    live, state = Live(), State()
    pruning = Pruning(live, tmp_path, replace(OPTIONS, trial=poor._trial_id))
    pruning.on_step_end(None, state, None)  # nothing measured yet
    live.last, state.global_step = {"style/margin": 0.1}, 10
    with pytest.raises(Pruned, match="step 10"):
        pruning.on_step_end(None, state, None)
    assert open_study(tmp_path, OPTIONS).get_trials()[-1].user_attrs["pruned_at"] == 10
    good = study.ask({"x": FloatDistribution(0, 1)})
    live.last = {"style/margin": 0.44}
    Pruning(live, tmp_path, replace(OPTIONS, trial=good._trial_id)).on_step_end(None, state, None)
    assert study.get_trials()[good.number].intermediate_values == {10: 0.44}


def test_a_pruned_run_says_so(tmp_path):
    with pytest.raises(Pruned), open_run(compose(tmp_path / "run"), ["train.py"]):
        raise Pruned("pruned at step 10")
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (state["status"], state["reason"]) == ("pruned", "pruned at step 10")


def test_training_is_searched_and_taken_up_again(tmp_path):
    """A null objective counts as a trial; more trials are added to the same study by the same command."""
    line = ("-m", *SMALL, "hardware.threads=1", "output_dir=found", "loss.beta=interval(0,1)", "prompts.eval_samples=choice(2,0)")
    first = python("train.py", *line, "sweep.search.trials=2", "sweep.search.seed=1", cwd=tmp_path)
    assert first.code == 0, first.stderr[-3000:]
    second = python("train.py", *line, "sweep.search.trials=3", "sweep.search.seed=1", "resume=auto", cwd=tmp_path)
    assert second.code == 0, second.stderr[-3000:]
    best = json.loads((tmp_path / "found" / "best.json").read_text())
    assert sum(best["trials"].values()) == 3
    states = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "found").glob("*/run.json")}
    assert sorted(states) == ["0", "1", "2"] and {state["status"] for state in states.values()} == {"completed"}
    assert len({state["config_hash"] for state in states.values()}) == 3
    trials = open_study(tmp_path / "found", OPTIONS).get_trials()
    margins = [json.loads((tmp_path / "found" / str(n) / "summary.json").read_text())["after"] for n in range(3)]
    assert [trial.value for trial in trials] == [after and after["margin"] for after in margins]
