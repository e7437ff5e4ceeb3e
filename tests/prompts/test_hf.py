"""Prompts from `datasets` data sets: local directories of every kind, a hub on loopback, hubs out of reach."""

import json
import os
import socket
import subprocess
import sys
import time

import datasets
import pytest
from huggingface_hub import constants

from gold_style.prompts.hf import build
from gold_style.prompts.jsonl import build as build_jsonl
from gold_style.prompts.row_source import RowSource
from gold_style.prompts.stream_source import StreamSource
from tests.helpers.hub_server import HubServer
from tests.helpers.prompt_settings import pack, row, rows, settings, write

PACK = pack()
GOOD = rows(20, answers=True)


def source(name, run_directory=None, seed=0, **prompts):
    return build(settings(seed, name=str(name), **prompts), PACK, run_directory)


def refusal(name, **prompts) -> str:
    with pytest.raises(ValueError) as error:
        source(name, **prompts)
    assert type(error.value) is ValueError
    return str(error.value)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


# Local directories

WRITERS = {
    "jsonl": lambda path: write(path / "train.jsonl", GOOD),
    "json": lambda path: (path.mkdir(), (path / "train.json").write_text(json.dumps(GOOD))),
    "two files": lambda path: (write(path / "train-1.jsonl", GOOD[:10]), write(path / "train-2.jsonl", GOOD[10:])),
    "parquet": lambda path: (path.mkdir(), datasets.Dataset.from_list(GOOD).to_parquet(path / "train.parquet")),
    "save_to_disk": lambda path: datasets.Dataset.from_list(GOOD).save_to_disk(path),
    "dictionary": lambda path: datasets.DatasetDict(train=datasets.Dataset.from_list(GOOD)).save_to_disk(path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_local_directory_gives_the_same_rows(tmp_path, kind):
    WRITERS[kind](tmp_path / "data")
    plain = build_jsonl(settings(path=str(write(tmp_path / "plain.jsonl", GOOD))), PACK)
    whole, streamed = source(tmp_path / "data"), source(tmp_path / "data", streaming=True)
    assert type(whole) is RowSource and type(streamed) is StreamSource
    for found in (whole, streamed):
        assert found.fingerprint == plain.fingerprint and found.has_references and found.num_rows == plain.num_rows
        assert [p.request for p in found.evaluation()] == [p.request for p in plain.evaluation()]
        assert [p.request for p in found.selection()] == [p.request for p in plain.selection()]
        texts = [sorted(part[k].messages()[0]["content"] for k in range(plain.num_rows)) for part in (found, plain)]
        assert texts[0] == texts[1]


def test_rows_say_where_they_were_found(tmp_path):
    write(tmp_path / "lines/data/train.jsonl", GOOD)
    assert source(tmp_path / "lines")[0].origin.startswith(f"{tmp_path}/lines/data/train.jsonl:")
    WRITERS["save_to_disk"](tmp_path / "saved")
    assert source(tmp_path / "saved")[0].origin.startswith(f"{tmp_path}/saved[train]:")


def test_splits_and_configurations_are_chosen_and_checked(tmp_path):
    write(tmp_path / "data/train.jsonl", GOOD)
    write(tmp_path / "data/test.jsonl", GOOD[:12])
    assert source(tmp_path / "data", split="test", eval_samples=0, selection_samples=0).num_rows == 12
    assert "prompts.split=tset: no such split; allowed: train, test; did you mean test?" in refusal(tmp_path / "data", split="tset")
    assert "prompts.config=x: BuilderConfig 'x' not found. Available: ['default']" in refusal(tmp_path / "data", config="x")
    datasets.DatasetDict(train=datasets.Dataset.from_list(GOOD)).save_to_disk(tmp_path / "saved")
    assert "allowed: train" in refusal(tmp_path / "saved", split="test")
    assert "has no configurations" in refusal(tmp_path / "saved", config="x")
    assert "a local directory has no revisions" in refusal(tmp_path / "data", revision="main")


def test_the_older_sequence_feature_is_read(tmp_path):
    turns = datasets.Sequence({"role": datasets.Value("string"), "content": datasets.Value("string")})
    columns = [{"messages": {key: [turn[key] for turn in each["messages"]] for key in ("role", "content")}} for each in GOOD]
    datasets.Dataset.from_list(columns, features=datasets.Features({"messages": turns})).save_to_disk(tmp_path / "data")
    plain = build_jsonl(settings(path=str(write(tmp_path / "plain.jsonl", GOOD))), PACK)
    assert source(tmp_path / "data").fingerprint == plain.fingerprint


def test_what_cannot_be_read_is_refused_with_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data/train.jsonl", GOOD)
    write(tmp_path / "text/train.txt", GOOD)
    (tmp_path / "empty").mkdir()
    (tmp_path / "script").mkdir()
    (tmp_path / "script/script.py").write_text("raise SystemExit('it ran')")
    datasets.Dataset.from_list([{"dialogue": []}]).save_to_disk(tmp_path / "other")
    assert "'text' loader; allowed: json, parquet, arrow, csv" in refusal("text")
    assert "any data files" in refusal("empty")
    assert "Dataset scripts are no longer supported" in refusal("script")
    assert "no column messages, conversations, instruction, prompt; columns: dialogue" in refusal("other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("./daat", "a b", "https://example.com/x", "../x/../../y", "-x/y"):
        assert "no such local directory, and Repo id must" in refusal(name), "refused before anything is asked for"


@pytest.mark.parametrize("streaming", [False, True])
def test_bad_rows_are_named_by_line_or_number(tmp_path, streaming):
    bad = [row("<style:chosn> 가"), row("<|im_end|>"), {"messages": []}]
    write(tmp_path / "lines/train.jsonl", [*GOOD, "{", *bad])
    datasets.Dataset.from_list([*GOOD, *bad]).save_to_disk(tmp_path / "saved")
    shown = refusal(tmp_path / "lines", streaming=streaming).splitlines()
    assert "4 of 44 rows" in shown[0] and f"{tmp_path}/lines/train.jsonl:41: JSON" in shown[1] and len(shown) == 6
    shown = refusal(tmp_path / "saved", streaming=streaming).splitlines()
    assert "3 of 43 rows" in shown[0] and f"{tmp_path}/saved[train]:40: messages[0].content" in shown[1]
    clean = build_jsonl(settings(path=str(write(tmp_path / "clean.jsonl", GOOD))), PACK)
    for name, num_bad in (("lines", 4), ("saved", 3)):
        run = tmp_path / f"run {name}"
        found = source(tmp_path / name, run, streaming=streaming, on_bad_row="quarantine")
        assert found.fingerprint == clean.fingerprint
        for number in range(2 * found.num_rows):  # reading a stream again adds nothing
            assert found[number].request
        kept = [json.loads(line) for line in (run / "quarantine.jsonl").read_text().splitlines()]
        assert len(kept) == num_bad and kept[-1]["reason"] == "is an empty list"
        assert f"{num_bad} bad rows set aside" in found.notes[0]


# The hub

ASK = """
import json
from tests.helpers.prompt_settings import pack, settings
from gold_style.prompts.hf import build
for prompts in json.loads({prompts!r}):
    try:
        found = build(settings(**prompts), pack())
        print(json.dumps([found.fingerprint, found.num_rows, found[0].request]))
    except ValueError as error:
        print(json.dumps(str(error)))
"""


@pytest.mark.slow
def test_a_hub_is_downloaded_from_and_streamed(tmp_path):
    with HubServer(GOOD) as hub:
        asked = [
            {"name": "me/rows"},
            {"name": "me/rows", "streaming": True},
            {"name": "me/rows", "revision": "main"},
            {"name": "me/rows", "split": "test"},
            {"name": "me/rwos"},
            {"name": "me/rows", "revision": "v9"},
        ]
        script = ASK.format(prompts=json.dumps(asked))
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
    whole, streaming, revision, split, missing, unknown = map(json.loads, run.stdout.splitlines())
    plain = build_jsonl(settings(path=str(write(tmp_path / "plain.jsonl", GOOD))), PACK)
    assert whole[:2] == streaming[:2] == [plain.fingerprint, plain.num_rows] and revision == whole
    assert whole[2] == plain[0].request
    assert split == "prompts.name=me/rows prompts.split=test: no such split; allowed: train"
    assert f"{hub.url} has no such data set, or it needs a login" in missing and "status 404" in missing
    assert "no such data set at prompts.revision=v9" in unknown


@pytest.mark.parametrize("hub", ["refuses", "hangs", "has no address"])
def test_a_hub_out_of_reach_is_said_in_one_quick_sentence(monkeypatch, hub):
    with socket.socket() as closed, HubServer(GOOD, hangs=True) as hanging:
        closed.bind(("127.0.0.1", 0))
        urls = {"refuses": f"http://127.0.0.1:{closed.getsockname()[1]}", "hangs": hanging.url, "has no address": "http://hub.invalid"}
        monkeypatch.setattr(constants, "ENDPOINT", urls[hub])
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("gold_style.config.hub.HUB_TIMEOUT_S", 1.0)
        started = time.monotonic()
        message = refusal("me/rows")
        assert time.monotonic() - started < 4
    assert "\n" not in message and f"{urls[hub]} cannot be reached (" in message
    assert "put the data set into a local directory and name that" in message


def test_an_offline_machine_answers_at_once(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    started = time.monotonic()
    message = refusal("me/rows")
    assert time.monotonic() - started < 4 and message.startswith("prompts.name=me/rows: ") and "\n" not in message
