"""Files and shapes that people have: each reads as the same rows written as messages, or is answered with one reason."""

import csv
import gzip
import json

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from gold_style.prompts.hf import build as build_hf
from gold_style.prompts.rows import parse_row
from gold_style.prompts.texts import RowError
from tests.helpers.prompt_settings import pack, row, settings, write
from tests.helpers.row_files import refusal, source, training

PACK = pack()
TEXTS = [(f'<style:{tag}> {number}번 요청, "인용"\n둘째 줄', f"{number}번 답이오.") for number in range(12) for tag in ("chosun", "none")]
MESSAGES = [row(request, answer) for request, answer in TEXTS]
SHAPES = {
    "ChatML (messages)": MESSAGES,
    "ShareGPT (conversations)": [
        {"conversations": [{"from": "human", "value": request}, {"from": "gpt", "value": answer}]} for request, answer in TEXTS
    ],
    "alpaca (instruction)": [
        {"instruction": request.split("\n")[0], "input": request.split("\n")[1], "output": answer} for request, answer in TEXTS
    ],
    "prompt/completion (prompt)": [{"prompt": request, "completion": answer} for request, answer in TEXTS],
}


def write_csv(path, rows, **dialect):
    """`rows` as a table."""
    with path.open("w", encoding=dialect.pop("encoding", "utf-8"), newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), **dialect)
        table.writeheader()
        table.writerows(rows)


WRITERS = {
    "a.jsonl": lambda path, rows: write(path, rows),
    "a.ndjson": lambda path, rows: write(path, rows),
    "A.JSONL.GZ": lambda path, rows: path.write_bytes(gzip.compress(b"".join(json.dumps(each).encode() + b"\n" for each in rows))),
    "pretty.jsonl": lambda path, rows: path.write_text("\n".join(json.dumps(each, indent=2) for each in rows)),
    "list.jsonl": lambda path, rows: path.write_text(json.dumps(rows, indent=2)),
    "a.json": lambda path, rows: path.write_text(json.dumps(rows)),
    "a.json.gz": lambda path, rows: path.write_bytes(gzip.compress(json.dumps(rows).encode())),
    "data.json": lambda path, rows: path.write_text(json.dumps({"version": 1, "data": rows})),
    "a.parquet": lambda path, rows: pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path),
    "a.csv": write_csv,
    "excel.csv": lambda path, rows: write_csv(path, rows, encoding="utf-8-sig", delimiter=";"),
    "a.tsv": lambda path, rows: write_csv(path, rows, delimiter="\t", quoting=csv.QUOTE_ALL),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", WRITERS)
def test_every_shape_in_every_format_is_read_as_the_same_rows(tmp_path, name, shape):
    rows = SHAPES[shape]
    if name.endswith(("csv", "tsv")) and isinstance(rows[0].get("messages", rows[0].get("conversations")), list):
        return  # a table has no lists
    WRITERS[name](tmp_path / name, rows)
    found = source(tmp_path / name)
    plain = source(write(tmp_path / "plain.jsonl", MESSAGES))
    assert found.notes[0] == f"prompts.path={tmp_path / name}: 24 rows, {shape}, tag in the text"
    joined = [prompt.request.replace("\n\n", "\n") for prompt in training(found)]
    assert len(joined) == plain.num_rows
    if shape != "alpaca (instruction)":
        assert found.fingerprint == plain.fingerprint
    else:
        assert joined == [prompt.request for prompt in training(plain)] or set(joined) <= {text.split("> ")[1] for text, _ in TEXTS}
    assert found.has_references


@pytest.mark.parametrize("streaming", [False, True])
def test_data_sets_have_the_same_shapes_and_style_column(tmp_path, streaming):
    rows = [{"conversations": each["conversations"], "style": "<style:none>"} for each in SHAPES["ShareGPT (conversations)"][1::2]]
    datasets.Dataset.from_list([{**each, "score": 1} for each in rows]).save_to_disk(tmp_path / "saved")
    found = build_hf(settings(name=str(tmp_path / "saved"), streaming=streaming, style_column="style"), PACK)
    assert "12 rows, ShareGPT (conversations), style in the column style" in found.notes[0]
    (tmp_path / "tables").mkdir()
    write_csv(tmp_path / "tables/train.csv", SHAPES["prompt/completion (prompt)"])
    found = build_hf(settings(name=str(tmp_path / "tables"), streaming=streaming), PACK)
    assert "24 rows, prompt/completion (prompt), tag in the text" in found.notes[0]
    assert found[0].origin.startswith(f"{tmp_path}/tables/train.csv:")


def parsed(value, column=None):
    return parse_row(value, PACK, "a:1", 0, frozenset(), column)


def turn(role, text):
    return {"from": role, "value": text}


READ = [
    ({"conversations": [turn("system", "규칙"), turn("human", "가"), turn("gpt", "나")]}, ("규칙", "가", "나")),
    ({"conversations": [turn("user", "가"), turn("chatgpt", "나")]}, (None, "가", "나")),
    ({"conversations": [{"role": "user", "content": "가", "from": None, "value": None}]}, (None, "가", None)),
    ({"conversations": {"from": ["human", "bing"], "value": ["가", "나"]}, "system": "규칙"}, ("규칙", "가", "나")),
    ({"messages": [{"role": "user", "content": "가"}, {"role": "model", "content": "나"}]}, (None, "가", "나")),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "가"}, {"text": "나"}, "다"]}]}, (None, "가나다", None)),
    ({"instruction": "가", "input": "", "output": None}, (None, "가", None)),
    ({"instruction": "가", "input": "나", "output": "", "system": "규칙"}, ("규칙", "가\n\n나", None)),
    ({"prompt": "가", "completion": "나", "messages": None}, (None, "가", "나")),
    ({"prompt": [{"role": "user", "content": "가"}], "completion": [{"role": "assistant", "content": "나"}]}, (None, "가", "나")),
    ({"prompt": "가"}, (None, "가", None)),
]


@pytest.mark.parametrize(("value", "texts"), READ)
def test_a_shape_is_read(value, texts):
    prompt = parsed(value)
    assert (prompt.system, prompt.request, prompt.reference) == texts


IMAGE = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "가"}]
REFUSED = [
    ({"messages": [], "prompt": "가"}, "row: can be read as ChatML (messages) and as prompt/completion (prompt); keep one"),
    ({"instruction": "가", "conversations": []}, "ShareGPT (conversations) and as alpaca (instruction)"),
    ({"conversation": []}, "did you mean conversations?"),
    ({"text": "가"}, "messages: is missing, and so are conversations, instruction and prompt (keys: 'text')"),
    ({"messages": [{"role": "user", "content": IMAGE}]}, "messages[0].content[0]: is of the type 'image_url'; only parts of text"),
    ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]: is a number"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content: is a number"),
    ({"messages": [{"role": "user", "content": "가"}, {"role": "tool", "content": "나"}]}, "messages[1].role: 'tool' is not a role"),
    ({"conversations": [turn("humna", "가")]}, "conversations[0].from: 'humna' is not a role"),
    ({"conversations": [turn("gpt", "가"), turn("human", "나")]}, "conversations[0].from: the conversation opens with the assistant"),
    ({"conversations": [turn("human", None)]}, "conversations[0].value: is null"),
    ({"instruction": 5}, "instruction: is a number"),
    ({"instruction": "가", "input": 5}, "input: is a number"),
    ({"prompt": "가", "completion": "<style:none> 나"}, "completion: has a style tag"),
    ({"prompt": "<style:nnoe> 가"}, "prompt: unknown style tag '<style:nnoe>'"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_a_shape_that_cannot_be_read_is_answered_with_its_place(value, reason):
    with pytest.raises(RowError) as error:
        parsed(value)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("style", "text", "tag"),
    [
        ("chosun", "가", "chosun"),
        (" <style:none> ", "가", "none"),
        (None, "가", None),
        ("", "<style:none> 가", "none"),
        ("none", "<style:none> 가", "none"),
    ],
)
def test_a_style_column_gives_the_tag(style, text, tag):
    prompt = parsed({"prompt": text, "kind": style}, "kind")
    assert (prompt.tag, prompt.request) == (tag, "가")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"prompt": "가"}, "kind: is missing, which prompts.style_column names (keys: 'prompt')"),
        ({"prompt": "가", "kind": "chosn"}, "kind: 'chosn' is no style; allowed: chosun, none, or null; did you mean chosun?"),
        ({"prompt": "가", "kind": "<style:Chosun>"}, "did you mean chosun?"),
        ({"prompt": "가", "kind": 1}, "kind: 1 is no style"),
        ({"prompt": "가", "kind": ["chosun"]}, "kind: ['chosun'] is no style"),
        ({"prompt": "<style:none> 가", "kind": "chosun"}, "kind: says chosun, but the text says <style:none>"),
    ],
)
def test_a_style_column_that_does_not_fit_is_answered(value, reason):
    with pytest.raises(RowError) as error:
        parsed(value, "kind")
    assert reason in str(error.value)


TAGS = {
    "＜style:chosun＞ 가": ("＜ (U+FF1C, full-width less-than sign)", "＞ (U+FF1E, full-width greater-than sign)", "did you mean chosun?"),
    "<style：chosun> 가": ("： (U+FF1A, full-width colon)",),
    "\ufeff<style:chosun> 가": ("'\\ufeff<style:chosun>'", "U+FEFF, zero width no-break space"),
    "<style:cho\u200bsun> 가": ("U+200B, zero width space", "did you mean chosun?"),
    "<sty\u2060le:none> 가": ("U+2060, word joiner", "did you mean none?"),
    "<style:\u0441hosun> 가": ("с (U+0441, cyrillic small letter es)", "did you mean chosun?"),
    "<style:\u00a0chosun> 가": ("U+00A0, no-break space",),
    "‹style:chosun› 가": ("‹ (U+2039, single left-pointing angle quotation mark)",),
    "〈style:none〉 가": ("〈 (U+3008, left angle bracket)",),
    "«style:none» 가": ("« (U+00AB, left-pointing double angle quotation mark)",),
    "[style:chosun] 가": ("unknown style tag '[style:chosun]'", "did you mean chosun?"),
    "(style: chosn) 가": ("did you mean chosun?",),
    "<style:chosun > 가": ("unknown style tag '<style:chosun >'",),
    "<STYLE:CHOSUN> 가": ("unknown style tag '<STYLE:CHOSUN>'", "did you mean chosun?"),
    "</style:chosun> 가": ("unknown style tag '</style:chosun>'",),
    "<chosun> 가": ("unknown style tag '<chosun>'",),
    "[None] 가": ("unknown style tag '[None]'", "did you mean none?"),
    "style:chosun 가": ("unknown style tag 'style:chosun'",),
    "<stlye:chosun> 가": ("unknown style tag '<stlye:chosun>'",),
    "가 ＜style:none＞": ("belongs at the start",),
}


@pytest.mark.parametrize("text", TAGS)
def test_what_is_nearly_a_tag_is_shown_as_written_with_the_characters_named(text):
    with pytest.raises(RowError) as error:
        parsed(row(text))
    assert all(part in str(error.value) for part in TAGS[text]) and str(error.value).isprintable(), str(error.value)


@pytest.mark.parametrize(
    "text", ["[참고] 가", "(none of these) 가", "〈춘향전〉을 소개해 줘.", "스타일: 가", "\ufeff가", "style: modern 가", "«가» 나"]
)
def test_ordinary_openings_are_no_tags(text):
    assert parsed(row(text)).tag is None


def test_files_that_cannot_be_read_are_one_reason(tmp_path):
    table = b"instruction,output\n"
    cases = {
        "a.parquet": (b"PAR1 no", "Parquet"),
        "a.jsonl.gz": (b"{}", "Not a gzipped file"),
        "torn.jsonl.gz": (gzip.compress(b'{"prompt": "x"}\n' * 99)[:-20], "ended before"),
        "utf16.csv": ("instruction,output\n가,나\n".encode("utf-16"), ":1: the file is UTF-16"),
        "cp949.csv": (table + "가,나\n".encode("cp949"), "CP949"),
        "quote.csv": (table + '"가,나\n다,라\n'.encode(), "not CSV: unexpected end of data"),
        "header.csv": (table, "there are no rows in it"),
        "empty.csv": (b"", "there are no rows in it"),
        "pretty.jsonl": (b'{\n  "prompt": "x",\n}\n', "pretty.jsonl:3: not JSON"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        for policy in ("stop", "quarantine"):
            message = refusal(tmp_path / name, on_bad_row=policy)
            assert reason in message and name in message and "\n" not in message, message


def test_quarantine_takes_rows_out_of_every_format(tmp_path):
    good = SHAPES["prompt/completion (prompt)"]
    for name in ("a.jsonl", "a.json", "a.csv", "a.parquet"):
        WRITERS[name](tmp_path / name, [*good, {"prompt": "<style:chosn> 가", "completion": "나"}])
        if name == "a.csv":
            with (tmp_path / name).open("a", encoding="utf-8") as file:
                file.write("하나\n")
        found = source(tmp_path / name, tmp_path / "run", on_bad_row="quarantine")
        kept = [json.loads(line) for line in (tmp_path / "run/quarantine.jsonl").read_text().splitlines()]
        assert kept[0]["reason"].startswith("unknown style tag '<style:chosn>'") and "24 rows" in found.notes[1]
        assert len(kept) == 1 + (name == "a.csv")
    assert kept[0]["origin"] == f"{tmp_path}/a.parquet: row 25"
