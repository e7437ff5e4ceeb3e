"""Rows that cannot be used: reported at once, or set aside with their reasons."""

import json

from tests.helpers.prompt_settings import row, write
from tests.helpers.row_files import BAD_LINES, GOOD, NUM_GOOD, TORN, refusal, source, training


def test_bad_rows_are_reported_at_once_with_their_lines(tmp_path):
    bad = list(BAD_LINES)
    path = write(tmp_path / "a.jsonl", [*bad, *GOOD, TORN])
    path.write_bytes(path.read_bytes().rstrip())
    message = refusal(path)
    assert message.startswith(f"prompts.path={path}: {len(bad) + 1} of {NUM_GOOD + len(bad) + 1} rows cannot be used:\n")
    lines = message.splitlines()
    for number, (line, reason) in enumerate(zip(lines[1:], BAD_LINES.values(), strict=False), start=1):
        assert line.startswith(f"  {path}:{number}: ") and reason in line
    assert f"{path}:{NUM_GOOD + len(bad) + 1}: JSON: the file ends in the middle of a row" in lines[len(bad) + 1]
    assert "prompts.on_bad_row=quarantine" in lines[-1]


def test_twenty_bad_rows_are_shown_and_the_rest_counted(tmp_path):
    lines = refusal(write(tmp_path / "a.jsonl", [{f"key {number}": 1} for number in range(33)])).splitlines()
    assert "33 of 33 rows" in lines[0] and len(lines) == 1 + 20 + 2 and lines[21] == "  and 13 more"


def test_rows_that_are_wrong_alike_are_one_line(tmp_path):
    path = write(tmp_path / "a.jsonl", [*GOOD, *["{}"] * 33, row("가 <style:none>")])
    lines = refusal(path).splitlines()
    assert f"34 of {NUM_GOOD + 34} rows" in lines[0] and len(lines) == 4
    assert lines[1].startswith(f"  {path}:41: messages: is missing") and lines[1].endswith("(33 such rows)")
    assert lines[2].startswith(f"  {path}:74: messages[0].content: the tag '<style:none>' belongs at the start")


def test_one_line_in_another_encoding_is_one_bad_row(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    line = json.dumps(row("안녕하세요"), ensure_ascii=False).encode("cp949")
    path.write_bytes(path.read_bytes() + line + b"\n")
    assert f"{path}:{NUM_GOOD + 1}: line: not UTF-8 at byte" in refusal(path)
    assert source(path, on_bad_row="quarantine").notes[0].startswith(f"prompts.path={path}: 1 bad row left out")


def test_quarantine_keeps_every_bad_row_with_its_reason(tmp_path):
    bad = [*BAD_LINES, json.dumps(row("가" * 70_000 + "\0"), ensure_ascii=False)]
    path = write(tmp_path / "a.jsonl", [*bad, *GOOD])
    found = source(path, tmp_path / "run", on_bad_row="quarantine")
    clean = source(write(tmp_path / "clean.jsonl", GOOD))
    kept = [json.loads(line) for line in (tmp_path / "run/quarantine.jsonl").read_text().splitlines()]
    assert [entry["origin"] for entry in kept] == [f"{path}:{number}" for number in range(1, len(bad) + 1)]
    for entry, line, reason in zip(kept, BAD_LINES, BAD_LINES.values(), strict=False):
        assert reason in f"{entry['field']}: {entry['reason']}" and entry["text"][:40] == line[:40]
    assert len(kept[-1]["text"]) == 65_536
    assert f"{len(bad)} bad rows set aside in {tmp_path / 'run/quarantine.jsonl'}" in found.notes[0]
    assert [p.messages() for p in training(found)] == [p.messages() for p in training(clean)]
    source(path, tmp_path / "run", on_bad_row="quarantine")
    assert len((tmp_path / "run/quarantine.jsonl").read_text().splitlines()) == len(bad), "a resume starts the file anew"


def test_nothing_left_is_refused(tmp_path):
    message = refusal(write(tmp_path / "a.jsonl", ["{}", "[]"]), on_bad_row="quarantine")
    assert "all 2 rows are bad" in message and "a.jsonl:1: messages: is missing" in message


def test_only_the_first_process_of_a_launch_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    found = source(write(tmp_path / "a.jsonl", ["{}", *GOOD]), tmp_path / "run", on_bad_row="quarantine")
    assert found.notes and not (tmp_path / "run").exists()
