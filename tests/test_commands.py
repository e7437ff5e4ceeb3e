"""Every command in README, CONTRIBUTING and docs is run by a test, composed as typed, or listed with the reason why not.

tests/commands.yaml is the list. `python train.py ...` and `python evaluate.py ...` go through the checks of the command line.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from gold_style.config.check.command_line import check
from gold_style.config.check.presets import with_preset
from gold_style.config.settings import CONF, Settings
from gold_style.runs.run_directory import write_config

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), PROJECT / "data/README.md"])
TABLE = yaml.safe_load(Path(__file__).with_name("commands.yaml").read_text(encoding="utf-8"))
PROGRAMS = r"(?:python3?|make|gold-style|accelerate|torchrun|pip|wandb|lm_eval|ollama|curl|vllm|transformers|git|cd|bash|docker)"
SCRIPT = re.compile(r"(?:accelerate launch (?:--\w+ \S+ )*|torchrun (?:--\S+ \S+ )*|python )(train|evaluate)\.py\b(.*)")


def commands() -> dict[str, str]:
    """Command -> the page that has it; comments are left out."""
    found = {}
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```bash.*?\n(.*?)^```", text, re.M | re.S)
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        lines += re.findall(rf"`({PROGRAMS} [^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        for line in lines:
            if command := re.sub(r"(^|\s+)#( .*)?$", "", line).strip():
                found.setdefault(command, str(page.relative_to(PROJECT)))
    return found


def entry_of(command: str) -> str | None:
    """The pattern of the table that this command matches."""
    return next((pattern for part in TABLE.values() for pattern in part if re.fullmatch(pattern, command)), None)


COMPOSED = [command for command in commands() if SCRIPT.fullmatch(command) and entry_of(command) is None]


SCRIPTS = [
    block for page in PAGES for block in re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
]


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_a_script_for_slurm_calls_a_command_that_composes(script, tmp_path):
    """bash runs it as the third task of an array; srun, which is SLURM's own, writes down what it is asked to start."""
    programs = {"srun": 'printf "%s\\n" "$*" >> asked', "scontrol": "echo one; echo two", "getent": "echo 10.0.0.5 one", "sleep": ""}
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_NODELIST": "one,two"}
    done = subprocess.run(["bash", "-eu", "-c", script + "wait"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "asked").read_text().splitlines()
    (asked,) = (match for line in lines if (match := SCRIPT.search(line)))
    check([*shlex.split(asked[2]), "dry_run=true"], "config")
    assert "seed=3 output_dir=runs/3" in asked[2] or "one:29500" in asked[0] or "address=10.0.0.5:6379" in asked[2]


def test_every_command_is_run_or_says_why_not():
    left = {command: page for command, page in commands().items() if command not in COMPOSED and entry_of(command) is None}
    assert left == {}, "add a test, or an entry to tests/commands.yaml"


def test_the_table_has_no_stale_entry():
    used = {entry_of(command) for command in commands()}
    assert [pattern for part in TABLE.values() for pattern in part if pattern not in used] == []
    for pattern, test in TABLE["run"].items():
        file, _, name = test.partition("::")
        assert (PROJECT / file).is_file(), f"{pattern}: {test}"
        assert not name or re.search(rf"^def {name}\b", (PROJECT / file).read_text(encoding="utf-8"), re.M), f"{pattern}: {test}"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run directory, for commands that name one."""
    directory = tmp_path_factory.mktemp("run")
    write_config(directory, Settings.compose("tracker=none").to_dict())
    (directory / "checkpoints/checkpoint-100").mkdir(parents=True)
    return directory


@pytest.mark.parametrize("command", COMPOSED)
def test_a_command_line_composes_as_typed(command, run, monkeypatch):
    monkeypatch.chdir(PROJECT)
    script, typed = SCRIPT.fullmatch(command).groups()
    typed = re.sub(r"\bmultirun/2026-11-22/15-04-05-123456/0\b|\bRUN\b", str(run), typed)
    typed = typed.replace("my.jsonl", "data/style_toggles.jsonl").replace("ANOTHER_TEACHER", "gold_style/pairs/tiny/teacher")
    monkeypatch.setenv("GOLD_STYLE_CACHE", str(run))  # where SmolLM2 would be
    if "experiment=bard" in typed or "smollm2" in typed:
        (run / "smollm2-135m-instruct").mkdir(exist_ok=True)
        (run / "smollm2-135m-instruct/config.json").write_text("{}")
    if "num_processes" in command or "multi_gpu" in typed or "fsdp" in typed:
        typed += " dry_run=true"  # the launch itself is not here
    check(with_preset(shlex.split(typed), CONF), {"train": "config", "evaluate": "evaluate"}[script])
