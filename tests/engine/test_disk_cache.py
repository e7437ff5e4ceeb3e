"""Results on the disk: bounded, safe among processes, and never needed."""

import multiprocessing
from pathlib import Path

from gold_style.engine.disk_cache import DiskCache


def fail(*arguments):
    raise AssertionError("computed again")


def test_torn_and_rotten_entries_are_computed_again(tmp_path):
    cache = DiskCache(tmp_path, 10**6)
    cache.remember("key", lambda: [1, 2])
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole = path.read_bytes()
    for data in (whole[:-1], whole[:70], b"", whole.replace(b"2", b"3")):
        path.write_bytes(data)
        assert cache.remember("key", lambda: [1, 2]) == [1, 2]
        assert path.read_bytes() == whole
    assert cache.remember("key", fail) == [1, 2]


def test_it_stays_within_its_bytes_and_drops_what_was_not_read(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=40_000)
    for number in range(100):
        cache.remember(["entry", number], lambda: "x" * 1000)
        cache.remember(["entry", 0], lambda: "x" * 1000)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 40_000
    assert cache.remember(["entry", 0], fail) == "x" * 1000
    assert DiskCache(tmp_path / "none", 10).remember("big", lambda: "y" * 100) == "y" * 100
    assert not (tmp_path / "none").exists()


def work(directory: str, number: int, results) -> None:
    cache = DiskCache(Path(directory), 20_000)
    results.put([cache.remember(["shared", key], lambda key=key: [key] * 200) for key in range(60)] == [[key] * 200 for key in range(60)])


def test_processes_may_write_the_same_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=work, args=(str(tmp_path), number, results)) for number in range(4)]
    for process in processes:
        process.start()
    assert all(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_a_disk_that_cannot_be_written_costs_nothing_but_the_entry(tmp_path):
    (tmp_path / "file").write_text("")
    cache = DiskCache(tmp_path / "file" / "below", 10**6)
    assert cache.remember("key", lambda: 1) == 1 == cache.remember("key", lambda: 1)
