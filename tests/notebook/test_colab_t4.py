"""notebooks/colab_t4.ipynb: clean, and each of its commands accepted, at every commit; `make test-notebook` runs it from top to bottom.

The run uses the same cells as a T4 does, on the CPU with the embedded pair: a cell of other values is put in after the one that is
tagged `parameters`, as papermill does. Only the installation is left out.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from gold_style.config.check.command_line import check
from gold_style.runs.run_directory import status_of
from tests.helpers.commands import PROJECT, environment

NOTEBOOK = PROJECT / "notebooks/colab_t4.ipynb"
CELLS = {cell["id"]: cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]}
SOURCES = {name: "".join(cell["source"]) for name, cell in CELLS.items()}
OTHER_PAIR = re.search(r'^# PAIR = "(.+)"$', SOURCES["parameters"], re.M)[1]
STEPS = 6
CPU = {
    "INSTALL": False,
    "RUN": "results/run",
    "PLAN": "here",
    "PAIR": "model=tiny",
    "CARD": "hardware=gpu_16gb hardware.device=cpu model.dtype=float32",  # everything else that a T4 gets
    "TRAIN": f"loss.beta=0 train.max_steps={STEPS} train.save_steps=2 train.save_total_limit=2 evaluation.keep=best "
    "train.per_device_train_batch_size=4 train.max_completion_length=24 prompts.eval_samples=4 prompts.selection_samples=4 "
    "evaluation.every_steps=2 evaluation.live_samples=2 evaluation.misspelt=0 evaluation.bootstrap_samples=100",
}


def settings(**changed) -> dict:
    """The values of the cell `parameters`, or other ones for some of its names."""
    values: dict = {}
    exec(SOURCES["parameters"], {}, values)
    assert changed.keys() <= values.keys()
    return values | changed


def commands(values: dict) -> list[list[str]]:
    """The words of each `!gold-style` line, with the values put in."""
    known = values | {"request": shlex.quote(values["REQUESTS"][0])}
    lines = [line for source in SOURCES.values() for line in re.findall(r"!gold-style (.+)", source)]
    return [shlex.split(re.sub(r"\{(\w+)\}", lambda found: str(known[found[1]]), line)) for line in lines]


def test_it_is_committed_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert len(CELLS) == len(cells)  # each id once
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    assert [cell["id"] for cell in code if "parameters" in cell["metadata"].get("tags", [])] == ["parameters"]


@pytest.mark.parametrize("changed", [{}, {"PAIR": OTHER_PAIR}, CPU], ids=["T4", "own teacher", "CPU"])
def test_every_command_is_accepted(changed, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").touch()  # as far as the check looks, a run
    found = commands(settings(**{**changed, "RUN": str(run)}))
    assert [words[0] for words in found] == ["train", "train", "report", "report", "evaluate"]
    for words in found:
        if words[0] != "report":  # it takes no settings
            check(words[1:], {"train": "config", "evaluate": "evaluate"}[words[0]])


def test_settings_that_the_texts_advise_are_accepted():
    texts = "\n".join(source for name, source in SOURCES.items() if CELLS[name]["cell_type"] == "markdown")
    spans = re.findall(r"`([^`]+)`", texts)
    advised = [span for span in spans if all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)+=\S+", word) for word in span.split())]
    assert {"train.learning_rate=2e-4", "hardware.tokens_per_microbatch=256 evaluation.batch_size=8"} <= set(advised)
    values = settings()
    for span in set(advised):
        check(f"{values['PAIR']} {values['CARD']} {values['TRAIN']} {span}".split(), "config")


@pytest.mark.notebook
def test_it_runs_from_top_to_bottom(tmp_path):
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    outside = environment(PATH=path, PYTHONPATH=str(PROJECT), WANDB_MODE="offline", IPYTHONDIR=str(tmp_path / "ipython"))
    run = tmp_path / CPU["RUN"]
    lose_the_runtime([words for words in commands(settings(**CPU)) if words[0] == "train"][1], run, tmp_path, outside)

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    values = "\n".join(f"{name} = {value!r}" for name, value in CPU.items())
    injected = nbformat.v4.new_code_cell(values, id="injected-parameters")
    notebook.cells.insert(1 + list(CELLS).index("parameters"), injected)
    numbers = {cell.id: number for number, cell in enumerate(notebook.cells)}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})

    def execute(name: str) -> str:
        """What a cell printed."""
        client.execute_cell(cell := notebook.cells[numbers[name]], numbers[name])
        texts = [output.text for output in cell.get("outputs", []) if output.output_type == "stream"]
        return "".join(texts).replace("\r\n", "\n")  # of a terminal

    def shown(name: str, kind: str) -> str:
        """What a cell displayed of a MIME type."""
        return "".join(
            output.data.get(kind, "") for output in notebook.cells[numbers[name]].outputs if output.output_type == "display_data"
        )

    with client.setup_kernel(env=outside):
        printed = {name: execute(name) for name in numbers}

        assert "from step 2" in printed["train"]
        assert status_of(run) == "completed"
        assert json.loads((run / "summary.json").read_text())["steps"] == STEPS
        assert "| student after |" in shown("look", "text/markdown")
        assert "&lt;section id=&quot;curves&quot;&gt;" in shown("look", "text/html")
        judged = re.findall(r"^(<style:\w+>|\(no tag\)) \[\w+\]\n(.+)", printed["ask"], re.M)
        assert [tag for tag, _ in judged] == ["<style:chosun>", "<style:none>", "(no tag)"]
        for tag, answer in judged:  # of at most 24 tokens
            assert f"\n{tag} {answer.strip()}" in printed["ask-transformers"]
        with zipfile.ZipFile(f"{run}-student.zip") as archive:
            packed = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        assert packed == {path.name: path.read_bytes() for path in (run / "student").iterdir()}

        assert "completed" in execute("train")  # Run all, once more
        injected.source = 'PAIR = "model=tinny"'
        execute("injected-parameters")
        with pytest.raises(CellExecutionError, match="The command above failed"):
            execute("plan")
        injected.source = "INSTALL = True"
        execute("injected-parameters")
        with pytest.raises(CellExecutionError, match="Fill in SOURCE"):
            execute("install")


def lose_the_runtime(words: list[str], run: Path, directory: Path, outside: dict[str, str]) -> None:
    """Start to train, and kill the process once it has left a checkpoint."""
    with open(directory / "killed.txt", "w") as printed:
        process = subprocess.Popen(["gold-style", *words], cwd=directory, env=outside, stdout=printed, stderr=printed)
        while not (run / "checkpoints/checkpoint-2").is_dir() and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.wait()
    assert status_of(run) == "interrupted", (directory / "killed.txt").read_text()
