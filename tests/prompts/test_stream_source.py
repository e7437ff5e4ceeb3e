"""A stream of rows: a pure function of row numbers, read as far as needed, pickled, resumed, and refused when it changes."""

import pickle
from dataclasses import dataclass, field
from itertools import islice

import pytest

from gold_style.prompts import stream_source
from gold_style.prompts.held_out import request_key
from gold_style.prompts.raw_rows import RawRow, RowFiles
from gold_style.prompts.shuffle import permutation
from gold_style.prompts.stream_source import StreamSource
from tests.helpers.prompt_settings import pack, rows, settings, write

PACK = pack()


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of 8 rows, of which 24 are read ahead, so that a few rows make a long stream."""
    monkeypatch.setattr(stream_source, "WINDOW_ROWS", 8)
    monkeypatch.setattr(StreamSource, "max_read_ahead", 24)


def streamed(path, seed=0, run_directory=None, **prompts) -> StreamSource:
    """A stream of the file's rows, as prompts=hf prompts.streaming=true builds it."""
    return StreamSource(RowFiles({path: path.name}), "prompts.name=x", settings(seed, **prompts), PACK, run_directory)


@pytest.mark.parametrize("num_requests", [30, 28, 61])
def test_a_stream_is_a_pure_function_of_row_numbers(tmp_path, small_windows, num_requests):
    path = write(tmp_path / "a.jsonl", rows(num_requests))
    found = streamed(path, eval_samples=2, selection_samples=2)
    assert found.num_rows is None, "not known before the end"
    held_out = {request_key(p) for p in (*found.evaluation(), *found.selection())}
    n = 2 * (num_requests - len(held_out))
    forth = [found[number] for number in range(3 * n)]
    assert found.num_rows == n
    for epoch in range(3):
        epoch_rows = [p.row for p in forth[epoch * n : (epoch + 1) * n]]
        assert len(set(epoch_rows)) == n, "every row once"
        assert all(not held_out & {request_key(p)} for p in forth)
        assert epoch_rows != sorted(epoch_rows)
    assert [p.row for p in forth[:n]] != [p.row for p in forth[n : 2 * n]]
    anew = streamed(path, eval_samples=2, selection_samples=2)
    order = permutation(3 * n, "any order").tolist()
    assert [anew[number] for number in order] == [forth[number] for number in order]
    resumed = streamed(path, eval_samples=2, selection_samples=2)
    assert [resumed[number] for number in range(2 * n + 3, 3 * n)] == forth[2 * n + 3 :]


def test_a_stream_survives_pickling_and_keeps_few_rows(tmp_path, small_windows):
    path = write(tmp_path / "a.jsonl", rows(100))
    found = streamed(path)
    first = [found[number] for number in range(100)]
    other = pickle.loads(pickle.dumps(found))
    assert [other[number] for number in range(100)] == first == [found[number] for number in range(100)]
    assert sum(len(window) for window in found._windows.values()) <= 8 * stream_source.KEPT_WINDOWS


@dataclass
class ManyRows:
    """Raw rows that remember which were read."""

    served: list[int] = field(default_factory=list)
    blank_lines: int = 0

    def __iter__(self):
        for number, value in enumerate(islice(rows(10_000), 20_000)):
            self.served.append(number)
            yield RawRow(origin=f"x:{number}", value=value)


def test_a_stream_is_read_as_far_as_it_is_needed(small_windows):
    many = ManyRows()
    found = StreamSource(many, "prompts.name=x", settings(), PACK)
    assert len(many.served) == 24
    assert found[0].request and len(many.served) <= 24 + 24 and found.num_rows is None


def test_a_late_bad_row_stops_the_stream_where_it_comes(tmp_path, small_windows):
    path = write(tmp_path / "a.jsonl", [*rows(20), "{", *rows(5)])
    found = streamed(path, eval_samples=0, selection_samples=0)
    assert "a stream; 24 rows have been checked" in found.notes[-1]
    good = [found[number] for number in range(40)]
    with pytest.raises(ValueError, match=r"prompts.name=x: 1 of 49 rows cannot be used:\n  a.jsonl:41: JSON"):
        found[40]
    kept = streamed(path, run_directory=tmp_path / "run", on_bad_row="quarantine", eval_samples=0, selection_samples=0)
    assert [kept[number] for number in range(40)] == good, "what came before the bad row stays as it was"
    assert [kept[number].row for number in range(150)] and kept.num_rows == 50
    assert len((tmp_path / "run/quarantine.jsonl").read_text().splitlines()) == 1 and "1 bad row set aside" in kept.notes[0]


def test_a_stream_that_changes_is_refused(tmp_path, small_windows):
    path = write(tmp_path / "a.jsonl", rows(30))
    found = streamed(path, eval_samples=0, selection_samples=0)
    assert [found[number] for number in range(70)]
    write(path, rows(25))
    with pytest.raises(ValueError, match="the stream has changed: 60 training rows before, 50 now"):
        [found[number] for number in range(300)]
