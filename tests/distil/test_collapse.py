"""Collapsing students are said, drawn, and stopped on request."""

import pytest
from transformers import TrainerState

from gold_style.distil.collapse import Collapsed, CollapseGuard, sparkline

HEALTHY = {
    "train/student_entropy": 1.0,
    "train/teacher_entropy": 0.8,
    "train/completion_tokens": 20.0,
    "train/unfinished": 0.1,
    "style/degenerate": 0.0,
    "style/leakage": 0.1,
}


def fed(rows: list[dict], on_collapse: str = "warn") -> tuple[CollapseGuard, list[str], list[dict]]:
    """A guard after it has seen `rows`, what it said, and what it recorded."""
    said, recorded = [], []
    guard = CollapseGuard(on_collapse=on_collapse, say=said.append, record=lambda collapse: recorded.append(list(collapse)))
    for step, row in enumerate(rows, start=1):
        guard.on_log(None, TrainerState(global_step=step), None, row)
    return guard, said, recorded


def rows(*changes: dict, healthy: int = 6) -> list[dict]:
    return [HEALTHY] * healthy + [HEALTHY | change for change in changes]


COLLAPSES = {
    "degenerate": [{"style/degenerate": value} for value in (0.5, 0.7, 0.9)],
    "leakage": [{"style/leakage": value} for value in (0.9, 0.95, 1.0)],
    "entropy": [{"train/student_entropy": 4.0}] * 3,
    "entropy, lost": [{"train/student_entropy": 0.01}] * 3,
    "length": [{"train/unfinished": 1.0}] * 3,
    "length, lost": [{"train/completion_tokens": 1.0}] * 3,
    "skipping": [{"train/skipped_steps": number} for number in range(1, 7)],
}


@pytest.mark.parametrize("name", COLLAPSES)
def test_each_collapse_is_said_once_with_its_curve(name):
    cause = name.partition(",")[0]
    guard, said, recorded = fed(rows(*COLLAPSES[name], *COLLAPSES[name][-1:] * 3))
    assert len(said) == 1 and [entry["cause"] for entry in recorded[-1]] == [cause]
    assert any(bar in said[0] for bar in "▁█") and "now" in said[0] and "on_collapse=stop" in said[0]
    assert recorded[-1][0]["step"] == int(said[0].split("step ")[1].split(":")[0]) > 6
    with pytest.raises(Collapsed, match=f"step {recorded[-1][0]['step']}: "):
        fed(rows(*COLLAPSES[name]), on_collapse="stop")


@pytest.mark.parametrize(
    "changes",
    [
        [{}] * 20,
        [{"style/leakage": 1.0}, {"style/leakage": 1.0}, {"style/leakage": 0.8}] * 4,  # now and then, not for good
        [{"style/degenerate": None, "style/leakage": None}] * 10,
        [{"train/student_entropy": 0.3, "train/teacher_entropy": 0.2}] * 10,  # sharper, as its teacher is
        [{"train/student_entropy": 2.5}, {}] * 10,
        [{"train/unfinished": 0.6}] * 10,
        [{"train/skipped_steps": 3}] * 10,
    ],
)
def test_healthy_runs_hear_nothing(changes):
    assert fed(rows(*changes), on_collapse="stop")[1] == []


def test_a_student_that_never_stopped_may_learn_to():
    unfinished = [HEALTHY | {"train/unfinished": 1.0, "train/completion_tokens": 128.0}] * 8
    assert fed([*unfinished, *rows({}, {})])[1] == []


def test_a_cause_that_has_passed_may_be_said_again():
    guard, said, _ = fed(rows(*COLLAPSES["leakage"], {}, *COLLAPSES["leakage"]))
    assert len(said) == 2


def test_a_resumed_guard_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = fed(rows(*COLLAPSES["entropy"]))
    first, _, _ = fed(rows())
    state = TrainerState(stateful_callbacks={"CollapseGuard": first.state()}, global_step=6)
    state.save_to_json(tmp_path / "state.json")
    guard, said, _ = fed([])
    guard.on_train_begin(None, TrainerState.load_from_json(tmp_path / "state.json"), None)
    for step, change in enumerate(COLLAPSES["entropy"], start=7):
        guard.on_log(None, TrainerState(global_step=step), None, HEALTHY | change)
    assert said == whole[1] and len(said) == 1


def test_a_sparkline_is_one_line_with_its_numbers():
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█ (lowest 0, highest 1, now 1)"
    assert sparkline([2.0]) == "▁ (lowest 2, highest 2, now 2)"
