"""docs/tutorial.md, followed word for word: its blocks in their order make a style and train a student in it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.commands import PROJECT, environment

PAGE, KOREAN = PROJECT / "docs/tutorial.md", PROJECT / "docs/ko/tutorial.md"
BLOCK = re.compile(r'^```(bash|yaml|python)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)
OWN_MODEL = "## Another teacher, another style"  # from here on the commands need SmolLM2
OWN_LOSS = "## Your own loss"


class Reader:
    """Somebody who does what the page says, in an empty directory."""

    def __init__(self, directory: Path, project: Path = PROJECT, **extra: str):
        self.directory, self.project, self.file = directory, project, ""
        self.variables = environment(PYTHONPATH=os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")]), **extra)
        self.printed: dict[str, str] = {}

    def follow(self, text: str, *skipped: str) -> None:
        for kind, title, block in BLOCK.findall(text):
            if title and not (self.directory / title).exists():
                (self.directory / title).write_text(block, encoding="utf-8")
                continue
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
        words = [str(self.project / word) if word in ("train.py", "evaluate.py") else word for word in words]
        done = subprocess.run([sys.executable, *words], cwd=self.directory, env=self.variables, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        self.printed[line] = done.stdout + done.stderr
        if named := re.search(r"^(conf/styles/\S+) is written", done.stdout, re.M):
            self.file = named[1]


def part(first: str, last: str) -> str:
    """The page between two headings."""
    return PAGE.read_text(encoding="utf-8").partition(first)[2].partition(last)[0]


@pytest.fixture
def own_loss(tmp_path: Path) -> Reader:
    """Somebody who has written the loss of the tutorial into a copy of the project."""
    for name in ("gold_style", "hydra_plugins", "conf", "data"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "docs/build.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    reader = Reader(tmp_path, tmp_path)
    reader.follow(part(OWN_LOSS, "## If it"), "python train.py experiment")
    return reader


def refused(reader: Reader, *arguments: str) -> str:
    """What is said of a command that starts nothing."""
    command = [sys.executable, "-m", "gold_style.train", *arguments]
    done = subprocess.run(command, cwd=reader.directory, env=reader.variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_a_loss_of_your_own_is_listed_and_its_keys_are_checked(own_loss):
    (told,) = own_loss.printed.values()
    assert "skewed: skew, temperature" in told and "no_teacher, seq_kd, skewed, topk_tail" in told
    assert "loss.skew=1.5: must be greater than 0 and less than 1" in refused(own_loss, "loss=skewed", "loss.skew=1.5")
    assert "loss.skw=0.2: unknown key; did you mean loss.skew?" in refused(own_loss, "loss=skewed", "loss.skw=0.2")
    said = refused(own_loss, "loss.skew=0.2", "loss.kind=skewd")
    assert (
        "loss.kind=skewd: must be one of jsd, skewed, " in said.replace("contrast, ", "").replace("no_teacher, ", "")
        and "did you mean skewed?" in said
    )
    assert "loss.skew=0.2: is not read by loss.kind=jsd, but by loss.kind=skewed" in refused(own_loss, "loss=jsd", "loss.skew=0.2")
    assert "loss.beta=0.3: is not read by loss.kind=skewed" in refused(own_loss, "loss=skewed", "loss.beta=0.3")
    own_loss.run("python -c \"import sys; sys.path.insert(0, 'docs'); import build; print(build.settings_page())\"")
    row = "| `loss.skew` | a number greater than 0 and less than 1 | `0.1` | the teacher's share of the mixture, between 0 and 1 |"
    assert row in list(own_loss.printed.values())[-1]
    asked = "'skew' in Settings.compose().to_dict()['loss'], 'skew' in Settings.compose('loss=skewed').to_dict()['loss']"
    own_loss.run(f'python -c "from gold_style.config.settings import Settings; print({asked})"')
    assert list(own_loss.printed.values())[-1] == "False True\n"  # a run says nothing of losses that it does not have


def test_a_loss_that_cannot_be_read_stops_only_those_who_ask_for_it(own_loss):
    path = own_loss.directory / "gold_style/losses/skewed.py"
    text = path.read_text(encoding="utf-8")
    for broken, said in (
        (text.replace("def build(options", "def build(options("), "skewed.py: invalid syntax (skewed.py, line 20)"),
        (text.replace("Interval(0, 1", "Between(0, 1"), "skewed.py: name 'Between' is not defined"),
        (text.replace("= 0.1", "= 2"), "skewed.py: Options.skew=2: must be greater than 0 and less than 1"),
        (text.replace("temperature: Positive", "temperature: str"), "skewed.py: Options.temperature means something else in another loss"),
    ):
        path.write_text(broken, encoding="utf-8")
        assert f"loss.kind=skewed: gold_style/losses/{said}" in refused(own_loss, "loss=skewed")
    own_loss.run("python train.py --cfg job")


@pytest.mark.slow
def test_a_loss_of_your_own_trains(own_loss):
    own_loss.follow(part(OWN_LOSS, "## If it").partition("```bash")[2].join(["```bash", ""]), "python train.py --help")
    run = own_loss.directory / "skewed-run"
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert (config["loss"]["kind"], config["loss"]["skew"]) == ("skewed", 0.3)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert len(losses) >= 2 and all(0 < loss < 10 for loss in losses)


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
    assert "<style:chosun> [court]" in answers and "<style:none>" in answers


def test_the_last_style_is_begun_and_checked_as_far_as_no_model_is_needed(tmp_path):
    reader = Reader(tmp_path, GOLD_STYLE_CACHE=str(tmp_path))
    reader.follow(part(OWN_MODEL, OWN_LOSS), "make", "python train.py")
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
    reader.follow(part(OWN_MODEL, OWN_LOSS), "make", "python train.py experiment=bard styles=pirate output_dir")
    (told,) = (text for line, text in reader.printed.items() if "dry_run" in line)
    assert "hardly toggles" not in told
