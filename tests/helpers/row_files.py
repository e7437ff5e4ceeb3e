"""JSON files of rows, good and bad, and sources over them."""

import json

import pytest

from gold_style.prompts.jsonl import build
from gold_style.prompts.row_source import RowSource
from tests.helpers.prompt_settings import pack, row, rows, settings

PACK = pack()
GOOD, NUM_GOOD = rows(20), 40
TORN = '{"messages": [{"role": "user", "conte'
BAD_LINES = {  # a line -> what is said of it
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


def source(path, run_directory=None, seed=0, **prompts) -> RowSource:
    """What prompts=jsonl makes of a file."""
    return build(settings(seed, path=str(path), **prompts), PACK, run_directory)


def refusal(path, **prompts) -> str:
    """Why prompts=jsonl refuses a file."""
    with pytest.raises(ValueError) as error:
        source(path, **prompts)
    return str(error.value)


def training(found: RowSource) -> list:
    """The prompts of the first epoch."""
    return [found[number] for number in range(found.num_rows)]
