"""The command line: all that is wrong in one message, exit code 2, soon, without torch; what is right goes through."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold_style.config.check.command_line import SPEAKS_FIRST_S, check, checked_arguments
from gold_style.config.check.launch import asked_processes
from gold_style.config.check.overrides import quoted_forms, read_arguments
from gold_style.config.gold_config import gold_config_fields
from gold_style.config.mirror import keys_of
from gold_style.config.settings import PROJECT, Settings, SettingsError
from gold_style.runs.run_directory import write_config

PAIR = "model=qwen3b_to_1p5b"
SCRIPT = """
import sys
from gold_style.config.check.command_line import hydra_main

@hydra_main({config!r})
def main(cfg):
    from gold_style.config.settings import SETTINGS_CLASS
    settings = SETTINGS_CLASS.from_config(cfg)
    print("torch" in sys.modules, settings.output_dir, {expression})
    {statement}

if __name__ == "__main__":
    main()
"""


def script_at(directory: Path, expression: str = "''", statement: str = "pass", config: str = "config") -> Path:
    """A train.py that prints instead of training."""
    path = directory / "train.py"
    text = SCRIPT.format(config=config, expression=expression, statement=statement)
    path.write_text(text.replace("SETTINGS_CLASS", "Settings" if config == "config" else "EvaluateSettings"))
    return path


def run(command: list[str], directory: Path, **environment: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120)


def faults(*arguments: str, config: str = "config") -> dict[str, str]:
    """What is wrong with a command line: KEY or KEY=VALUE -> reason."""
    with pytest.raises(SettingsError) as caught:
        check([*([PAIR] if config == "config" else []), *arguments], config)
    found: dict[str, str] = {}
    for mistake in caught.value.mistakes:
        name = mistake.key if mistake.value is None else f"{mistake.key}={mistake.value}"
        found[name] = "; ".join(filter(None, [found.get(name), mistake.reason]))
    return found


def test_everything_wrong_is_reported_at_once(tmp_path):
    occupied = tmp_path / "run"
    occupied.mkdir()
    (occupied / "summary.json").write_text("{}")
    found = faults(
        "loss.betta=1",
        "+loss.betta=2",
        "++los.beta=0.5",
        "loss=jds",
        "train.max_step=4",
        "seed=-1",
        "loss.lmbda=0.5",
        "loss.beta=2",
        "~loss",
        "~seed",
        "+evaluation.keep=last",
        "objective=after.margn",
        f"output_dir={occupied}",
        "foo",
        "--gamma=1",
    )
    assert set(found) == {
        "loss.betta=1",
        "+loss.betta=2",
        "++los.beta=0.5",
        "loss=jds",
        "train.max_step=4",
        "seed=-1",
        "loss.lmbda=0.5",
        "loss.beta=2",
        "~loss",
        "~seed",
        "+evaluation.keep=last",
        "objective=after.margn",
        f"output_dir={occupied}",
        "foo",
        "--gamma=1",
    }
    for key in ("loss.betta=1", "+loss.betta=2", "++los.beta=0.5"):
        assert "did you mean loss.beta?" in found[key]
    assert "did you mean jsd?" in found["loss=jds"]
    assert "did you mean train.max_steps?" in found["train.max_step=4"]


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("los=jsd", "did you mean loss"),
        ("+experiment=origin", "without the plus"),
        ("+experiment=orgin", "did you mean origin"),
        ("experiment=smok", "did you mean smoke"),
        ("hardware=gpu", "single_gpu"),
        ("tracker=wandB", "did you mean wandb"),
        ("beta=0.3", "did you mean loss.beta"),
        ("max_steps=5", "did you mean train.max_steps"),
        ("train.beta=0.3", "loss.beta"),
        ("train.output_dir=x", "output_dir"),
        ("train.report_to=wandb", "tracker"),
        ("train.eval_steps=5", "evaluation.every_steps"),
        ("train.vllm_server_port=1", "hardware.vllm_server"),
        ("hydra.run.dir=x", "output_dir"),
        ("loss.beta=0,1", "add -m"),
        ("train.num_generation=2", "train.num_generations"),
        ("+train.save_stepz=2", "train.save_steps"),
        ("model.recipe.bta=1", "model.recipe.beta"),
        ("styles.styles.chosn.rule=x", "did you mean styles.styles.chosun.rule"),
        ("train.lr_scheduler_kwargs.num_cycles=2", "write a plus"),
        ("loss.beta=", "a number"),
        ("prompts.path=없다.jsonl", "prompts=jsonl"),
        ("tracker.tags={a:1}", "ListConfig"),
        ("train=abc", "a mapping"),
        ("styles.styles.chosun=abc", "a mapping"),
        ("styles.styles.chosun.verdict=zebra", "'zebra' is not one of joseon, modern"),
        ("styles.styles.chosun.levels.up=[하소사체]", "did you mean 하소서체"),
        ("styles.classifier.name=speach_level", "did you mean speech_level"),
        ("styles.classifier.backend=rule", "did you mean rules"),
        ("styles.styles.chosun.few_shots=abc", "styles"),
        (f"output_dir={'x' * 300}", "File name too long"),
        (f"prompts.path={'x' * 300}", "File name too long"),
        ("output_dir='a\0b'", "NUL"),
        ("train.optim_args='${'", "train.optim_args"),
        ("model.recipe.warm_start_steps=조선", "a whole number"),
        ("model.recipe.warm_start_steps='${nope}'", "nope"),
        ("tracker.run_name=오늘은 ${style} 이다", r"to mean the characters themselves, write \${ for ${"),
        ("prompts.teacher_system_prompt='오늘은 ${style} 이다'", "Interpolation key 'style' not found; to mean the characters"),
        ("model=Qwen/Qwen2.5-3B", "write model.teacher=Qwen/Qwen2.5-3B model.student=Qwen/Qwen2.5-3B"),
        ("model=tinny", "did you mean tiny?"),
        ("prompts=my.jsonl", "write prompts=jsonl prompts.path=my.jsonl"),
        ("prompts=user/rows", "prompts=hf prompts.name=user/rows"),
        ("lr=1e-5", "did you mean train.learning_rate?"),
        ("batch_size=4", "did you mean train.per_device_train_batch_size?"),
        ("prompts.style_column=style", "is read only by prompts=jsonl and prompts=hf"),
    ],
)
def test_a_wrong_argument_is_answered_with_the_right_one(argument, hint):
    found = faults(argument)
    assert any(hint in f"{key}: {reason}" for key, reason in found.items()), found


@pytest.mark.parametrize(
    ("flag", "override"),
    [
        (["--beta", "0.3"], "loss.beta=0.3"),
        (["--beta=0.3"], "loss.beta=0.3"),
        (["--learning-rate", "1e-5"], "train.learning_rate=1e-5"),
        (["--prompt-source", "dynamic"], "prompts=dynamic"),
        (["--report-to", "tensorboard"], "tracker=tensorboard"),
        (["--dry-run"], "dry_run=VALUE"),
        (["--lr", "1e-5"], "train.learning_rate=1e-5"),
        (["--epochs", "3"], "train.max_steps=-1 train.num_train_epochs=3"),
        (["--batch-size", "8"], "train.per_device_train_batch_size=8"),
        (["--output_dir", "x"], "output_dir=x"),
        (["--max_steps", "-1"], "train.max_steps=-1"),
        (["--seed", "1"], "seed=1"),
        (["--model_name_or_path", "Qwen/Qwen2.5-1.5B"], "model.student=Qwen/Qwen2.5-1.5B"),
    ],
)
def test_a_flag_is_answered_with_the_override_to_write(flag, override):
    found = faults(*flag)
    assert len(found) == 1
    assert f"write {override}" in next(iter(found.values()))


@pytest.mark.parametrize(
    ("flag", "advice"),
    [
        (["--hlep"], "did you mean --help?"),
        (["-help"], "did you mean --help?"),
        (["--multi-run"], "did you mean --multirun?"),
        (["--bf16"], "use model.dtype=bfloat16"),
        (["--use_uld_loss", "true"], "use loss=uld or loss=jsd"),
    ],
)
def test_a_flag_is_answered_with_another_flag_or_option(flag, advice):
    assert list(faults(*flag).values()) == [f"no such flag; {advice}"]


@pytest.mark.parametrize("text", ["오늘은 ${style} 이다", "${", "a ${oc.env:HOME}", '"안녕", "잘 가"', '"안녕', "'a' 'b'", "#1: {x, [y"])
def test_free_text_is_taken_as_typed(text):
    arguments = check([PAIR, f"prompts.teacher_system_prompt={text}"], "config")[0]
    assert Settings.compose(*arguments).prompts.teacher_system_prompt == text


def test_what_is_advised_for_a_text_that_looks_like_a_setting_works():
    for typed in ("오늘은 \\${style} 이다", "'오늘은 \\${style} 이다'"):
        arguments = check([PAIR, f"tracker.run_name={typed}"], "config")[0]
        assert Settings.compose(*arguments).tracker.run_name == "오늘은 ${style} 이다"


def test_rows_are_named_by_the_option_that_reads_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a long value would be shortened in the message
    for name in ("rows.parquet", "rows.txt"):
        (tmp_path / name).touch()
    (tmp_path / "rows").mkdir()
    found = faults("prompts=hf", "prompts.name=rows.parquet")
    assert found == {"prompts.name=rows.parquet": "is a file; write prompts=jsonl prompts.path=rows.parquet"}
    assert check([PAIR, "prompts=jsonl", "prompts.path=rows.parquet"], "config")
    assert "must end in .jsonl, .ndjson, .json, .csv" in faults("prompts=hf", "prompts.name=rows.txt")["prompts.name=rows.txt"]
    found = faults("prompts=jsonl", "prompts.path=rows")
    assert found["prompts.path=rows"] == "is a directory, not a file; of a directory write prompts=hf prompts.name=rows"


def test_each_value_of_a_sweep_is_checked():
    found = faults("-m", "loss.beta=0,0.3,2", "seed=range(-1,2)", "loss=jsd,jds", "loss.lmbda=choice(1,0.5)")
    assert {"loss.beta=2", "seed=-1", "loss.lmbda=0.5", "loss=jsd,jds"} == set(found)


def test_each_value_of_a_sweep_too_large_to_check_job_by_job_is_checked_once():
    found = faults("-m", "seed=range(0,40)", "loss.beta=0,0.1,0.2,0.3,2", "loss.top_p=interval(0.5,1.5)")
    assert set(found) == {"loss.beta=2", "loss.top_p=1.5"}


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("seed=range(0,100000)", "100000 values"),
        ("seed=range(0,1,0)", "step"),
        ("seed=range(1,1)", "no value"),
        ("loss=glob(z*)", "no value"),
        ("loss.beta=interval(1,0)", "from a lower to a higher"),
        ("loss.beta=tag(log, interval(0, 1))", "begins above 0"),
    ],
)
def test_sweeps_over_nothing_or_too_much_are_refused(argument, hint):
    found = faults("-m", argument)
    assert list(found) == [argument]
    assert hint in found[argument]


KEYS = [*keys_of(Settings), *(f"train.{name}" for name in gold_config_fields()), "hydra.verbose", "a..b", "x@y", ""]
VALUES = ["1", "-1", "null", "", "조선", "[1,2]", "[", "{a:1}", "a,b", "range(0,9)", "interval(0,2)", "glob(*)", "${loss.beta}"]
VALUES += ["${nope}", "${", "1e999", "nan", "'x", "a=b", "???", "jsd", "\\", "choice()", "[[[]]]", "x" * 300]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.builds("{}{}={}".format, st.sampled_from(["", "", "+", "++", "~"]), st.sampled_from(KEYS), st.sampled_from(VALUES)),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_every_command_line_is_accepted_or_answered(arguments, is_sweep):
    try:
        check([PAIR, *arguments, *(["-m"] if is_sweep else [])], "config")
    except SettingsError as error:
        assert error.mistakes
        assert all(mistake.reason for mistake in error.mistakes)


def test_right_arguments_go_through_unchanged():
    arguments = ["loss.beta=0,1", "seed=range(0,2)", "loss=glob(u*)", "tracker.tags=[a,b]"]
    ready, remarks = check(["-m", PAIR, *arguments], "config")
    assert ready == [PAIR, *arguments, "-m"]
    assert remarks == []


@pytest.mark.parametrize("arguments", [["--help"], ["--info", "defaults"], ["--version"], ["--hydra-help"], ["-h"]])
def test_flags_that_only_show_are_hydras_business(arguments):
    assert check([*arguments, "loss.betta=1"], "config")[0] == [*arguments, "loss.betta=1"]


def test_showing_the_config_looks_at_no_files(tmp_path):
    (tmp_path / "file").write_text("")
    arguments = [PAIR, f"output_dir={tmp_path}", "--cfg", "job"]
    assert check(arguments, "config")[0] == arguments
    assert "loss.beta=3" in faults("--cfg", "job", "loss.beta=3")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ('prompts.teacher_system_prompt=조선 말투로, "삼가" 쓰라. {a: [b]}', '조선 말투로, "삼가" 쓰라. {a: [b]}'),
        ("prompts.teacher_system_prompt=a, b", "a, b"),
        ("prompts.teacher_system_prompt=123", "123"),
        ("prompts.teacher_system_prompt=null", None),
        ("prompts.teacher_system_prompt='이미 따옴표'", "이미 따옴표"),
        ("prompts.teacher_system_prompt=C:\\새 폴더\\", "C:\\새 폴더\\"),
        ("tracker.run_name=조선", "조선"),
        ("tracker.run_name=a=b", "a=b"),
        ("tracker.run_name=it's", "it's"),
        ("tracker.tags=[조선, 현대 말]", ["조선", "현대 말"]),
        ("train.lr_scheduler_kwargs={name:말, num_cycles:2}", {"name": "말", "num_cycles": 2}),
    ],
)
def test_korean_and_awkward_values_arrive_as_typed(argument, value):
    line = read_arguments([argument])
    assert line.mistakes == []
    assert line.overrides[0].value() == value


def test_korean_values_of_a_sweep_are_values_of_their_own():
    line = read_arguments(["-m", "tracker.run_name=조선,현대"])
    assert [text.strip('"') for text in line.overrides[0].sweep_string_iterator()] == ["조선", "현대"]
    assert list(quoted_forms("a=1", False))[0] == "a=1"


def test_resume_and_reproduce_have_their_own_places(tmp_path):
    write_config(tmp_path, Settings.compose(PAIR).to_dict())
    run_directory = str(tmp_path)
    check([PAIR, f"resume={run_directory}"], "config")
    check([PAIR, f"resume={run_directory}", f"output_dir={run_directory}"], "config")
    check([PAIR, "resume=auto", f"output_dir={run_directory}"], "config")
    check([f"reproduce={run_directory}", "dry_run=true"], "config")
    assert list(faults(f"resume={run_directory}", f"output_dir={run_directory}/new")) == [f"output_dir={run_directory}/new"]
    assert "resume=auto" in faults("-m", "seed=0,1", f"resume={run_directory}")[f"resume={run_directory}"]
    found = faults(f"reproduce={run_directory}", "loss.beta=0.5", f"output_dir={run_directory}/new")
    assert set(found) == {"loss.beta=0.5"}
    assert list(faults("resume=nowhere")) == ["resume=nowhere"]


def test_a_run_keeps_its_own_numbers(tmp_path):
    """What would change them is refused one by one, with the run's value; what is equal, or enters no number, goes through."""
    write_config(tmp_path, Settings.compose(PAIR, "loss=jsd", "loss.beta=0.5", "train.max_steps=4", "seed=3").to_dict())
    for key in ("resume", "extend", "reproduce"):
        run = f"{key}={tmp_path}"
        place = [] if key == "resume" else [f"output_dir={tmp_path}/new"]
        check([run, *place, "loss.beta=0.5", "loss=jsd", "seed=3", "train.save_steps=2", "dry_run=true"], "config")
        found = faults(run, *place, "loss.beta=0.3", "loss=uld_hybrid", "seed=0", "train.logging_steps=2", "styles=village")
        assert set(found) == {"loss.beta=0.3", "loss=uld_hybrid", "seed=0", "styles=village"}  # defaults, too, where they were typed
        assert "where it is 0.5" in found["loss.beta=0.3"] and "where loss.kind is jsd" in found["loss=uld_hybrid"]
    assert set(faults(f"resume={tmp_path}", "experiment=smoke")) >= {"train.max_steps=3"}  # what an option brings along
    assert set(faults(f"resume={tmp_path}", "train.max_steps=8")) == {"train.max_steps=8"}
    check([f"extend={tmp_path}", f"output_dir={tmp_path}/new", "train.max_steps=8"], "config")
    assert "with resume=" in faults(f"extend={tmp_path}", f"resume={tmp_path}", "dry_run=true")[f"extend={tmp_path}"]
    (tmp_path / "config.yaml").write_text("seed: {")
    assert list(faults(f"resume={tmp_path}")) == [f"resume={tmp_path}"]


def test_a_longer_run_says_what_its_schedule_depends_on(tmp_path):
    for schedule, depends in (("linear", True), ("constant", False), ("inverse_sqrt", False)):
        write_config(tmp_path, Settings.compose(PAIR, f"train.lr_scheduler_type={schedule}").to_dict())
        _, remarks = check([f"extend={tmp_path}", f"output_dir={tmp_path}/new", "train.max_steps=200"], "config")
        assert [remark for remark in remarks if "train.max_steps=200" in remark and schedule in remark] == remarks
        assert bool(remarks) == depends


def test_further_config_directories_are_looked_through(tmp_path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "own.yaml").write_text("kind: jsd\nlmbda: 2\n")
    assert set(faults("--config-dir", str(tmp_path), "loss=own")) == {"loss.lmbda=2"}
    assert "no such directory" in next(iter(faults("--config-dir", str(tmp_path / "none")).values()))


def test_misspelt_keys_in_files_are_found(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text("# @package _global_\nloss: {betta: 1}\nevalution: {keep: best}\n")
    found = faults("--config-dir", str(tmp_path), "experiment=own")
    assert "did you mean loss.beta?" in found["loss.betta=1"]
    assert any(key.startswith("evalution") and "did you mean evaluation" in reason for key, reason in found.items())


def test_evaluate_has_its_own_keys(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    arguments = [f"target={tmp_path}", "request=봄 축제를 알려 줘, 응?", "hardware=cpu"]
    assert check(arguments, "evaluate")[0][1] == 'request="봄 축제를 알려 줘, 응?"'
    assert "must be given" in faults(config="evaluate")["target"]
    assert "unknown key" in faults(f"target={tmp_path}", "loss.beta=1", config="evaluate")["loss.beta=1"]
    assert "must not be empty" in faults(f"target={tmp_path}", "request=' '", config="evaluate")["request= "]
    assert "prompts=jsonl" in faults(f"target={tmp_path}", "prompts.path=a.jsonl", config="evaluate")["prompts.path=a.jsonl"]
    assert "no such directory" in faults("target=./none", config="evaluate")["target=./none"]
    assert "add -m" in faults(f"target={tmp_path}", "seed=1,2", config="evaluate")["seed=1,2"]


def test_evaluate_scores_one_target_that_needs_no_key(tmp_path):
    (tmp_path / "lr=1").mkdir()
    (tmp_path / "lr=1" / "config.yaml").write_text("seed: 0\n")
    for target in (str(tmp_path / "lr=1"), "Qwen/Qwen2.5-1.5B-Instruct"):
        assert check([target, "tags=[chosun,null]", "request=봄"], "evaluate")[0][0] in (f"target={target}", f'target="{target}"')
    assert check(["--cfg", "job", "org/model"], "evaluate")[0] == ["target=org/model", "--cfg", "job"]
    for several in (["org/a", "org/b"], ["org/a", "target=org/b"], ["target=org/a,org/b"], ["target=[org/a,org/b]"], ["org/a", "-m"]):
        assert "python -m gold_style.compare" in faults(*several, config="evaluate")["target"]
    found = faults("org/a", "loss=jsd", "train.max_steps=3", "model=tiny", "resume=x", "evaluation.sampld=true", config="evaluate")
    assert set(found) == {"loss=jsd", "train.max_steps=3", "model=tiny", "resume=x", "evaluation.sampld=true"}
    assert all("evaluate.py has target, request, tags" in found[key] for key in ("loss=jsd", "train.max_steps=3", "model=tiny", "resume=x"))
    assert (
        "without scores" in faults("org/a", "request=봄", "prompts=jsonl", "prompts.path=conf/config.yaml", config="evaluate")["request=봄"]
    )


def test_the_answer_to_a_wrong_command_comes_quickly_with_code_2_and_no_torch(tmp_path):
    script = script_at(tmp_path)
    started = time.monotonic()
    result = run([sys.executable, str(script), PAIR, "loss.betta=1", "model.dtype=bf16"], tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[0] == "train.py: nothing was started, because of 2 settings:"
    assert time.monotonic() - started < 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.py"]


def test_a_right_command_runs_in_its_own_directory_without_torch_or_litter(tmp_path):
    script = script_at(tmp_path, "settings.prompts.teacher_system_prompt")
    result = run([sys.executable, str(script), PAIR, "output_dir=실행", "prompts.teacher_system_prompt=옛말, 로"], tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == f"False {tmp_path / '실행'} 옛말, 로"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.py"]


@pytest.mark.slow
def test_jobs_of_a_sweep_have_numbered_directories(tmp_path):
    script = script_at(tmp_path, "settings.seed, settings.tracker.run_name")
    command = [sys.executable, str(script), PAIR, "-m", "seed=3,4", "output_dir=sweep", "tracker.run_name=가,나"]
    result = run(command, tmp_path)
    assert result.returncode == 0, result.stderr
    jobs = [(0, 3, "가"), (1, 3, "나"), (2, 4, "가"), (3, 4, "나")]
    assert result.stdout.splitlines() == [f"False {tmp_path / 'sweep' / str(n)} {seed} {name}" for n, seed, name in jobs]


@pytest.mark.slow
def test_runs_and_sweeps_without_a_directory_get_one_by_the_clock(tmp_path):
    script = script_at(tmp_path)
    single = run([sys.executable, str(script), PAIR], tmp_path).stdout.split()[1]
    sweep = [line.split()[1] for line in run([sys.executable, str(script), PAIR, "-m", "seed=0,1"], tmp_path).stdout.splitlines()]
    parts = Path(single).relative_to(tmp_path).parts
    assert parts[0] == "multirun" and parts[-1] == "0" and len(parts) == 4 and len(parts[2]) == len("15-04-05-123456")
    assert Path(sweep[0]).parent == Path(sweep[1]).parent != Path(single).parent
    assert [Path(path).name for path in sweep] == ["0", "1"]


@pytest.mark.slow
def test_mistakes_found_later_end_with_code_2_and_defects_with_a_traceback(tmp_path):
    ours = "from gold_style.styles import StylePack; StylePack.from_settings({})"
    result = run([sys.executable, str(script_at(tmp_path, statement=ours)), PAIR], tmp_path)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)
    assert result.stderr.startswith("train.py: styles.styles: ")
    theirs = "import json; json.loads('[')"
    result = run([sys.executable, str(script_at(tmp_path, statement=theirs)), PAIR], tmp_path)
    assert result.returncode == 1
    assert "JSONDecodeError" in result.stderr


def test_help_lists_groups_and_options(tmp_path):
    result = run([sys.executable, str(script_at(tmp_path)), "--help"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "loss: contrast, jsd, no_teacher, seq_kd, topk_tail, tree, uld, uld_hybrid" in result.stdout
    assert "--cfg job" in result.stdout
    assert len(result.stdout.splitlines()) < 40
    result = run([sys.executable, str(script_at(tmp_path, config="evaluate")), "--help"], tmp_path)
    for words in ("TARGET", "request=", "tags=[chosun,none,null]", "prompts=jsonl prompts.path=", "evaluation.sampled=true", "output_dir="):
        assert words in result.stdout
    assert "loss" not in result.stdout and "-m KEY" not in result.stdout


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("python accelerate launch --num_processes 2 train.py seed=1", 2),
        ("python accelerate launch --num_processes=4 --cpu train.py", 4),
        ("python accelerate launch --multi_gpu --num-processes 3 -m train --num_processes 9", 3),
        ("python torchrun --nproc_per_node 2 train.py", 2),
        ("python torchrun --nproc-per-node=2 --nnodes 3 train.py", 6),
        ("python -m torch.distributed.run --nproc_per_node=5 train.py", 5),
        ("python torchrun --nproc_per_node gpu train.py", None),
        ("python torchrun --nproc_per_node 2 --nnodes 1:4 train.py", None),
        ("python torchrun train.py --nproc_per_node 2", None),
    ],
)
def test_what_a_launcher_was_asked_for_is_read_from_its_command(command, asked, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = asked_processes(command.split(), "train" if "-m train" in command else "train.py")
    assert (found and found[0]) == asked


def test_what_a_launcher_was_asked_for_may_stand_in_its_file(monkeypatch, tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text("num_processes: 2\n")
    assert asked_processes(["python", "accelerate", "launch", "--config_file", str(file), "train.py"], "train.py")[0] == 2
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert asked_processes(["python", "accelerate", "launch", "train.py"], "train.py") is None
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text("num_processes: 8\n")
    assert asked_processes(["python", "accelerate", "launch", "train.py"], "train.py")[0] == 8


def test_hardware_that_needs_a_launcher_says_how():
    assert "accelerate launch --config_file accelerate_configs/fsdp.yaml" in faults("hardware=fsdp")["launch"]
    assert "hardware.num_processes=2" in faults("hardware.num_processes=2")["launch"]
    check([PAIR, "hardware=fsdp", "dry_run=true"], "config")


def test_a_launch_with_deepspeed_is_refused(monkeypatch):
    """accelerate would not shard on a CPU, and on GPUs nobody has tried."""
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert "take accelerate_configs/fsdp.yaml and hardware=fsdp" in faults()["launch"]


@pytest.mark.slow
def test_a_launch_that_lost_a_process_is_refused(tmp_path):
    """accelerate on a machine without a GPU starts one process where two were asked for."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu", str(script_at(tmp_path))]
    result = run([*command, PAIR, "hardware=cpu"], tmp_path, CUDA_VISIBLE_DEVICES="")
    assert result.returncode != 0
    assert result.stdout == ""
    assert "the launcher was asked for 2 processes (--num_processes 2) and started 1" in result.stderr


@pytest.mark.slow
def test_all_processes_of_a_launch_share_one_directory(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(script_at(tmp_path))]
    result = run([*command, PAIR, "hardware=cpu", "hardware.num_processes=2"], tmp_path, CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 0, result.stderr
    directories = [line.split()[1] for line in result.stdout.splitlines()]
    assert len(directories) == 2 and len(set(directories)) == 1


@pytest.mark.slow
def test_one_process_of_a_launch_speaks_for_all(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(script_at(tmp_path))]
    result = run([*command, PAIR, "hardware=cpu", "loss.betta=1"], tmp_path, CUDA_VISIBLE_DEVICES="")
    assert result.returncode != 0
    assert result.stderr.count("train.py: nothing was started") == 1


def test_a_process_that_is_not_the_first_speaks_last(tmp_path, monkeypatch, capsys):
    """The launcher ends all processes as soon as one has failed: who is silent must not be the first to end."""
    monkeypatch.setenv("RANK", "1")
    said_after_s = []
    monkeypatch.setattr("time.sleep", said_after_s.append)
    with pytest.raises(SystemExit) as ended:
        checked_arguments([PAIR, "loss.betta=1"], "config")
    assert ended.value.code == 2
    assert said_after_s == [SPEAKS_FIRST_S]
    assert "did you mean loss.beta?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("prompts=null", "leave it out, or choose one of dynamic"),
        ("experiment=null", "null is no option of experiment"),
        ("한글=3", "unknown key"),
        ("loss..beta=0.5", "did you mean loss.beta?"),
        ("objective=after.rates", "after.rates.TAG.VERDICT"),
        ("loss.uld_distillation_weight=0.0", "nothing to minimise"),
        ("seed=99999999999999999999999", "between 0 and 4294967295"),
        ("hardware.threads=1000000000", "between 1 and 4096"),
        ("evaluation.bootstrap_samples=100000000000", "between 1 and 1000000"),
        ("prompts.path=", "must be a file that ends in"),
        ("prompts.path=~nobody-here/a.jsonl", "no such file"),
        ("cache.dir=/dev/null", "not a directory"),
    ],
)
def test_what_would_fail_late_is_refused_early(argument, hint):
    assert hint in faults(argument)[argument]


def test_a_search_needs_something_to_draw():
    assert "nothing to draw" in faults("-m", "sweep.search.trials=3", "hydra/sweeper=gold_style_search")["sweep.search"]


def test_a_config_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "broken.yaml").write_text("a: [1\n")
    assert "broken.yaml" in faults("--config-dir", str(tmp_path), "styles=broken")["conf"]
    (tmp_path / "styles" / "bytes.yaml").write_bytes(b"\xff\xfe")
    assert faults("--config-dir", str(tmp_path), "styles=bytes")["conf"] == f"{tmp_path / 'styles' / 'bytes.yaml'} is not UTF-8"


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "http://[::1", "http://h:99999", "http://h:x", "http://", "http://u:p@h:1"])
def test_a_server_that_has_no_address_is_refused(address):
    found = faults("hardware=vllm_server", f"hardware.vllm_server='{address}'")
    assert "must be an address such as http://127.0.0.1:8000" in found[f"hardware.vllm_server={address}"]
