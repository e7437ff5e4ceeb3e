"""Prompts from JSON files: what is read, what is refused and where, what is held out, in which order rows come."""

import codecs
import json
import tracemalloc
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gold_style.prompts import build_source
from gold_style.prompts.held_out import request_key
from gold_style.prompts.jsonl import build, read_requests
from gold_style.prompts.raw_rows import MAX_LINE_BYTES, JsonFiles
from gold_style.prompts.row_source import RowSource
from gold_style.prompts.shuffle import hashed, permutation
from tests.helpers.prompt_settings import pack, row, rows, settings, write

PACK = pack()
GOOD, NUM_GOOD = rows(20), 40


def source(path, run_directory=None, seed=0, **prompts) -> RowSource:
    return build(settings(seed, path=str(path), **prompts), PACK, run_directory)


def refusal(path, **prompts) -> str:
    with pytest.raises(ValueError) as error:
        source(path, **prompts)
    return str(error.value)


def training(found: RowSource) -> list:
    return [found[number] for number in range(found.num_rows)]


# Reading


def test_every_way_of_writing_the_same_rows_reads_the_same(tmp_path):
    plain = source(write(tmp_path / "plain.jsonl", GOOD))
    text = (tmp_path / "plain.jsonl").read_bytes()
    (tmp_path / "bom.jsonl").write_bytes(codecs.BOM_UTF8 + text.replace(b"\n", b"\r\n") + b"\r\n \r\n")
    (tmp_path / "torn-newline.jsonl").write_bytes(text.rstrip())
    (tmp_path / "list.json").write_text(json.dumps(GOOD, indent=2))
    (tmp_path / "list-bom.json").write_bytes(codecs.BOM_UTF8 + json.dumps(GOOD).encode())
    (tmp_path / "lines.json").write_bytes(text)
    for name in ("bom.jsonl", "torn-newline.jsonl", "list.json", "list-bom.json", "lines.json"):
        other = source(tmp_path / name)
        assert other.fingerprint == plain.fingerprint, name
        assert [p.messages() for p in training(other)] == [p.messages() for p in training(plain)], name
    assert source(tmp_path / "bom.jsonl").notes == [f"prompts.path={tmp_path / 'bom.jsonl'}: 2 blank lines skipped"]


def test_origins_name_lines(tmp_path):
    path = write(tmp_path / "a.jsonl", ["", GOOD[0], "", "  ", GOOD[1]])
    assert [raw.origin for raw in JsonFiles({path: "a"})] == ["a:2", "a:5"]
    (tmp_path / "a.json").write_text("\n[\n" + ",\n\n".join(json.dumps(each) for each in GOOD[:3]) + "\n]\n")
    assert [raw.origin for raw in JsonFiles({tmp_path / "a.json": "a"})] == ["a:3", "a:5", "a:7"]


def test_build_source_finds_the_module(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    found = build_source(settings(source="jsonl", path=str(path)), PACK)
    assert isinstance(found, RowSource) and found.num_rows == training(source(path)).__len__()


# Refusing

TORN = '{"messages": [{"role": "user", "conte'
BAD_LINES = {
    '{"messages": [': "JSON: Expecting value at column 15",
    "[1, 2]": "row: is a list",
    '{"messages": []}': "messages: is an empty list",
    '{"messages": [{"role": "user", "content": "가"}], "messages": []}': "the key 'messages' is given twice",
    '{"score": NaN}': "NaN is not JSON",
    "[" * 100_000: "nested deeper than 64 levels at column 65",
    '{"messages": [{"role": "user", "content": ' + "[" * 200 + "]" * 200 + "}]}": "nested deeper",
    '{"x": ' + "9" * 5000 + "}": "Exceeds the limit (4300 digits)",
    json.dumps(row("<style:chosn> 가")): "messages[0].content: unknown style tag '<style:chosn>'",
    json.dumps(row("가\ud800")): "a lone surrogate, U+D800",
}


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
    lines = refusal(write(tmp_path / "a.jsonl", ["{}"] * 33)).splitlines()
    assert "33 of 33 rows" in lines[0] and len(lines) == 1 + 20 + 2 and lines[21] == "  and 13 more"


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-be", "utf-32"])
def test_other_encodings_are_named_with_their_line(tmp_path, encoding):
    for name in ("a.jsonl", "a.json"):
        path = tmp_path / name
        path.write_bytes("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in GOOD).encode(encoding))
        message = refusal(path)
        assert f"{path}:1: " in message and "UTF-" in message
        assert ("CP949" in message) == (encoding == "cp949")


def test_one_line_in_another_encoding_is_one_bad_row(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    line = json.dumps(row("안녕하세요"), ensure_ascii=False).encode("cp949")
    path.write_bytes(path.read_bytes() + line + b"\n")
    assert f"{path}:{NUM_GOOD + 1}: line: not UTF-8 at byte" in refusal(path)
    assert source(path, on_bad_row="quarantine").notes[0].startswith(f"prompts.path={path}: 1 bad row left out")


def test_a_huge_line_is_refused_without_being_read_whole(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD[:2])
    size = 2**28
    with path.open("ab") as file:
        file.write(b'{"messages": "')
        file.truncate(file.tell() + size)  # sparse: NUL bytes without end
    with path.open("ab") as file:
        file.write(b'"}\n' + json.dumps(GOOD[2]).encode() + b"\n")
    tracemalloc.start()
    found = list(JsonFiles({path: "a"}))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [raw.origin for raw in found] == ["a:1", "a:2", "a:3", "a:4"]
    assert f"{found[2].error}" == f"line: has {size + 17} bytes; allowed: up to {MAX_LINE_BYTES}"
    assert found[3].value == GOOD[2] and peak_bytes < 4 * MAX_LINE_BYTES
    (tmp_path / "a.json").symlink_to(path)
    assert "save it as .jsonl" in refusal(tmp_path / "a.json")


def test_a_broken_json_list_is_one_error_with_its_line(tmp_path):
    path, text = tmp_path / "a.json", json.dumps(GOOD, indent=1)
    num_lines = text.count("\n") + 1
    cases = {
        text[:-2]: f"{path}:{num_lines - 1}: not JSON: the file ends in the middle of the list",
        text + "x": f"{path}:{num_lines}: not JSON: text after the end of the list",
        text.replace("},\n {", "}\n {", 1): ": not JSON: Expecting ',' or ']'",
        "[" * 70: f"{path}:1: not JSON: nested deeper",
        "": "there are no rows in it",
        "[]": "there are no rows in it",
    }
    for content, reason in cases.items():
        path.write_text(content)
        for policy in ("stop", "quarantine"):
            assert reason in refusal(path, on_bad_row=policy)
    path.write_text('[{"a": 1, "a": 2},\n{"b": NaN},\n' + text[1:])
    assert source(path, on_bad_row="quarantine").notes[0].startswith(f"prompts.path={path}: 2 bad rows left out")


@pytest.mark.parametrize(
    "path, reason",
    [("elsewhere/a.jsonl", "No such file or directory"), (".", "Is a directory"), ("a" * 5000 + ".jsonl", "File name too long")],
)
def test_a_file_that_has_gone_since_the_settings_were_checked_is_refused(tmp_path, monkeypatch, path, reason):
    monkeypatch.chdir(tmp_path)
    assert refusal(path) == f"{path}: {reason}"


def test_relative_paths_are_also_looked_up_from_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert source("data/style_toggles.jsonl").num_rows > 60


# Quarantine


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


# Notes


def test_duplicates_are_kept_and_reported(tmp_path):
    path = write(tmp_path / "a.jsonl", [*GOOD, GOOD[3], {**GOOD[3], "topic": "x"}])
    found = source(path, eval_samples=0, selection_samples=0)
    assert found.num_rows == NUM_GOOD + 2
    assert found.notes == [f"prompts.path={path}: 2 duplicate rows, kept, so that each counts again; the first: {path}:41 repeats {path}:4"]


def test_a_very_large_summary_is_noted(tmp_path):
    path = write(tmp_path / "a.jsonl", rows(5100))
    assert source(path).notes == [
        f"prompts.path={path}: a tenth of the rows, 1020 requests, is asked under every tag; see prompts.eval_samples"
    ]
    assert source(path, eval_samples=1020).notes == []


def test_missing_styles_and_untagged_rows_are_noted(tmp_path):
    path = write(tmp_path / "a.jsonl", [row(f"요청 {number}") for number in range(10)])
    notes = source(path, eval_samples=2, selection_samples=0).notes
    assert notes[0].endswith("no training row asks for <style:chosun>, so it is not learned")
    assert notes[1].endswith("8 of 8 training rows have no tag and follow styles.untagged=none")


# Held-out requests


@pytest.mark.parametrize("eval_samples, selection_samples", [(None, 32), (5, 2), (19, 0), (0, 32), (0, 0)])
def test_held_out_requests_stand_in_no_training_row_under_any_tag(tmp_path, eval_samples, selection_samples):
    messy = [row(f"<style:none>  {number}번   요청이오.") for number in range(20)]  # the same requests, spaced otherwise
    path = write(tmp_path / "a.jsonl", [*GOOD, *messy])
    found = source(path, eval_samples=eval_samples, selection_samples=selection_samples)
    evaluation, selection = found.evaluation(), found.selection()
    assert len(evaluation) == (6 if eval_samples is None else eval_samples)  # a tenth of 60 rows
    assert len(selection) == min(selection_samples, 2, 19 - len(evaluation))  # at most a tenth of 20 requests
    keys = [{request_key(p) for p in part} for part in (evaluation, selection, training(found))]
    assert len(keys[0]) == len(evaluation) and len(keys[1]) == len(selection), "one per distinct request"
    assert not keys[0] & keys[1] and not (keys[0] | keys[1]) & keys[2]
    assert len(set.union(*keys)) == 20 and found.num_rows == 3 * (20 - len(keys[0]) - len(keys[1]))
    assert len(found.requests()) == 20


def test_the_choice_follows_the_seed_and_not_the_order_of_rows(tmp_path):
    forth, back = write(tmp_path / "a.jsonl", GOOD), write(tmp_path / "b.jsonl", GOOD[::-1])
    requests = [[p.request for p in source(path, seed=seed).evaluation()] for path, seed in ((forth, 0), (back, 0), (forth, 1))]
    assert requests[0] == requests[1] != requests[2]


def test_more_held_out_than_there_is_is_refused(tmp_path):
    message = refusal(write(tmp_path / "a.jsonl", GOOD), eval_samples=20)
    assert message.startswith("prompts.eval_samples=20: prompts.path=") and "20 different requests in 40 rows; allowed: 0 to 19" in message


def test_a_file_with_a_single_request_trains_without_evaluation(tmp_path):
    found = source(write(tmp_path / "a.jsonl", GOOD[:2]))
    assert (found.num_rows, found.evaluation(), found.selection()) == (2, [], [])


def test_references_are_there_only_if_every_training_row_has_one(tmp_path):
    answered = rows(20, answers=True)
    assert source(write(tmp_path / "a.jsonl", answered)).has_references
    assert not source(write(tmp_path / "b.jsonl", [*answered, row("대답 없는 요청")]), eval_samples=0).has_references


# Order


def test_epochs_are_permutations_and_pure_functions_of_seed_and_number(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    first, again = source(path), source(path)
    n = first.num_rows
    epochs = [[first[epoch * n + place].row for place in range(n)] for epoch in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs) and len(set(epochs[0])) == n
    assert all(a != b for a, b in pairwise(epochs))
    numbers = list(permutation(3 * n, "any order"))
    assert [again[number] for number in numbers] == [first[number] for number in numbers]
    every = [source(path, seed=seed, eval_samples=0, selection_samples=0) for seed in (0, 1)]
    assert [every[0][number].row for number in range(NUM_GOOD)] != [every[1][number].row for number in range(NUM_GOOD)]


def test_permutations_are_fixed_by_their_definition():
    assert permutation(8, 0, "epoch", 0).tolist() == FIXED_PERMUTATION  # another order would break every resume
    assert hashed("seed", 0) != hashed("seed", 1) and hashed(("a", "b")) != hashed("a", "b")
    firsts = Counter(int(permutation(6, seed)[0]) for seed in range(6000))
    assert all(abs(count - 1000) < 5 * np.sqrt(1000) for count in firsts.values()) and len(firsts) == 6


FIXED_PERMUTATION = [4, 7, 1, 2, 5, 3, 6, 0]


# Requests without rows


def test_request_files(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"request": "만두를 소개해 줘.", "topic": "만두", "direction": "equal", "era": "modern"}])
    (found,) = read_requests(path)
    assert (found.request, found.topic, found.direction, found.era, found.tag, found.origin) == (
        "만두를 소개해 줘.",
        "만두",
        "equal",
        "modern",
        None,
        f"{path}:1",
    )
    assert found.under("chosun", "chosun").messages()[0]["content"] == "<style:chosun> 만두를 소개해 줘."
    bad = [{"request": "가"}, {"request": " 가 "}, {"request": "<style:none> 나"}, {"topic": "다"}, [], "{", {"request": "<|im_end|>"}]
    write(path, bad)
    with pytest.raises(ValueError) as error:
        read_requests(path)
    reasons = ["repeats", "has a style tag", "is missing", "is a list", "JSON: ", "control token"]
    for line, number, reason in zip(str(error.value).splitlines(), range(2, 8), reasons, strict=True):
        assert line.startswith(f"{path}:{number}: ") and reason in line


# Thousands of files

GOOD_LINES = st.sampled_from([json.dumps(each, ensure_ascii=False).encode() for each in GOOD[:6]])
LINES = st.one_of(
    *[GOOD_LINES] * 5,
    st.sampled_from([line.encode("utf-8", "surrogatepass") for line in BAD_LINES]),
    st.binary(max_size=12),
    st.text(max_size=12).map(lambda text: json.dumps(row(text)).encode()),
)
BREAKS = st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b",", b""])
CONTENTS = st.builds(
    lambda start, parts, cut: (start + b"".join(line + end for line, end in parts))[:cut],
    st.sampled_from([b"", b"", codecs.BOM_UTF8, b"[", b"\xff\xfe"]),
    st.lists(st.tuples(LINES, BREAKS), max_size=4),
    st.one_of(st.none(), st.none(), st.integers(0, 200)),
)


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize("policy", ["stop", "quarantine"])
def test_every_file_is_accepted_or_refused_with_a_reason(tmp_path, suffix, policy):
    path, outcomes = tmp_path / f"a{suffix}", Counter()

    @examples(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(CONTENTS)
    def check(content):
        path.write_bytes(content)
        try:
            found = source(path, on_bad_row=policy)
        except ValueError as error:
            assert type(error) is ValueError and str(path) in str(error)
            outcomes["refused"] += 1
            return
        outcomes["accepted"] += 1
        assert found.num_rows >= 1 and found[0].messages()
        assert all(note.isprintable() for text in found.notes for note in text.splitlines())

    check()
    assert outcomes["accepted"] > 5 and outcomes["refused"] > 5


def test_a_source_needs_of_the_pack_only_tags_and_untagged(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    found = build(settings(path=str(path)), SimpleNamespace(tags=("chosun", "none"), untagged="none"))
    assert found.fingerprint == source(path).fingerprint
