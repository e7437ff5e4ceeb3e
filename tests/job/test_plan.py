"""`plan=`: what is printed before a card is paid for, and that its advice works when typed."""

import json
import re
import subprocess
import sys

import pytest

from gold_style.config.settings import Settings
from gold_style.job.shapes import shape_of, table
from gold_style.runs.run_directory import config_hash
from tests.helpers.commands import PROJECT, environment

NO_TORCH = "import runpy, sys; sys.argv[0] = 'train.py'; sys.modules['torch'] = None; runpy.run_path('train.py', run_name='__main__')"
PAIR = "model=qwen3b_to_1p5b"


def plan(*overrides: str, home) -> str:
    """What is printed in a process that cannot import torch, with an empty cache and without a hub."""
    command = [sys.executable, "-c", NO_TORCH, f"output_dir={home}/out", "tracker=none", *overrides]
    variables = environment(HF_HOME=str(home), GOLD_STYLE_CACHE=str(home), HF_ENDPOINT="http://127.0.0.1:9")
    done = subprocess.run(command, cwd=PROJECT, env=variables, text=True, capture_output=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert not (home / "out").exists()
    return done.stdout


def line(page: str, name: str) -> str:
    return next((text.split(name, 1)[1].strip() for text in reversed(page.splitlines()) if text.startswith(f"  {name} ")), "")


def test_a_card_that_is_large_enough(tmp_path):
    page = plan(PAIR, "plan=h100", home=tmp_path)
    assert line(page, "fits").startswith("yes")
    assert "100 steps and the exams" in line(page, "seconds") and "6.17 GB from the hub" in line(page, "teacher")
    for part in ("student weights", "optimizer", "rollout copy", "cast weights", "activations", "loss buffers", "gradients", "caches"):
        assert f"  {part} " in page
    assert "not measured on this card" not in page


@pytest.mark.parametrize(
    "asked", [(PAIR, "plan=l4"), (PAIR, "plan=4090"), (PAIR, "plan=t4"), ("model=llama8b_to_qwen1p5b", "plan=l40s", "train.max_steps=7")]
)
def test_the_nearest_setting_fits_when_pasted(asked, tmp_path):
    page = plan(*asked, home=tmp_path)
    assert line(page, "fits").startswith("no") and "not measured on this card" in page
    nearest = line(page, "nearest").partition("(")[0].split()
    assert nearest and line(plan(*asked, *nearest, home=tmp_path), "fits").startswith(("yes", "close"))
    for preset in filter(None, line(page, "presets").split(", ")):
        assert line(plan(*asked, preset, home=tmp_path), "fits").startswith(("yes", "close")), preset


def test_where_nothing_fits_it_says_what_would(tmp_path):
    page = plan(PAIR, "model.teacher=Qwen/Qwen2.5-72B-Instruct", "plan=t4", home=tmp_path)
    assert line(page, "fits").startswith("no") and "no setting known here fits" in line(page, "nearest")


def test_a_gated_model_and_one_that_is_not_unpacked(tmp_path):
    assert "gated: accept it on the hub" in plan("model=llama8b_to_qwen1p5b", "plan=a100_80gb", home=tmp_path)
    assert "0.27 GB from the hub; Apache-2.0" in plan("model=smollm2", "styles=bard", "plan=t4", home=tmp_path)


def test_each_job_of_a_sweep_is_planned(tmp_path):
    page = plan("-m", "train.max_completion_length=40,80", "plan=t4", home=tmp_path)
    assert page.count("plan for 1 x t4") == 2


def test_two_cards(tmp_path):
    page = plan(PAIR, "plan=a100_80gb", "hardware=multi_gpu", "hardware.num_processes=2", home=tmp_path)
    assert "plan for 2 x a100_80gb" in page and "16 rows" in page


def test_an_unknown_card_and_an_unknown_model(tmp_path):
    def said(*overrides: str) -> str:
        command = [sys.executable, "train.py", f"output_dir={tmp_path}/out", *overrides]
        done = subprocess.run(command, cwd=PROJECT, env=environment(HF_HOME=str(tmp_path)), text=True, capture_output=True)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        return done.stderr

    assert "plan=h1000" in (text := said(PAIR, "plan=h1000")) and "did you mean h100?" in text
    text = said(PAIR, "plan=h100", "model.teacher=Qwen/Qwen2.5-3B-Instrukt")
    assert (
        "model.teacher=Qwen/Qwen2.5-3B-Instrukt: its sizes are not known here" in text and "did you mean Qwen/Qwen2.5-3B-Instruct?" in text
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "mamba", "hidden_size": 64}')
    assert "its config.json does not say what a plan needs ('num_hidden_layers')" in said("plan=h100", f"model.student={tmp_path}/model")


def test_the_disk_of_checkpoints_counts_those_of_the_best_student(tmp_path):
    best = ("evaluation.keep=best", "evaluation.every_steps=20")  # 160 steps
    for asked, held in (
        ((), "no checkpoints"),
        (best, "at most 9 checkpoints"),
        ((*best, "train.save_total_limit=1"), "at most 2 checkpoints"),
    ):
        assert held in line(plan("plan=h100", *asked, home=tmp_path), "disk")


def test_a_plan_is_no_part_of_the_experiment():
    assert config_hash(Settings.compose("plan=h100").to_dict()) == config_hash(Settings.compose().to_dict())


def test_every_model_of_a_shipped_pair_is_known():
    for path in (PROJECT / "conf" / "model").glob("*.yaml"):
        settings = Settings.compose(f"model={path.stem}", *(["model.student=Qwen/Qwen2.5-1.5B-Instruct"] if path.stem == "self" else []))
        for side in ("teacher", "student"):
            assert shape_of(f"model.{side}", getattr(settings.model, side)).parameters > 100_000
    assert all({"hub_gb", "licence"} <= facts.keys() for facts in table("models").values())


def test_here_measures_this_machine(tmp_path):
    done = subprocess.run(
        [sys.executable, "train.py", f"output_dir={tmp_path}/out", "tracker=none", "plan=here"],
        cwd=PROJECT,
        env=environment(),
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0 and re.search(r"measured now [\d.]+ GB/s", done.stdout), done.stderr
    assert re.search(r"seconds +[\d.e+-]+ a step", done.stdout) and json.dumps(done.stdout).count("plan for") == 1
