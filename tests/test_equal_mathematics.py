"""One step and twenty are the same mathematics, however they are spread over processes and cut into micro-batches, and from whichever
checkpoint they continue. The cases are in tests/helpers/equal_mathematics.py; docs/equal_mathematics.md has the figures of one machine."""

import pytest

from benchmarks.equal_mathematics import PAGE
from tests.helpers.equal_mathematics import CASES, ONE, RAY, compared, run, run_all

COMPARED = [name for name, case in CASES.items() if case.like != name]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict]:
    return run_all(tmp_path_factory.mktemp("equal"))


def assert_equal(name: str, found: dict, expected: dict) -> None:
    assert len(found["rows"]) == (10 if CASES[name].resumes else 20)
    numbers = compared(found, expected)
    assert numbers.pop("same rows")
    assert {key: value for key, value in numbers.items() if not value <= CASES[name].tolerance} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMPARED if name != RAY])
def test_the_numbers_are_those_of_one_process(name, found):
    assert_equal(name, found[name], found[CASES[name].like])


@pytest.mark.slow
def test_the_comparison_sees_another_experiment(found):
    same = {key: found["LoRA"][key] for key in ("gradient", "weights")}
    numbers = compared(found["LoRA"], found[ONE] | same)
    assert numbers["loss of 20"] > 1e-3 and not numbers["same rows"]


@pytest.mark.ray
def test_the_numbers_of_a_teacher_behind_ray_are_those_of_a_local_one(tmp_path):
    found, expected = run(RAY, tmp_path), run(ONE, tmp_path)
    assert_equal(RAY, found, expected)
    assert [row["train/loss"] for row in found["rows"]] == [row["train/loss"] for row in expected["rows"]]


def test_the_page_has_every_row_within_its_tolerance():
    """python benchmarks/equal_mathematics.py writes it."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == COMPARED
    for name, like, *figures, same in rows:
        assert like == CASES[name].like and same == "yes"
        assert all(float(figure) <= CASES[name].tolerance for figure in figures), name
