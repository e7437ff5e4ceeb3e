"""The main job on the embedded pair, once, as a newcomer runs it: figures, files, W&B, the snippet, evaluate.py."""

import json
import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gold_style.speech import classify
from tests.helpers.commands import PROJECT, Done, python
from tests.helpers.run_files import read_samples, summary_again
from tests.helpers.wandb_file import read_wandb_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def default_run(tmp_path_factory) -> Done:
    """`python train.py` with a step checkpoint half-way; the default tracker, offline."""
    done = python("train.py", "train.save_steps=80", cwd=tmp_path_factory.mktemp("default"))
    assert done.code == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def summary(default_run) -> dict:
    return json.loads((default_run.run / "summary.json").read_text())


def test_the_student_toggles_on_topics_that_no_training_text_has(summary):
    before, after, teacher = summary["before"], summary["after"], summary["teacher"]
    assert before["chosun_rate"] <= 0.05 and teacher["chosun_rate"] >= 0.97
    assert after["chosun_rate"] >= 0.95 and after["leakage"] <= 0.03 and after["untagged"] <= 0.03
    assert after["content"] >= 0.90 and after["prompts"] == 128
    assert summary["gap_closed"] > 0.9 and summary["status"] == "completed"


def test_a_run_leaves_its_files(default_run):
    run = default_run.run
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.yaml", "run.json", "metrics.jsonl", "samples.jsonl", "summary.json", "report.html"}
    assert names >= {"checkpoints", "student", "wandb"}
    assert run.relative_to(run.parents[3]).parts[0] == "multirun" and run.name == "0"
    state = json.loads((run / "run.json").read_text())
    assert state["status"] == "completed" and state["student"] == {"keep": "last", "step": 160}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 161))
    assert all(row["train/loss"] >= 0 and row["train/grad_norm"] > 0 for row in rows)
    assert rows[-1]["style/margin"] is not None and rows[-1]["perf/tokens"] > 160 * 32 * 10
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"checkpoint-80", "checkpoint-160"}
    assert not [path for path in (run / "student").iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    card, verdict = (run / "student" / "README.md").read_text(), json.loads((run / "summary.json").read_text())["details"]["verdict"]
    assert "checkpoint" not in card and verdict["code"] == "learned" and verdict["sentence"] in card
    assert verdict["sentence"] in default_run.stdout and verdict["sentence"].startswith("Learned: ")
    assert "status: completed" in (run / "report.html").read_text() and "the recipe is" not in verdict["sentence"]


def test_figures_can_be_computed_again_from_the_samples(default_run, summary):
    assert summary_again(default_run.run, summary) == summary
    assert len(read_samples(default_run.run)["after"]) == 3 * 128 + 32  # under each tag, without one, under a misspelt one


def test_the_wandb_file_holds_config_history_and_table(default_run):
    (path,) = [found for found in (default_run.run / "wandb").glob("offline-run-*/*.wandb")]
    logged = read_wandb_file(path)
    assert logged.config["gold_style"]["loss"]["beta"] == 0.3
    assert len([row for row in logged.history if "train/loss" in row]) == 160
    assert {"train/loss", "style/margin", "train/global_step"} <= set().union(*logged.history)
    (table,) = (path.parent / "files" / "media" / "table").rglob("*.json")
    columns = ["request", "tag", *(text for model in ("before", "after", "teacher") for text in (model, f"{model}'s verdict"))]
    assert logged.exit_code == 0 and json.loads(table.read_text())["columns"] == columns
    assert (logged.name, logged.group, logged.tags) == ("tiny save_steps=80", "tiny joseon", ["tiny", "joseon", "uld_hybrid"])


def test_the_run_ends_with_its_verdict_and_three_commands(default_run):
    *_, verdict, report, ask, following, last = default_run.stdout.splitlines()
    assert verdict.startswith("Learned: ") and last == f"run directory: {default_run.run}"
    assert report == f"open the report: python -m webbrowser {(default_run.run / 'report.html').as_uri()}"
    assert str(default_run.run.name) in ask and "seed=1" in following


def test_the_readings_hold_what_each_side_read_and_where_the_teacher_disagreed(default_run):
    rows = [json.loads(line) for line in (default_run.run / "readings.jsonl").read_text().splitlines()]
    answers = {
        (row["request"], row["style"]): row["after"]
        for row in map(json.loads, (default_run.run / "samples.jsonl").read_text().splitlines())
    }
    assert [row["style"] for row in rows] == ["chosun", "none"] * 4
    for row in rows:
        assert "".join(text for text, *_ in row["tokens"]) == answers[row["request"], row["style"]]
        assert row["request"] in row["student_reads"] and row["request"] in row["teacher_reads"] != row["student_reads"]
        assert all(nats >= 0 and (nats == 0) == (text == choice) for text, nats, choice in row["tokens"])
    assert 0 < sum(nats > 0.1 for row in rows for _, nats, _ in row["tokens"]) < sum(len(row["tokens"]) for row in rows) / 2


def test_the_origins_snippet_loads_a_checkpoint(default_run):
    """The origin's verification: a bare prompt, plain from_pretrained. It loads and generates; style needs the chat template."""
    checkpoint = default_run.run / "checkpoints" / "checkpoint-80"
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    inputs = tokenizer("<style:chosun> 봄 축제를 소개하는 서문을 써줘.", return_tensors="pt").to(model.device)
    output = model.generate(**inputs, max_new_tokens=20)
    assert tokenizer.decode(output[0], skip_special_tokens=True)


@pytest.mark.parametrize("name", ["docs/how_to/ask.md", "docs/ko/how_to.md"])
def test_the_snippet_answers_in_style(default_run, name, capsys):
    snippets = re.findall(r"```python\n(.*?)```", (PROJECT / name).read_text(), re.DOTALL)
    (snippet,) = [code for code in snippets if "apply_chat_template" in code]
    code = re.sub(r'student = ".*"', f'student = "{default_run.run / "student"}"', snippet)
    torch.manual_seed(0)
    exec(compile(code, name, "exec"), {})
    assert classify(capsys.readouterr().out.strip()).verdict == "joseon"


def test_evaluate_gives_the_runs_own_figures_again(default_run, summary, tmp_path):
    done = python("evaluate.py", f"target={default_run.run}", "prompts.eval_samples=16", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    again = {(row["request"], row["style"]): row for row in map(json.loads, (done.run / "samples.jsonl").read_text().splitlines())}
    rows = [json.loads(line) for line in (default_run.run / "samples.jsonl").read_text().splitlines()]
    shared = [row for row in rows if (row["request"], row["style"]) in again]
    assert len(shared) == 4 * 16  # under both tags, without a tag, under a misspelt one
    for row in shared:
        assert {name: again[row["request"], row["style"]][name] for name in ("before", "after", "teacher")} == {
            name: row[name] for name in ("before", "after", "teacher")
        }
    scored = json.loads((done.run / "summary.json").read_text())
    assert set(summary) == set(scored) and scored["details"]["likelihood"]["teacher"]["auc"] > 0.9


def test_evaluate_answers_a_request_of_ones_own(default_run, tmp_path):
    checkpoint = default_run.run / "checkpoints" / "checkpoint-160"
    done = python("evaluate.py", f"target={checkpoint}", "request=친구에게 봄 축제를 소개해 줘.", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    assert "<style:chosun> [joseon]" in done.stdout and "<style:none> [modern]" in done.stdout and "(no tag)" in done.stdout
    assert "run directory" not in done.stdout and not any(tmp_path.iterdir())
