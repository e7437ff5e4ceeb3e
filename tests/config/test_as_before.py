"""Runs of an earlier version: what the keys mean that they lack."""

import yaml

from gold_style.comparison.records import read_settings
from gold_style.config.as_before import AS_BEFORE, as_before
from gold_style.config.mirror import keys_of
from gold_style.config.settings import Settings
from gold_style.runs.run_directory import config_hash, read_config


def without(config: dict, *keys: str) -> dict:
    """A copy of a nested config without these dotted keys."""
    config = yaml.safe_load(yaml.safe_dump(config))
    for key in keys:
        *groups, name = key.split(".")
        place = config
        for group in groups:
            place = place[group]
        place.pop(name, None)  # a key of another loss is not there
    return config


def at_its_table(config: dict) -> dict:
    """A copy of a nested config in which every key of the table says "as before"."""
    return as_before(without(config, *AS_BEFORE))


def test_every_entry_is_a_key_of_today():
    open_groups = ("train.", "styles.")
    assert [key for key in AS_BEFORE if key not in set(keys_of(Settings)) and not key.startswith(open_groups)] == []


def test_a_key_that_a_run_lacks_is_read_as_before(tmp_path):
    """Not as its default: the run was made without it. In every place that reads a run's settings."""
    config = without(Settings.compose(f"output_dir={tmp_path}").to_dict(), *AS_BEFORE)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    assert Settings.load(tmp_path).prompts.untagged_share == 0 != Settings.compose().prompts.untagged_share
    assert read_config(tmp_path)["prompts"]["untagged_share"] == 0
    assert read_settings(tmp_path / "config.yaml", print)["prompts.untagged_share"] == 0
    assert Settings.compose(f"reproduce={tmp_path}").prompts.untagged_share == 0


def test_what_a_run_has_stays():
    assert as_before({"prompts": {"untagged_share": 0.3}})["prompts"]["untagged_share"] == 0.3


def test_a_config_of_another_shape_is_left_to_the_schema():
    found = as_before({"model": {"recipe": 3}, "prompts": [], "evaluation": None})
    assert (found["model"]["recipe"], found["prompts"], found["evaluation"]) == (3, [], None)


def test_styles_and_train_are_read_with_the_table(monkeypatch):
    """Keys of the open groups, a new group of several levels, and a value that is a mapping."""
    new = {"train.new": 1, "styles.new": "a", "new.group.first": {}, "new.group.second": [1]}
    for key, value in new.items():
        monkeypatch.setitem(AS_BEFORE, key, value)
    found = as_before({"train": {}, "styles": {"new": "b"}})
    assert (found["train"], found["styles"]["new"]) == ({"new": 1}, "b")
    assert found["new"] == {"group": {"first": {}, "second": [1]}}


def test_the_hash_leaves_out_what_is_as_before():
    config = at_its_table(Settings.compose("output_dir=x").to_dict())
    assert config_hash(config) == config_hash(without(config, *AS_BEFORE))
    changed = yaml.safe_load(yaml.safe_dump(config))
    changed["prompts"]["untagged_share"] = 0.1
    assert config_hash(changed) != config_hash(config)
