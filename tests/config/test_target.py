"""What evaluate.py is pointed at, and under which tags it asks."""

import json

import pytest

from gold_style.config.settings import EvaluateSettings, Settings
from gold_style.config.target import Target
from gold_style.runs.run_directory import write_config


def asked(*overrides: str) -> EvaluateSettings:
    return EvaluateSettings.compose(*overrides)


@pytest.fixture
def run(tmp_path):
    """A run that started from an adapted student, with a full and a LoRA checkpoint."""
    write_config(tmp_path, Settings.compose("styles=village", "model.student_adapter=first", "prompts.eval_samples=4").to_dict())
    (tmp_path / "run.json").write_text("{}")
    for name, file in (
        ("student", "config.json"),
        ("checkpoints/checkpoint-1", "config.json"),
        ("checkpoints/checkpoint-2", "adapter_config.json"),
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / file).write_text(json.dumps({"base_model_name_or_path": "moved/away"}))
    return tmp_path


def test_a_target_is_a_run_a_checkpoint_an_adapter_or_a_model(run, tmp_path_factory):
    full, adapter = run / "checkpoints" / "checkpoint-1", run / "checkpoints" / "checkpoint-2"
    start = Settings.load(run).model.student
    assert Target.find(asked(f"target={run}")) == Target(str(run / "student"), run)
    assert Target.find(asked(f"target={full}")) == Target(str(full), run)
    assert Target.find(asked(f"target={adapter}")) == Target(start, run, ("first", str(adapter)))  # what the run started from
    assert Target.find(asked("target=org/model")) == Target("org/model", None)
    assert Target.find(asked("target=org/model", f"model.student_adapter={adapter}")).adapters == (str(adapter),)
    alone = (tmp_path_factory.mktemp("alone") / "adapter").resolve()
    alone.mkdir()
    (alone / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert Target.find(asked(f"target={alone}")) == Target("org/base", None, (str(alone),))
    for content in ('{"r": 4}', '{"base_model_name_or_path": null}'):
        (alone / "adapter_config.json").write_text(content)
        with pytest.raises(ValueError, match=f"target=MODEL model.student_adapter={alone}"):
            Target.find(asked(f"target={alone}"))
    (alone / "adapter_config.json").write_text("not JSON")
    with pytest.raises(ValueError, match="neither a run .* nor a model .* nor an adapter"):
        Target.find(asked(f"target={alone}"))
    (run / "student" / "config.json").unlink()
    with pytest.raises(ValueError, match=f"no student/ yet.*resume={run}"):
        Target.find(asked(f"target={run}"))


def test_tags_are_those_of_the_pack_or_none(run):
    first, *others = Settings.load(run).styles.styles
    every = ",".join([first, *others])
    for good in (f"tags=[{every}]", f"tags=[{every},null]"):
        Target.find(asked(f"target={run}", good))
    Target.find(asked(f"target={run}", "request=x", f"tags=[{first}]"))
    Target.find(asked(f"target={run}", "request=x", "tags=[null]"))
    for wrong, request, words in (
        ("[chosun]", "request=x", "the pack has the tags"),  # the run's own pack is another
        (f"[{first}x]", "request=x", f"did you mean {first}?"),
        (f"[{first},null]", "request=null", "scores need every tag"),
        ("[]", "request=x", "with request=TEXT one of them"),
    ):
        with pytest.raises(ValueError) as caught:
            Target.find(asked(f"target={run}", request, f"tags={wrong}"))
        assert words in str(caught.value) and str(caught.value).startswith("tags=")


def test_a_misspelt_run_is_no_hub_name(tmp_path, monkeypatch):
    (tmp_path / "multirun" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^target=multirun/frist: no such directory; did you mean first\?$"):
        Target.find(asked("target=multirun/frist"))
