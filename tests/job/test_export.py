"""`python -m gold_style.export` without further packages: a folder for transformers, and what is refused."""

import json
import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gold_style.job import gguf_file, handover
from gold_style.runs.files import write_json_lines
from gold_style.runs.terminal import exit_code
from tests.helpers.commands import Done, door
from tests.helpers.finished_runs import finished_run


@pytest.fixture
def export(capsys):
    """The command in this process, with the exit code and the output that it has as a command."""

    def asked(*arguments: str) -> Done:
        capsys.readouterr()
        code = exit_code(lambda: handover.export(list(arguments)))
        return Done(code, *capsys.readouterr())

    return asked


def test_merged_is_a_folder_that_transformers_opens_and_it_is_compared(export, tmp_path):
    run = finished_run(tmp_path / "run")
    for _ in range(2):  # again: the folder is written anew
        done = export(str(run), "--format", "merged")
        assert done.code == 0, done.stderr
        folder = run / "export" / "merged"
        assert re.fullmatch(rf"{folder}: \d\.\d MB; 0 of 16 answers differ from those of student/\n", done.stdout)
        (folder / "old").write_text("")
    weights = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).state_dict() for path in (folder, run / "student")]
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())
    assert AutoTokenizer.from_pretrained(folder).chat_template and "# tiny-student-joseon\n" in (folder / "README.md").read_text()


def test_a_run_that_held_out_nothing_is_exported_without_a_comparison(export, tmp_path):
    run = finished_run(tmp_path / "run")
    write_json_lines(run / "samples.jsonl", [])
    done = export(str(run), "--format", "merged")
    assert done.code == 0 and "0 of 0 answers" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "given, arguments, said",
    [
        ({"status": "failed"}, ["--format", "merged"], "this run is failed"),
        ({"student": None}, ["--format", "gguf"], "its student/ is missing"),
    ],
)
def test_what_cannot_be_exported_is_refused(export, tmp_path, given, arguments, said):
    run = finished_run(tmp_path / "run", **given)
    done = export(str(run), *arguments)
    assert done.code == 2 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not (run / "export").exists()


@pytest.mark.parametrize("change", [{"model_type": "qwen3"}, {"use_sliding_window": True}])
def test_an_architecture_that_gguf_is_not_written_for_is_refused_first(export, tmp_path, change):
    run = finished_run(tmp_path / "run")
    config = json.loads((run / "student" / "config.json").read_text())
    (run / "student" / "config.json").write_text(json.dumps(config | change))
    done = export(str(run), "--format", "ollama")
    assert done.code == 2 and str(next(iter(change.values() if "model_type" in change else change))) in done.stderr
    assert f"python convert_hf_to_gguf.py {run / 'student'}" in done.stderr and not (run / "export").exists()


def test_without_the_package_the_command_that_installs_it_is_named(export, tmp_path, monkeypatch):
    run = finished_run(tmp_path / "run")
    monkeypatch.setattr(gguf_file, "find_spec", lambda name: None)
    done = export(str(run), "--format", "gguf")
    assert done.code == 2 and "pip install 'gold-style[export]'" in done.stderr and not (run / "export").exists()


def test_the_command_as_it_is_typed(tmp_path):
    done = door("export", str(tmp_path), "--format", "merged")
    assert done.code == 2 and "no run directory" in done.stderr and "Traceback" not in done.stderr
