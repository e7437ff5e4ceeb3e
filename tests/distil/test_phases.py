"""Seconds of a step's phases: of the host's clock, or of events that are read only when a row is logged."""

import time

import pytest

from gold_style.distil.meters import Meters
from gold_style.distil.phases import Phases


class Event:
    """torch.cuda.Event without a card: the device reaches each mark a second after the last, however fast the host is."""

    reached = 0
    waits = 0

    def record(self):
        Event.reached += 1
        self.at = Event.reached

    def synchronize(self):
        Event.waits += 1

    def elapsed_time(self, later) -> float:
        return 1000.0 * (later.at - self.at)


def test_events_are_waited_for_only_when_they_are_read():
    phases = Phases(meters := Meters(), Event)
    for name in ("rollout", "teacher", "rollout"):
        with phases(name):
            pass
    assert not meters.seconds and not Event.waits
    phases.read()
    assert meters.seconds == {"rollout": 2.0, "teacher": 1.0} and Event.waits == 3
    phases.read()
    assert meters.seconds["rollout"] == 2.0


def test_without_events_the_clock_counts_and_a_resumed_run_adds_to_its_seconds():
    phases = Phases(meters := Meters())
    meters.restore([Meters(seconds={"student": 5.0}).export()])
    with phases("student"):
        time.sleep(0.01)
    phases.read()
    assert meters.seconds["student"] == pytest.approx(5.01, abs=0.5) and meters.seconds["student"] > 5.01
