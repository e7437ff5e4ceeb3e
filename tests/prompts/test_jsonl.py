"""Prompts from a file that the settings name, and files of bare requests."""

import pytest

from gold_style.prompts import build_source
from gold_style.prompts.jsonl import read_requests
from gold_style.prompts.row_source import RowSource
from tests.helpers.prompt_settings import settings, write
from tests.helpers.row_files import GOOD, PACK, refusal, source, training


def test_build_source_finds_the_module(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    found = build_source(settings(source="jsonl", path=str(path)), PACK)
    assert isinstance(found, RowSource) and found.num_rows == training(source(path)).__len__()


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
