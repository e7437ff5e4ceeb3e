"""How a run ends: the verdict and three lines to copy, each of which works when it is typed."""

import json
import shlex
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
import yaml

from gold_style.config.check.command_line import check
from gold_style.config.settings import EvaluateSettings, Settings
from gold_style.runs.files import read_json, write_json
from gold_style.show.ending import last_lines, next_step
from tests.helpers.run_files import write_run


def a_run(directory: Path, overrides=(), command="python train.py", **numbers) -> Path:
    """A run with a whole config; `numbers` replace fields of `after` in its summary, `steps` the number of its steps."""
    run = write_run(directory, requests=64, overrides=list(overrides), command=" ".join([command, *map(shlex.quote, overrides)]))
    settings = Settings.compose(*overrides)
    (run / "config.yaml").write_text(yaml.safe_dump(settings.to_dict(), allow_unicode=True), encoding="utf-8")
    summary = read_json(run / "summary.json")
    summary["steps"] = numbers.pop("steps", settings.model.recipe.max_steps)
    summary["after"] |= numbers
    summary["details"].pop("verdict", None)
    summary["details"]["models"]["after"]["intervals"]["margin"] = [summary["after"]["margin"] or 0] * 2
    write_json(run / "summary.json", summary)
    (run / "report.html").write_text("")
    return run


def commands(run: Path) -> dict[str, list[str]]:
    verdict, *lines = last_lines(run).splitlines()
    assert verdict.split(":")[0] in ("Learned", "Partly learned", "Not learned yet", "Cannot be told") and len(lines) == 3
    return {name.split(" (")[0]: shlex.split(text) for name, text in (line.split(": ", 1) for line in lines)}


@pytest.mark.parametrize(
    ("numbers", "overrides", "changed"),
    [
        ({}, [], {"seed": 1}),
        ({}, ["seed=4", "loss.beta=0.5"], {"seed": 5, "loss.beta": 0.5}),
        ({"margin": 0.1, "steps": 20}, ["train.max_steps=20"], {"train.max_steps": 160}),
        ({"margin": 0.1}, [], {"loss.beta": 0}),
        ({"margin": 0.1}, ["loss=uld", "train.num_train_epochs=3"], {"train.max_steps": 320}),
        ({"margin": 0.1}, ["loss.beta=0"], {"train.max_steps": 320}),
        ({"margin": 0.7}, [], {"train.max_steps": 320}),
        ({"untagged": 0.3}, [], {"prompts.untagged_share": 0.2}),
        ({"margin": None}, [], {"dry_run": True}),
        ({"margin": 0.9, "prompts": 10}, ["prompts.eval_samples=10"], None),
    ],
)
def test_the_lines_can_be_typed(numbers, overrides, changed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = a_run(tmp_path / "multirun" / "a day's" / "0", [*overrides, "output_dir=elsewhere"], **numbers)
    found = commands(run)
    assert Path(url2pathname(urlsplit(found["open the report"][-1]).path)) == run / "report.html"
    assert found["open the report"][:-1] == ["python", "-m", "webbrowser"]
    page = [] if find_spec("gradio") else ["--terminal"]
    assert found["ask it"] == ["python", "-m", "gold_style.play", "multirun/a day's/0", *page]
    assert found["try next"][:2] == ["python", "train.py"]
    checked, _ = check(found["try next"][2:], "config")  # of the command line, which refuses what cannot be typed
    settings = Settings.compose(*checked).to_dict()
    assert settings["output_dir"] != "elsewhere"
    for key, value in (changed or {}).items():
        *path, last = key.split(".")
        node = settings
        for name in path:
            node = node[name]
        assert node[last] == value, key


def test_too_few_requests_ask_for_more(tmp_path):
    run = a_run(tmp_path / "run", margin=0.9)
    summary = read_json(run / "summary.json") | {"details": {"verdict": {"code": "unknown", "sentence": "Cannot be told: ..."}}}
    assert next_step(summary, Settings.compose().to_dict()) == ("requests", ["prompts.eval_samples=128"])


def test_a_run_that_took_its_settings_from_another_is_repeated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = a_run(tmp_path / "run")
    taken = {"overrides": ["extend=/x", "train.max_steps=320"], "command": "python train.py extend=/x train.max_steps=320"}
    write_json(run / "run.json", json.loads((run / "run.json").read_text()) | taken)
    assert commands(run)["try next"] == ["python", "train.py", "reproduce=run"]


def test_other_launchers_are_kept_and_an_evaluation_has_nothing_to_try(tmp_path):
    run = a_run(tmp_path / "run", ["seed=1"], command="torchrun --nproc_per_node 2 -m gold_style.train")
    assert commands(run)["try next"] == ["torchrun", "--nproc_per_node", "2", "-m", "gold_style.train", "seed=2"]
    flags = {"overrides": ["--config-dir", "my", "seed=1"], "command": "python train.py --config-dir my seed=1"}
    write_json(run / "run.json", json.loads((run / "run.json").read_text()) | flags)
    assert commands(run)["try next"] == ["python", "train.py", "--config-dir", "my", "seed=2"]
    write_json(run / "run.json", json.loads((run / "run.json").read_text()) | {"target": str(run)})
    _, _, asked = last_lines(run).splitlines()
    checked, _ = check(shlex.split(asked.removeprefix("ask it: python evaluate.py ")), "evaluate")
    settings = EvaluateSettings.compose(*checked)
    assert (settings.target, settings.request) == (str(run), "임금님께 나비0 소식을 알려 줘.")
