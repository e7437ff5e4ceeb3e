"""The short version of make torture: two real SIGKILLs in a real run, and the run that comes of it is bit for bit the same."""

import pytest

from tests.torture.kills import SHORT, torture

pytestmark = pytest.mark.slow


def test_a_run_that_is_killed_twice_ends_as_if_nothing_had_happened(tmp_path):
    result = torture(SHORT, tmp_path, seed=0)
    assert result.lost == []
    assert [event.get("killed") for event in result.events] == [True, True], result.events
