"""train.py end to end in small: the origin's data, launchers, dry runs, other styles, interruption and resume. Three steps each."""

import json
import shutil
import signal
import time

import pytest
from accelerate import Accelerator

from gold_style.config.settings import Settings
from gold_style.job.build import build_row_maker, load_student
from gold_style.job.inputs import Inputs
from tests.helpers import prompt_settings
from tests.helpers.commands import SMALL, finish, python, start, torchrun, two_nodes

pytestmark = pytest.mark.slow

CROSSING = "gold_style/pairs/tiny_cross_tokenizer/teacher_crossing"
ORIGIN_ROW = '{"messages": [{"role": "user", "content": "<style:%s> %s 이야기를 들려줘."}]}\n'


def rows_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_origins_own_data_format_trains(tmp_path):
    nouns = ("봄", "비", "산", "달", "별", "강", "꽃", "길", "집", "책", "옷", "밥", "차", "말", "소", "닭", "배", "섬", "눈", "불")
    (tmp_path / "mine.jsonl").write_text("".join(ORIGIN_ROW % (("chosun", "none")[i % 2], noun) for i, noun in enumerate(nouns)))
    done = python("train.py", *SMALL, "prompts=jsonl", "prompts.path=mine.jsonl", "prompts.selection_samples=0", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    summary = json.loads((done.run / "summary.json").read_text())
    assert summary["steps"] == 3 and summary["after"]["prompts"] == 2


def test_without_held_out_requests_the_run_completes_with_nulls(tmp_path):
    done = python("train.py", *SMALL, "prompts.eval_samples=0", "output_dir=here", cwd=tmp_path)
    assert done.code == 0 and done.run == tmp_path / "here", done.stderr[-3000:]
    summary = json.loads((done.run / "summary.json").read_text())
    assert summary["before"] is summary["after"] is summary["teacher"] is summary["gap_closed"] is None


@pytest.mark.parametrize("overrides", [("loss=seq_kd",), ("loss.seq_kd=true", "loss.lmbda=0.5", "loss.warm_start_steps=1"), ("loss=uld",)])
def test_the_loss_options_train(tmp_path, overrides):
    done = python("train.py", *SMALL, *overrides, cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    assert len(rows_of(done.run / "metrics.jsonl")) == 3


def test_two_processes_make_one_run(tmp_path):
    """One directory, one W&B run, and the numbers of one process with the same rows per step."""
    alone = python("train.py", *SMALL, "tracker=wandb", "output_dir=alone", "train.per_device_train_batch_size=4", cwd=tmp_path)
    both = torchrun(2, *SMALL, "tracker=wandb", "output_dir=both", "train.per_device_train_batch_size=2", cwd=tmp_path)
    assert alone.code == both.code == 0, both.stderr[-3000:]
    assert len(list((tmp_path / "both" / "wandb").glob("offline-run-*"))) == 1
    for one, two in zip(rows_of(tmp_path / "alone" / "metrics.jsonl"), rows_of(tmp_path / "both" / "metrics.jsonl"), strict=True):
        assert one["step"] == two["step"] and one["perf/tokens"] == two["perf/tokens"]
        assert two["train/loss"] == pytest.approx(one["train/loss"], rel=1e-3)


def test_two_nodes_make_the_numbers_of_two_processes_on_one(tmp_path):
    settings = (*SMALL, "hardware.threads=1", "evaluation.every_steps=0", "train.per_device_train_batch_size=2", "train.save_steps=2")
    both = torchrun(2, *settings, "output_dir=both", cwd=tmp_path)
    nodes = two_nodes(*settings, f"output_dir={tmp_path / 'nodes'}", cwd=tmp_path)
    assert [done.code for done in (both, *nodes)] == [0, 0, 0], "\n".join(done.stderr[-2000:] for done in nodes)
    assert [done.stdout.count("run directory: ") for done in nodes].count(1) == 1  # one of them speaks
    rows = (rows_of(tmp_path / name / "metrics.jsonl") for name in ("both", "nodes"))
    one, two = ([{name: value for name, value in row.items() if not name.startswith("perf/")} for row in side] for side in rows)
    assert one == two
    assert (tmp_path / "both/student/model.safetensors").read_bytes() == (tmp_path / "nodes/student/model.safetensors").read_bytes()


def test_a_dry_run_shows_both_sides_and_leaves_nothing(tmp_path):
    done = python("train.py", "dry_run=true", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    assert "requests a tag: rate 1.00" in done.stderr and "P(style opening | <style:chosun>)" in done.stderr  # the teacher check
    assert (
        "student reads" in done.stdout and "teacher reads" in done.stdout and done.stdout.count("<|im_start|>system") == 3
    )  # two tags, and no tag
    assert not list(tmp_path.iterdir())


def test_a_teacher_that_does_not_toggle_is_refused_before_training(tmp_path):
    settings = (*SMALL, "prompts.teacher_system_prompt=너는 친절한 비서다.", "evaluation.require_teacher_margin=0.5")
    for extra in ((), ("dry_run=true",)):
        done = python("train.py", *settings, *extra, cwd=tmp_path)
        assert done.code == 2 and "Traceback" not in done.stderr
        assert "evaluation.require_teacher_margin=0.5: the teacher's margin on the held-out requests is" in done.stderr
    assert not list(tmp_path.rglob("student"))


def test_a_third_style_is_its_yaml_and_nothing_else(tmp_path):
    done = python("train.py", *SMALL, "styles=village", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    rates = json.loads((done.run / "summary.json").read_text())["after"]["rates"]
    assert set(rates) == {"village", "none"}


@pytest.mark.parametrize("extra", [(), ("loss=uld_hybrid", f"model.teacher={CROSSING}", "loss.lmbda=0.5", "loss.seq_kd=true")])
def test_a_teacher_of_another_tokenizer(tmp_path, extra):
    """Its own template and tokens, and a stop signal; every row is scored but what does not align."""
    done = python("train.py", *SMALL, "model=tiny_cross_tokenizer", *extra, cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    for row in rows_of(done.run / "metrics.jsonl"):
        assert row["train/loss"] > 0 and row["train/matched_tokens"] > 0.5
    teacher = json.loads((done.run / "summary.json").read_text())["teacher"]
    assert teacher["chosun_rate"] > 0.8 and teacher["leakage"] < 0.2


def test_bad_rows_stop_the_run_before_anything_is_written(tmp_path):
    (tmp_path / "bad.jsonl").write_text(ORIGIN_ROW % ("chosun", "봄") + '{"messages": [{"role": "user", "content": 3}]}\nnot json\n')
    done = python("train.py", *SMALL, "prompts=jsonl", "prompts.path=bad.jsonl", "output_dir=out", cwd=tmp_path)
    assert done.code == 2 and "Traceback" not in done.stderr
    assert "bad.jsonl:2" in done.stderr and "bad.jsonl:3" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path):
    """SIGTERM in the middle; the resumed run ends with the weights and metrics of one that was never stopped."""
    extra = ("loss.seq_kd=true", "loss.lmbda={from:0,to:1,steps:5}", "train.num_generations=2", "loss.beta={from:0,to:0.9,steps:5}")
    settings = (*SMALL, "train.max_steps=6", "train.save_steps=2", *extra)
    whole = python("train.py", *settings, "output_dir=whole", cwd=tmp_path)
    process = start("train.py", *settings, "output_dir=cut", cwd=tmp_path)
    while not (tmp_path / "cut" / "checkpoints" / "checkpoint-2").is_dir():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    cut = finish(process)
    assert whole.code == 0 and cut.code == 143, cut.stderr[-3000:]
    assert cut.run == tmp_path / "cut" and "Traceback" not in cut.stderr
    assert json.loads((cut.run / "run.json").read_text())["status"] == "interrupted"
    resumed = python("train.py", "resume=cut", "hardware=cpu", cwd=tmp_path)  # its own settings, whatever it was started with
    assert resumed.code == 0 and resumed.run == cut.run, resumed.stderr[-3000:]
    name = "student/model.safetensors"
    assert (cut.run / name).read_bytes() == (whole.run / name).read_bytes()
    for expected, row in zip(rows_of(whole.run / "metrics.jsonl"), rows_of(cut.run / "metrics.jsonl"), strict=True):
        assert {k: v for k, v in row.items() if not k.endswith("_s")} == {k: v for k, v in expected.items() if not k.endswith("_s")}


STEADY = ("train.lr_scheduler_type=constant", "train.lr_scheduler_kwargs=null", "train.warmup_steps=0")


@pytest.mark.parametrize(
    "kind",
    [
        ("loss.beta={from:0,to:0.9,steps:7}",),
        ("evaluation.keep=best", "evaluation.every_steps=1"),
        ("model.lora.enabled=true", "train.optim=adamw_torch"),
    ],
)
def test_an_extended_run_has_the_bits_of_a_long_one(kind, tmp_path):
    """4 steps, then 6, then 8, against 8 at once: weights, rows and counts; the runs that were extended may be gone."""
    settings = (*SMALL, *STEADY, *kind)
    whole = python("train.py", *settings, "train.max_steps=8", "output_dir=whole", cwd=tmp_path)
    assert whole.code == 0, whole.stderr[-3000:]
    python("train.py", *settings, "train.max_steps=4", "train.save_steps=4", "output_dir=4", cwd=tmp_path)
    for steps, shorter in ((6, 4), (8, 6)):
        done = python("train.py", f"extend={shorter}", f"train.max_steps={steps}", f"output_dir={steps}", cwd=tmp_path)
        assert done.code == 0 and "depends on the number of steps" not in done.stderr, done.stderr[-3000:]
        assert json.loads((done.run / "run.json").read_text())["extends"] == {"run": str(tmp_path / str(shorter)), "step": shorter}
        shutil.rmtree(tmp_path / str(shorter))
    name = "student/model.safetensors"
    assert (done.run / name).read_bytes() == (whole.run / name).read_bytes()
    summaries = [json.loads((run / "summary.json").read_text()) for run in (done.run, whole.run)]
    assert [summary.pop("steps") for summary in summaries] == [8, 8]
    assert len({json.dumps(summary["after"]) for summary in summaries}) == 1
    for expected, row in zip(rows_of(whole.run / "metrics.jsonl"), rows_of(done.run / "metrics.jsonl"), strict=True):
        assert {k: v for k, v in row.items() if not k.endswith("_s")} == {k: v for k, v in expected.items() if not k.endswith("_s")}


def test_a_schedule_that_depends_on_the_length_is_that_of_the_longer_run(tmp_path):
    """The first step that is added has the rate of the long schedule, not the last one of the short: 0 here."""
    linear = ("train.lr_scheduler_type=linear", "train.lr_scheduler_kwargs=null", "train.warmup_steps=0")
    python("train.py", *SMALL, *linear, "train.max_steps=2", "train.save_steps=2", "output_dir=short", cwd=tmp_path)
    done = python("train.py", "extend=short", "train.max_steps=4", "output_dir=long", cwd=tmp_path)
    assert done.code == 0 and "depends on the number of steps" in done.stderr, done.stderr[-3000:]
    rates = [row["train/learning_rate"] for row in rows_of(done.run / "metrics.jsonl")]
    assert [rate / rates[0] for rate in rates] == pytest.approx([1, 0.5, 0.5, 0.25])


def test_a_file_of_bare_requests_can_be_asked(tmp_path):
    """data/'s evaluation requests are no conversations; evaluate.py asks them all the same, each under every tag."""
    requests = "data/evaluation_prompts.jsonl"
    model = "gold_style/pairs/tiny/student"
    done = python("evaluate.py", f"target={model}", "prompts=jsonl", f"prompts.path={requests}", "prompts.eval_samples=3", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    rows = rows_of(done.run / "samples.jsonl")
    assert len(rows) == 3 * 4 and {row["style"] for row in rows} == {"chosun", "none", None, "chosnu"}


def test_a_row_past_those_checked_before_training_is_refused_in_its_turn(tmp_path, monkeypatch):
    """Nothing is cut, however large the data set: here none is looked at before training, and one answer is too long."""
    monkeypatch.setattr("gold_style.job.inputs.MAX_CHECKED_ROWS", 0)
    rows = [prompt_settings.row(f"<style:none> {n}번 요청이오.", "가" * (90 if n == 5 else 3)) for n in range(8)]
    data = prompt_settings.write(tmp_path / "data.jsonl", rows)
    settings = Settings.compose(
        "prompts=jsonl",
        f"prompts.path={data}",
        "prompts.eval_samples=0",
        "prompts.selection_samples=0",
        "loss.lmbda=0",
        "loss=jsd",
        "train.max_completion_length=60",
        "train.per_device_train_batch_size=1",
        "train.gradient_accumulation_steps=2",
        "tracker=none",
    )
    inputs = Inputs.load(settings)
    row_maker = build_row_maker(settings, inputs, load_student(settings))
    at_fault = next(n for n in range(8) if len(inputs.source[n].reference) == 90) // 2
    for step in range(4):
        if step != at_fault:
            assert all(0 < len(made.completion) <= 60 for made in row_maker.make(step, Accelerator(cpu=True), None))
    with pytest.raises(ValueError, match=r"data\.jsonl:6: the answer has \d+ tokens, train\.max_completion_length is 60"):
        row_maker.make(at_fault, Accelerator(cpu=True), None)
