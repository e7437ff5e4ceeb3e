"""Raw rows of JSON files: every way of writing them, and what is refused where."""

import codecs
import json
import tracemalloc
from collections import Counter

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gold_style.prompts.raw_rows import MAX_LINE_BYTES, RowFiles
from tests.helpers.prompt_settings import row, write
from tests.helpers.row_files import BAD_LINES, GOOD, refusal, source, training


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
    assert source(tmp_path / "bom.jsonl").notes[1:] == [f"prompts.path={tmp_path / 'bom.jsonl'}: 2 blank lines skipped"]


def test_origins_name_lines(tmp_path):
    path = write(tmp_path / "a.jsonl", ["", GOOD[0], "", "  ", GOOD[1]])
    assert [raw.origin for raw in RowFiles({path: "a"})] == ["a:2", "a:5"]
    (tmp_path / "a.json").write_text("\n[\n" + ",\n\n".join(json.dumps(each) for each in GOOD[:3]) + "\n]\n")
    assert [raw.origin for raw in RowFiles({tmp_path / "a.json": "a"})] == ["a:3", "a:5", "a:7"]


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-be", "utf-32"])
def test_other_encodings_are_named_with_their_line(tmp_path, encoding):
    for name in ("a.jsonl", "a.json"):
        path = tmp_path / name
        path.write_bytes("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in GOOD).encode(encoding))
        message = refusal(path)
        assert f"{path}:1: " in message and "UTF-" in message
        assert ("CP949" in message) == (encoding == "cp949")


def test_a_huge_line_is_refused_without_being_read_whole(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD[:2])
    size = 2**28
    with path.open("ab") as file:
        file.write(b'{"messages": "')
        file.truncate(file.tell() + size)  # sparse: NUL bytes without end
    with path.open("ab") as file:
        file.write(b'"}\n' + json.dumps(GOOD[2]).encode() + b"\n")
    tracemalloc.start()
    found = list(RowFiles({path: "a"}))
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


@pytest.mark.slow
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
