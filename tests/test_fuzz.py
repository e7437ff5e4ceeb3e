"""Whatever is put in front of it, the project accepts it or answers with a ValueError in words; never anything else.

    python -m pytest tests/test_fuzz.py                                  hundreds of cases, seconds
    python -m pytest tests/test_fuzz.py --hypothesis-profile=torture     thousands, as make torture does

Configs as mappings, command lines, files of a run that was damaged, rows, files of rows read at once and as a stream, and
accepted rows through both chat templates, where no text may open a turn of its own.
"""

import copy
import json
import os
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from gold_style.chat import Chat
from gold_style.config.check.command_line import check
from gold_style.config.check.paths import file_mistakes
from gold_style.config.check.rules import notes, rule_mistakes
from gold_style.config.gold_config import gold_config_fields
from gold_style.config.mirror import keys_of
from gold_style.config.settings import PROJECT, Settings, SettingsError
from gold_style.engine.models import special_tokens
from gold_style.prompts.raw_rows import RowFiles
from gold_style.prompts.row_source import RowSource
from gold_style.prompts.rows import parse_row
from gold_style.prompts.stream_source import StreamSource
from gold_style.prompts.texts import RowError
from gold_style.runs.run_directory import choose, config_hash
from gold_style.styles import StylePack
from tests.helpers.prompt_settings import pack
from tests.helpers.prompt_settings import settings as prompt_settings
from tests.prompts.test_raw_rows import CONTENTS
from tests.prompts.test_rows import ROWS

PACK = pack()
EXAMPLES = settings.default.max_examples  # of the profile: 100, or thousands
COUNTS: Counter[str] = Counter()  # cases by what they were and how they ended, for docs/reliability.md

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**30, -1, 0.3, 1e308, float("nan"), float("inf"), -0.0]),
    st.sampled_from(["", "null", "auto", "jsd", "best", "wandb", "../..", "/dev/null", "~nobody/x", "\0", "\ud800", "조선", "a" * 5000]),
    st.sampled_from(["${loss.beta}", "${oc.env:HOME}", "???", "1e999", "hf_abcdefghijklmnopqrstuvwx"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "beta", "_target_", "", "1"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def few(share: float = 1.0):
    """Settings of a property with that share of the profile's cases."""
    return settings(max_examples=max(10, round(EXAMPLES * share)), deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def counted():
    """Writes the number of cases where make torture wants them."""
    yield
    if path := os.environ.get("FUZZ_COUNTS"):
        Path(path).write_text(json.dumps(COUNTS))


def outcome(kind: str, accepted: bool) -> None:
    COUNTS[f"{kind}: {'accepted' if accepted else 'answered'}"] += 1


def said(error: ValueError) -> bool:
    """Whether a message is one that a user can read."""
    return bool(str(error).strip()) and len(str(error)) < 100_000


@cache
def good_config() -> str:
    return json.dumps(Settings.compose("tracker=none", "model=tiny").to_dict())


def paths_of(value, path=()) -> list[tuple]:
    found = [path] if path else []
    for key, item in value.items() if isinstance(value, dict) else ():
        found += paths_of(item, (*path, key))
    return found


def changed(mapping: dict, path: tuple, value, kind: str) -> dict:
    """A copy with one place replaced, taken away or renamed."""
    result = copy.deepcopy(mapping)
    place = result
    for key in path[:-1]:
        place = place.get(key)
        if not isinstance(place, dict):
            return result
    if kind == "drop":
        place.pop(path[-1], None)
    elif kind == "rename":
        place[f"{path[-1]}x"] = place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return result


PLACES = st.sampled_from(paths_of(json.loads(good_config())))
CHANGES = st.lists(st.tuples(PLACES, VALUES, st.sampled_from(["set", "set", "set", "drop", "rename"])), min_size=1, max_size=3)


@few(2)
@given(CHANGES)
def test_every_config_is_accepted_or_answered(changes):
    mapping = json.loads(good_config())
    for path, value, kind in changes:
        mapping = changed(mapping, path, value, kind)
    try:
        found, mistakes = Settings.from_mapping(mapping)
        mistakes += rule_mistakes(found, [mistake.key for mistake in mistakes])
        mistakes += file_mistakes(found, [mistake.key for mistake in mistakes])
        if mistakes:
            raise SettingsError(mistakes)
    except ValueError as error:
        assert said(error)
        return outcome("config", False)
    outcome("config", True)
    again = Settings.from_dict(json.loads(json.dumps(found.to_dict())))
    assert config_hash(again.to_dict()) == config_hash(found.to_dict())
    assert StylePack.from_settings(found.styles).tags and notes(found, [".".join(path) for path, _, _ in changes]) is not None


KEYS = [
    *keys_of(Settings),
    *(f"train.{name}" for name in sorted(gold_config_fields())),
    "prompts",
    "loss",
    "experiment",
    "hydra.run.dir",
    "nope",
]
TEXTS = st.one_of(
    st.sampled_from(
        ["1", "-1", "0.3", "null", "", "true", "조선", "[1,2]", "[", "{a:1}", "{_target_:os.system}", "a,b", "range(0,9)", "jsd"]
    ),
    st.sampled_from(
        ["${loss.beta}", "${", "1e999", "nan", "'x", "a=b", "???", "\\", "choice()", "[[[]]]", "x" * 300, "glob(*)", "auto", ".."]
    ),
    st.text(max_size=6),
)
ARGUMENTS = st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]), st.sampled_from(KEYS), TEXTS)


@pytest.mark.slow
@few(0.1)
@given(st.lists(st.one_of(ARGUMENTS, ARGUMENTS, st.text(max_size=8)), min_size=1, max_size=3), st.booleans())
def test_every_command_line_is_accepted_or_answered(arguments, is_sweep):
    try:
        check(["model=tiny", *arguments, *(["-m"] if is_sweep else [])], "config")
    except ValueError as error:
        assert isinstance(error, SettingsError) and error.mistakes and said(error)
        return outcome("command line", False)
    outcome("command line", True)


STATES = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"status": st.sampled_from(["running", "interrupted", "failed"])},
        optional={
            key: VALUES for key in ("config_hash", "num_processes", "resumed", "started", "resume_command", "tracker", "packages", "git")
        },
    ),
)
YAMLS = st.one_of(
    st.sampled_from(
        ["!!python/object/apply:os.system ['touch /tmp/owned']", "a: &x [*x]", "{", "a: [", "\t", "- 1", "null", "a: !!binary x"]
    ),
    st.binary(max_size=20).map(lambda data: data.decode("latin-1")),
    CHANGES.map(lambda changes: yaml.safe_dump({"model": {}, **{path[0]: value for path, value, _ in changes}})),
)


@few(0.3)
@given(st.one_of(st.binary(max_size=30), STATES.map(lambda value: json.dumps(value).encode())), st.one_of(st.none(), YAMLS), st.booleans())
def test_every_damaged_run_is_gone_on_with_or_refused(tmp_path_factory, state, config, auto):
    directory = tmp_path_factory.mktemp("run")
    (directory / "run.json").write_bytes(state)
    (directory / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (directory / "checkpoints" / "checkpoint-3" / "complete.json").write_bytes(state)
    (directory / "config.yaml").write_text(config or yaml.safe_dump(json.loads(good_config())), "utf-8", "surrogatepass")
    mapping = {**json.loads(good_config()), "output_dir": str(directory), "resume": "auto" if auto else str(directory)}
    try:
        place = choose(Settings.from_dict(mapping), ["train.py", f"output_dir={directory}"])
        assert place.checkpoint is None
        Settings.load(directory)
    except ValueError as error:
        assert said(error)
        return outcome("damaged run", False)
    outcome("damaged run", True)


@cache
def chat() -> tuple[Chat, frozenset[str]]:
    """The embedded pair's tokenizers, with a system prompt that only the teacher reads."""
    tokenizers = [AutoTokenizer.from_pretrained(PROJECT / "gold_style/pairs/tiny" / side) for side in ("student", "teacher")]
    return Chat(*tokenizers, PACK, None, None), special_tokens(*tokenizers)


@few(4)
@given(ROWS)
def test_every_row_is_accepted_or_answered_and_no_text_opens_a_turn(row):
    sides, specials = chat()
    try:
        prompt = parse_row(row, PACK, "rows.jsonl:1", 0, specials)
    except RowError as error:
        assert said(error)
        return outcome("row", False)
    outcome("row", True)
    teacher_ids = sides.teacher_ids(prompt)
    for tokenizer, ids, systems in (
        (sides.student_tokenizer, sides.student_ids(prompt), prompt.system is not None),
        (sides.teacher_tokenizer, (*teacher_ids.prefix, *teacher_ids.rest), 1),
    ):
        opening = tokenizer.convert_tokens_to_ids("<|im_start|>")
        assert list(ids).count(opening) <= len(prompt.messages()) + bool(systems) + 1  # one a turn, and the answer's


@few(1)
@given(CONTENTS, st.sampled_from([".jsonl", ".json"]), st.sampled_from(["stop", "quarantine"]))
def test_every_file_is_read_alike_at_once_and_as_a_stream(tmp_path_factory, content, suffix, policy):
    path = tmp_path_factory.mktemp("rows") / f"a{suffix}"
    path.write_bytes(content)
    config = prompt_settings(0, path=str(path), on_bad_row=policy)
    found, answers = [], []
    for name, source in (("whole", RowSource), ("stream", StreamSource)):
        try:
            found.append(source(RowFiles({path: str(path)}), "here", config, PACK, path.parent / name))
        except ValueError as error:
            assert said(error)
            answers.append(str(error))
    outcome(f"file of rows, {policy}", not answers)
    assert len(answers) in (0, 2) and len(set(answers)) <= 1
    if found:
        assert found[0].num_rows == found[1].num_rows and found[0].fingerprint == found[1].fingerprint
        quarantined = [path.parent / name / "quarantine.jsonl" for name in ("whole", "stream")]
        assert [file.read_text() if file.exists() else "" for file in quarantined][:1] * 2 == [
            file.read_text() if file.exists() else "" for file in quarantined
        ]
