"""Files under kills, full disks and torn lines; locks between real processes."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gold_style.runs.files import (
    ASIDE,
    FileLock,
    JsonLines,
    Locked,
    full_disk_explained,
    keep_rows_up_to,
    lock_is_held,
    plain,
    read_json,
    read_json_lines,
    require_free_space,
    to_json,
    write_json,
    write_json_lines,
    write_text,
)


def python(code: str, *arguments, **options) -> subprocess.Popen:
    """A child that runs `code`; its stdout is read line by line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_plain_unpacks_numbers_and_drops_what_json_lacks():
    value = {"tensor": torch.tensor(0.5), "array": np.ones(1), "nan": math.nan, "path": Path("a"), 3: (1, [-math.inf])}
    assert plain(value) == {"tensor": 0.5, "array": [1.0], "nan": None, "path": "a", "3": [1, [None]]}


def test_json_keeps_korean_readable_and_lone_surrogates_alive():
    assert to_json({"말": "하오"}) == '{"말": "하오"}'.encode()
    assert json.loads(to_json("\udc80")) == "\udc80"


ROWS = st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2), min_size=1, max_size=5)


@given(rows=ROWS, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_keeps_its_whole_rows_and_takes_more(tmp_path_factory, rows, data):
    path = tmp_path_factory.mktemp("torn") / "metrics.jsonl"
    write_json_lines(path, rows)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    lines = JsonLines(path)
    lines.append({"step": 1})
    lines.close()
    survivors = whole[:cut].count(b"\n") + (cut < len(whole) and whole[cut : cut + 1] == b"\n")
    assert list(read_json_lines(path)) == [*rows[:survivors], {"step": 1}]


def test_a_torn_tail_longer_than_a_block_is_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"text": "' + b"x" * 200_000)
    assert list(read_json_lines(path)) == [{"step": 1}]
    JsonLines(path).close()
    assert path.read_bytes() == b'{"step": 1}\n'


def test_a_damaged_line_in_the_middle_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="metrics.jsonl"):
        list(read_json_lines(path))


def test_rows_after_a_step_are_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_json_lines(path, [{"step": step} for step in (1, 2, 2, 3, 4)])
    assert keep_rows_up_to(path, 2) == 2
    assert [row["step"] for row in read_json_lines(path)] == [1, 2, 2]
    assert keep_rows_up_to(path, 2) == 0


WRITES_FOR_EVER = """
import sys
from pathlib import Path
from gold_style.runs.files import JsonLines, write_json
directory = Path(sys.argv[1])
lines, number = JsonLines(directory / "metrics.jsonl"), int(sys.argv[2])
while True:
    number += 1
    lines.append({"step": number, "text": "x" * (number % 5000)})
    write_json(directory / "run.json", {"number": number, "text": "x" * (number % 50000)})
    print(number, flush=True)
"""


def test_files_survive_kills_at_any_moment(tmp_path):
    number = 0
    for kill in range(8):
        child = python(WRITES_FOR_EVER, tmp_path, number)
        for _ in range(3 + kill):
            said = child.stdout.readline()
        time.sleep(0.0007 * kill)
        child.kill()
        said = ([said, *child.stdout.readlines()])[-1]
        child.wait()
        number = read_json(tmp_path / "run.json")["number"]
        steps = [row["step"] for row in read_json_lines(tmp_path / "metrics.jsonl")]
        assert number >= int(said) and steps == list(range(1, len(steps) + 1)) and len(steps) >= number
        number = len(steps)


FILLS_THE_DISK = """
import resource, sys
from pathlib import Path
from gold_style.runs.files import JsonLines, write_json
directory = Path(sys.argv[1])
lines = JsonLines(directory / "metrics.jsonl")
lines.append({"step": 1})
write_json(directory / "run.json", {"status": "running"})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
too_long = {"step": 2, "text": "x" * 200}
for write in (lambda: lines.append(too_long), lambda: write_json(directory / "run.json", too_long)):
    try:
        write()
        print("written")
    except OSError as error:
        print(type(error).__name__)
"""


def test_a_write_that_does_not_fit_leaves_what_was_there(tmp_path):
    out, _ = python(FILLS_THE_DISK, tmp_path).communicate(timeout=60)
    assert out.split() == ["OSError", "OSError"]
    assert (tmp_path / "metrics.jsonl").read_bytes() == b'{"step": 1}\n'
    assert read_json(tmp_path / "run.json") == {"status": "running"}
    assert not list(tmp_path.glob(f".*{ASIDE}"))


def test_what_is_written_obeys_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "run.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "run.json").stat().st_mode & 0o777 == 0o640


HOLDS_THE_LOCK = r"""
import os, sys, time
from pathlib import Path
from gold_style.runs.files import FileLock
FileLock(Path(sys.argv[1])).acquire()
if len(sys.argv) > 2 and os.fork() == 0:
    os.write(1, f"{os.getpid()}\n".encode())
    time.sleep(60)
os.write(1, b"held\n")
time.sleep(60)
"""


def test_a_lock_is_held_by_one_process_and_freed_by_its_death(tmp_path):
    path = tmp_path / ".lock"
    assert not lock_is_held(path)
    child = python(HOLDS_THE_LOCK, path)
    assert child.stdout.readline() == "held\n"
    assert lock_is_held(path)
    with pytest.raises(Locked, match=f"in use by process {child.pid} on "):
        FileLock(path).acquire(patience_s=0)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not lock_is_held(path)
    lock = FileLock(path)
    lock.acquire()
    assert lock_is_held(path)
    lock.release()
    assert not lock_is_held(path)


def test_a_forked_worker_that_outlives_its_parent_does_not_keep_the_lock(tmp_path):
    path = tmp_path / ".lock"
    child = python(HOLDS_THE_LOCK, path, "fork")
    said = {child.stdout.readline().strip() for _ in range(2)}
    worker = int(next(word for word in said if word != "held"))
    try:
        child.kill()
        child.wait()
        os.kill(worker, 0)  # raises where it is gone
        assert not lock_is_held(path)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_too_little_space_is_said_before_writing(tmp_path):
    require_free_space(tmp_path / "not" / "there", 1, "the next checkpoint")
    with pytest.raises(OSError, match="the next checkpoint needs 1e\\+09 GB and only"):
        require_free_space(tmp_path, 10**18, "the next checkpoint")


def test_a_full_disk_is_said_in_words_and_nothing_else_is(tmp_path):
    """Libraries call it many things: safetensors an error of its own, torch a failed assertion."""
    with pytest.raises(OSError, match="the student could not be written: the disk of .* is full") as error:
        with full_disk_explained(tmp_path, "the student"):
            raise RuntimeError("I/O error: No space left on device (os error 28)")
    assert error.value.errno == errno.ENOSPC
    with pytest.raises(ZeroDivisionError), full_disk_explained(tmp_path, "the student"):
        raise ZeroDivisionError


def test_what_is_no_file_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "a page")
    assert os.read(reader, 100) == b"a page" and pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]
    os.close(reader)
