"""The tables are data that people correct by hand: what a slip of the hand would break is checked here."""

import re
import time
import unicodedata
from collections import Counter

import pytest

from gold_style.speech import JOSEON_LEVELS, MODERN_LEVELS
from gold_style.speech.endings import LEANS, read_endings
from gold_style.speech.guards import GUARDS, KINDS
from gold_style.speech.reading import AFTERTHOUGHTS, ORDERS
from gold_style.speech.tables import FOLDER, Words, read_table

FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".yaml", ".tsv"))
TABLES = [path.stem for path in FILES if path.suffix == ".yaml"]


def lists_of(table: dict, prefix: str = "") -> dict[str, list[str]]:
    """Every list of a table by its name: words, or phrases."""
    found = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= lists_of(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value.split() if isinstance(value, str) else value
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")
    assert unicodedata.is_normalized("NFC", text)
    header = re.match(r"(?:#.*\n)+", text)[0]
    assert re.search("[가-힣]", header) and re.search("Sources?:", header) and "ou may add" in header


@pytest.mark.parametrize("name", TABLES)
def test_no_word_twice_in_a_list(name):
    keys = re.findall(r"^(\w+):", (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), re.M)
    assert len(keys) == len(set(keys)), "YAML keeps only the last of two lists of one name"
    for key, words in lists_of(read_table(name)).items():
        assert words, key
        assert [word for word, count in Counter(words).items() if count > 1] == [], key


@pytest.mark.parametrize("name", [name for name in TABLES if name != "guards"])
def test_every_list_is_read(name):
    code = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    code += (FOLDER.parent / "measure/content.py").read_text(encoding="utf-8")
    for key in {key for table in read_table(name).values() for key in table} if name == "languages" else read_table(name):
        assert re.search(rf"(?:LISTS|NOUNS)\.{key}\b|[\"']{key}[\"']", code), f"{name}.yaml: nothing reads {key}"


def test_endings():
    rows = list(read_endings())
    assert [key for key, count in Counter(key for key, _ in rows).items() if count > 1] == []
    for _, ending in rows:
        assert ending.old in ("", *JOSEON_LEVELS) and ending.new in ("", *MODERN_LEVELS) and ending.old + ending.new, ending
        assert ending.lean in LEANS, ending
        assert ending.guard in ("", *GUARDS), ending
        assert re.fullmatch("-[ㄱ-ㅎ]?[가-힣]*", ending.form), ending


def test_guards_are_known():
    named = {ending.guard for _, ending in read_endings() if ending.guard}
    assert named == set(GUARDS)
    kept = read_table("morphemes")
    assert set(kept["doubtful"].split()) | set(kept["cued"].split()) <= named
    code = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    compared = re.findall(r'guard (?:==|!=|in|not in) (\([^)]*\)|"\w+")', code)
    assert len(compared) >= 5
    assert {*re.findall(r'"(\w+)"', "".join(compared)), *AFTERTHOUGHTS, *ORDERS} <= named


def test_list_guards_have_known_keys_and_kinds():
    for name, lists in read_table("guards").items():
        assert set(lists) <= {"stem", "word", "not"} and {"stem", "word"} & set(lists), name
        assert {stem for stem in lists.get("stem", "").split() if "-" not in stem} <= set(KINDS), name


def test_words():
    words = Words("하 -되 어찌-")
    assert [word in words for word in ("하", "말하", "되", "안되", "어찌", "어찌하여", "", "되다")] == [
        True,
        False,
        True,
        True,
        True,
        True,
        False,
        False,
    ]


def test_tables_load_fast():
    start = time.process_time()
    for name in TABLES:
        read_table(name)
    list(read_endings())
    assert time.process_time() - start < 0.05
