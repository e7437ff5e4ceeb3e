"""docs/tutorial.md, followed word for word: its blocks in their order make a style and train a student in it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import PROJECT, environment

PAGE, KOREAN = PROJECT / "docs/tutorial.md", PROJECT / "docs/ko/tutorial.md"
BLOCK = re.compile(r'^```(bash|yaml)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)
OWN_MODEL = "## Another teacher, another style"  # from here on the commands need SmolLM2


class Reader:
    """Somebody who does what the page says, in an empty directory."""

    def __init__(self, directory: Path, **extra: str):
        self.directory, self.file = directory, ""
        self.variables = environment(PYTHONPATH=os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]), **extra)
        self.printed: dict[str, str] = {}

    def follow(self, text: str, *skipped: str) -> None:
        for kind, title, block in BLOCK.findall(text):
            if kind == "yaml":
                self.replace(title or self.file, block)
                continue
            for line in block.splitlines():
                if not line.startswith(skipped):
                    self.run(line)

    def replace(self, name: str, block: str) -> None:
        """The part of the file that begins with the same word becomes the block."""
        path, key = self.directory / name, block.partition(":")[0]
        text, number = re.subn(rf"(?ms)^{key}:.*?(?=^(?:#.*\n)*\w+:|\Z)", lambda _: block + "\n", path.read_text(encoding="utf-8"))
        assert number == 1, f"{name} has {number} parts {key}:"
        path.write_text(text, encoding="utf-8")

    def run(self, line: str) -> None:
        program, *words = shlex.split(line)
        assert program == "python"
        words = [str(PROJECT / word) if word in ("train.py", "evaluate.py") else word for word in words]
        done = subprocess.run([sys.executable, *words], cwd=self.directory, env=self.variables, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        self.printed[line] = done.stdout + done.stderr
        if named := re.search(r"^(conf/styles/\S+) is written", done.stdout, re.M):
            self.file = named[1]


def test_both_languages_have_the_same_blocks():
    assert BLOCK.findall(PAGE.read_text(encoding="utf-8")) == BLOCK.findall(KOREAN.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_style_of_the_tutorial_is_learned(tmp_path):
    reader = Reader(tmp_path)
    reader.follow(PAGE.read_text(encoding="utf-8").partition(OWN_MODEL)[0], ". .venv")
    (told,) = (text for line, text in reader.printed.items() if "dry_run" in line)
    assert "hardly toggles" not in told and "the classifier calls" not in told and "still as in" not in told
    summary = json.loads((tmp_path / "court-run/summary.json").read_text())
    assert summary["teacher"]["margin"] > 0.8 and summary["before"]["margin"] < 0.2
    assert summary["after"]["margin"] > 0.7 and summary["after"]["untagged"] < 0.15
    (answers,) = (text for line, text in reader.printed.items() if "request=" in line)
    assert "<style:court>" in answers and "<style:none>" in answers


def test_the_last_style_is_begun_and_checked_as_far_as_no_model_is_needed(tmp_path):
    reader = Reader(tmp_path, GOLD_STYLE_CACHE=str(tmp_path))
    reader.follow(PAGE.read_text(encoding="utf-8").partition(OWN_MODEL)[2], "make", "python train.py")
    from gold_style.config.settings import Settings, compose_config
    from gold_style.job.plan import pack_notes
    from gold_style.styles import StylePack

    settings = Settings.from_config(compose_config("config", ["experiment=bard", "styles=pirate"], searchpath=[tmp_path / "conf"]), [])
    assert settings.styles.name == "pirate" and settings.styles.few_shots == 8 and settings.model.name == "smollm2"
    notes = pack_notes(settings, StylePack.from_settings(settings.styles))
    assert notes == ["still as in styles=bard: styles.requests.topics, styles.requests.evaluation_topics"]


@pytest.mark.real
def test_a_released_teacher_can_do_the_last_style(tmp_path):
    reader = Reader(tmp_path)
    reader.follow(
        PAGE.read_text(encoding="utf-8").partition(OWN_MODEL)[2], "make", "python train.py experiment=bard styles=pirate output_dir"
    )
    (told,) = (text for line, text in reader.printed.items() if "dry_run" in line)
    assert "hardly toggles" not in told
