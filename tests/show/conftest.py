"""A finished run to draw."""

from pathlib import Path

import pytest

from tests.helpers.run_files import write_run


@pytest.fixture
def run(tmp_path) -> Path:
    return write_run(tmp_path / "run", requests=32)
