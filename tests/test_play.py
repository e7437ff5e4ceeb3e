"""`python -m gold_style.play` before a model loads, and in the terminal; tests/job/test_playground.py has the answers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree

import pytest

from gold_style.play import found, main
from tests.helpers.commands import PROJECT, environment

OLD_RUNS = PROJECT / "tests/runs_of_ed13394"
FINISHED = OLD_RUNS / "completed"


def play(*arguments: str, cwd: Path, typed: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gold_style.play", *arguments]
    return subprocess.run(command, cwd=cwd, input=typed, capture_output=True, text=True, env=environment(GOLD_STYLE_LANG="en"))


def refused(*arguments: str) -> str:
    with pytest.raises(ValueError) as error:
        main([*arguments, "--terminal"])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_no_finished_run_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused() == f"no finished run under {tmp_path / 'multirun'}: make one with python train.py, or name one"
    run = copytree(FINISHED, tmp_path / "multirun/2026-11-22/15-04-05-123456/0")
    assert refused("multirun/2026-11-22/15-04-05-123456/1").endswith("; did you mean multirun/2026-11-22/15-04-05-123456/0?")
    assert refused(str(tmp_path)).startswith(f"{tmp_path}: no run directory (no readable run.json in it)")  # other tests have runs near it
    (tmp_path / "empty").mkdir()
    assert refused("empty") == "empty: no run directory (no readable run.json in it)"
    interrupted = str(copytree(OLD_RUNS / "interrupted", tmp_path / "interrupted"))
    assert refused(interrupted) == (
        f"{interrupted}: this run is interrupted; it has a student once it is completed; python train.py resume={interrupted} continues it"
    )
    assert found(str(run))[1].run == found(str(run / "student"))[1].run == run  # and what is in a run


def test_the_newest_finished_run_is_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("completed", "completed", "interrupted")):
        copied = copytree(OLD_RUNS / name, tmp_path / f"multirun/2026-11-22/15-04-05-12345{number}/0")
        os.utime(copied / "run.json", (number, number))
    evaluated = tmp_path / "multirun/2026-11-23/15-04-05-123456/evaluate"  # has no student
    evaluated.mkdir(parents=True)
    (evaluated / "run.json").write_text(json.dumps({"status": "completed", "target": "RUN"}))
    assert found(None)[1].run == Path("multirun/2026-11-22/15-04-05-123451/0").absolute()


def test_a_mistake_costs_no_model(tmp_path, capsys):
    started = time.monotonic()
    done = play(str(tmp_path / "nowhere"), "--terminal", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"{tmp_path / 'nowhere'}: no run directory (no readable run.json in it)\n",
    )
    assert time.monotonic() - started < 6
    for wrong in (["--temperature", "-1"], ["--temperature", "nan"], ["--length", "0"]):
        with pytest.raises(SystemExit, match="2"):
            main([str(FINISHED), *wrong])
        assert wrong[0] in capsys.readouterr().err.splitlines()[-1]


def test_the_page_without_gradio_names_the_command(tmp_path):
    code = "import sys; sys.modules['gradio'] = None; from gold_style.play import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, str(FINISHED)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert "pip install 'gold-style[play]'" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_terminal_answers_what_is_piped(tmp_path):
    requests = "동료에게 무지개를 소개해 줘.\n\n<style:chosun> 안녕\nWhat is the capital of France?\n"
    done = play(str(FINISHED), "--terminal", "--teacher", cwd=tmp_path, typed=requests)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    for word in ("<style:chosun>", "<style:none>", "no tag", "before", "after", "teacher", "✓ modern · 해요체", "무지개"):
        assert word in done.stdout, word
    assert "request: is empty" in done.stdout and "leave out <style:chosun>" in done.stdout
    assert done.stdout.count("knows only requests made from templates") == 1
