"""A value that moves during training: by step number, and in short."""

import math

from gold_style.config.schedule import at_step, lowest, shortened

SCHEDULE = {"from": 0.2, "to": 0.7, "steps": 5}


def test_it_goes_linearly_from_the_first_step_and_then_stays():
    assert [round(at_step(SCHEDULE, step), 10) for step in (0, 1, 4, 5, 6, 1000)] == [0.2, 0.3, 0.6, 0.7, 0.7, 0.7]
    assert at_step(SCHEDULE, math.inf) == 0.7 and at_step(SCHEDULE, 0) == 0.2  # to the bit: 0 and 1 are other formulas
    assert at_step(0.3, 5) == 0.3
    assert (lowest(SCHEDULE), lowest({**SCHEDULE, "to": 0.1}), lowest(0.3)) == (0.2, 0.1, 0.3)


def test_a_schedule_is_a_short_text_wherever_it_lies():
    beta, lmbda, other = {"from": 0, "to": 0.3, "steps": 40}, {"from": 1, "to": 0, "steps": 4}, {"lr_scheduler_kwargs": {"steps": 2}}
    assert shortened({"loss": {"beta": beta, "lmbda": lmbda}, "train": other}) == {
        "loss": {"beta": "0->0.3/40", "lmbda": "1->0/4"},
        "train": other,
    }
