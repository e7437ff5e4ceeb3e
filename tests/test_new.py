"""`python -m gold_style.new style NAME`: a pack that runs at once, in a working directory of one's own; mistakes change no file."""

import subprocess
import sys

import pytest
import yaml

from gold_style import PROJECT
from gold_style.cli import COMMANDS
from gold_style.config.settings import Settings, compose_config
from gold_style.new import main
from gold_style.styles import SHIPPED, StylePack
from gold_style.verdicts import classifier_of
from tests.helpers.commands import environment, python


def made(directory, name: str, source: str) -> str:
    """The text of a pack that the command wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "gold_style.new", "style", name, "--from", source],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr and f"conf/styles/{name}.yaml is written" in done.stdout
    return (directory / f"conf/styles/{name}.yaml").read_text(encoding="utf-8")


def test_it_is_a_command():
    assert "new" in COMMANDS
    assert sorted(path.stem for path in (PROJECT / "conf/styles").glob("*.yaml") if path.stem in SHIPPED) == sorted(SHIPPED)


@pytest.mark.parametrize("source", SHIPPED)
def test_a_copy_is_a_pack_under_its_own_name(tmp_path, source):
    text = made(tmp_path, "pirate-2", source)
    composed = compose_config("config", ["styles=pirate-2", "prompts.random_topics=0"], searchpath=[tmp_path / "conf"])
    settings = Settings.from_config(composed, ["styles=pirate-2"])
    pack, copied = StylePack.from_settings(settings.styles), yaml.safe_load((PROJECT / f"conf/styles/{source}.yaml").read_text())
    assert pack.name == "pirate-2" and len(pack.tags) == 2 and pack.neutral == copied["neutral"]
    assert pack.tags[0] == ("chosun" if source == "joseon" else "pirate-2")  # the embedded teacher knows no other
    assert pack.styles[0].rule == next(iter(copied["styles"].values()))["rule"]
    classifier = classifier_of(pack)
    assert {classifier(shot.answer) == style.verdict for style in pack.styles for shot in style.few_shots} == {True}
    above = [line.strip() for line, key in zip(text.splitlines(), text.splitlines()[1:], strict=False) if key.lstrip() == key]
    assert any(line.startswith("# ") for line in above)


@pytest.mark.parametrize("source", SHIPPED)
def test_every_part_has_a_comment_that_says_what_to_change(tmp_path, source):
    lines = made(tmp_path, "mine", source).splitlines()
    for part in ("intro:", "styles:", "    rule:", "    few_shots:", "classifier:", "requests:", "  topics:", "  evaluation_topics:"):
        number = next(number for number, line in enumerate(lines) if line.startswith(part))
        assert lines[number - 1].lstrip().startswith("# "), part
    assert sum("CHANGE" in line for line in lines) >= 8
    assert not any(word in line for line in lines[:8] for word in ("{", "an example of a third style"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("style", "mine", "--from", "vilage"), "--from: 'vilage' is not one of joseon, village, bard; did you mean village?"),
        (("styel", "mine"), "KIND: 'styel' is not one of style; did you mean style?"),
        (("style", "bard"), "NAME: 'bard' is taken"),
        (("style", "none", "--from", "joseon"), "NAME: 'none' is taken"),
        (("style", "ambiguous"), "NAME: 'ambiguous' is taken"),
        *(
            (("style", name), f"NAME: {name!r} cannot be a tag")
            for name in ("Pirate", "../x", "a/b", "", "1st", "해적", "null", "on", "a" * 33)
        ),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as raised:
        main(list(arguments))
    assert str(raised.value).startswith(said) and "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["style", "mine"])
    path = tmp_path / "conf/styles/mine.yaml"
    path.write_text("mine")
    with pytest.raises(ValueError, match="conf/styles/mine.yaml: nothing was written: File exists"):
        main(["style", "mine", "--from", "bard"])
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")  # a link that leads nowhere is there as well
    with pytest.raises(ValueError, match="nothing was written"):
        main(["style", "mine"])
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").write_text("")
    with pytest.raises(ValueError, match="conf/styles/mine.yaml: nothing was written"):
        main(["style", "mine"])


def test_a_dry_run_says_what_is_still_the_copys_and_what_the_teacher_can_do(tmp_path):
    path, text = tmp_path / "conf/styles/mine.yaml", made(tmp_path, "mine", "village")
    path.write_text(text.replace("가자, 도토!", "가자!").replace("거야, 도토!", "거야!").replace("살랑거려, 도토!", "살랑거려!"))
    done = python("train.py", "styles=mine", "dry_run=true", "tracker=none", "prompts.eval_samples=4", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("note: ")]
    assert any(line.startswith("note: styles.styles.mine.few_shots[1]: the classifier calls it modern, not mine: ") for line in told)
    assert "note: still as in styles=village: styles.styles.mine.rule, styles.requests.topics, styles.requests.evaluation_topics" in told
    assert "teacher with its system prompt, 4 requests a tag" in done.stderr and "the teacher itself hardly toggles" in done.stderr


def test_shipped_packs_have_no_such_notes():
    from gold_style.job.plan import pack_notes

    for name in SHIPPED:
        settings = Settings.compose(f"styles={name}")
        assert pack_notes(settings, StylePack.from_settings(settings.styles)) == []


def test_a_misspelt_style_is_refused_with_the_nearest_of_ones_own(tmp_path):
    made(tmp_path, "pirate", "bard")
    done = python("train.py", "styles=pirat", "dry_run=true", cwd=tmp_path)
    assert done.code == 2 and "there are bard, joseon, village, pirate; did you mean pirate?" in done.stderr
