"""What is said before training about a style that the student never writes."""

import pytest

from gold_style.config.settings import Settings
from gold_style.distil.openings import Opening
from gold_style.job.inputs import Inputs
from gold_style.job.teacher_check import check_openings

COLD = Opening(style="chosun", student=1e-9, teacher=0.7, student_in_nucleus=0.0)


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        (["loss.beta=0.3"], "Set loss.beta=0"),
        (["loss.beta={from:0,to:0.3,steps:40}"], "Set loss.beta=0"),  # it does not stay 0
        (["loss=uld"], "Start on teacher-written text"),  # reads no beta
        (["loss.beta=0"], None),
        (["loss.lmbda=0.5", "loss.seq_kd=true"], None),
        (["loss.lmbda={from:0,to:1,steps:40}", "loss.seq_kd=true"], None),
        (["loss.warm_start_until=0.1"], None),
    ],
)
def test_a_cold_start_is_warned_of_where_the_loss_needs_the_students_own_rows(overrides, advice):
    said = []
    check_openings(Inputs.load(Settings.compose("tracker=none", *overrides)), [COLD], said.append)
    assert said[0].startswith("P(style opening | <style:chosun>): student 1.00e-09")
    assert [advice in text for text in said[1:]] == ([True] if advice else [])
