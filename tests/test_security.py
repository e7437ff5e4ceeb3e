"""Nobody gets in: no code from models, configs, checkpoints or data runs; nothing listens beyond loopback; student/ is plain files."""

import ast
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from gold_style.config.check.command_line import check
from gold_style.config.settings import PROJECT, Settings, SettingsError
from gold_style.engine.models import load_model
from gold_style.engine.teacher import Teacher
from gold_style.runs.checkpoints import seal_checkpoint
from tests.helpers import toy_runs, toys

SOURCES = sorted([*(PROJECT / "gold_style").rglob("*.py"), PROJECT / "train.py", PROJECT / "evaluate.py"])
FORBIDDEN = re.compile(
    r"(eval|exec|compile|__import__|os\.system|os\.popen|(c?[pP]ickle|dill|cloudpickle|joblib|marshal|shelve)\.\w+|"
    r"yaml\.(unsafe_)?load_all|yaml\.unsafe_load|yaml\.full_load|hydra\.utils\.(instantiate|call|get_\w+)|instantiate)"
)


class Opens:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def calls(source: Path) -> list[tuple[str, ast.Call]]:
    """(dotted name, call) of everything a module calls."""
    return [
        (ast.unparse(node.func), node) for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]


def keywords(call: ast.Call) -> dict[str, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nothing_is_evaluated_unpickled_or_opened_to_the_network(source):
    for name, call in calls(source):
        given, arguments = keywords(call), [ast.unparse(argument) for argument in call.args]
        assert not FORBIDDEN.fullmatch(name), f"{name} in line {call.lineno}"
        assert given.get("shell", "False") == "False", f"shell=True in line {call.lineno}"
        if name.endswith("torch.load"):
            assert given.get("weights_only") == "True", f"line {call.lineno}"
        if name == "yaml.load":
            assert any("Loader" in argument for argument in [*arguments[1:], *given.values()]), f"line {call.lineno}"
        if name.endswith("from_pretrained") and "AutoModel" in name:
            assert given.get("use_safetensors") == "True" or "gguf_file" in given, f"line {call.lineno}"  # neither holds code
        if name.endswith(("HTTPServer", "TCPServer")):
            assert "127.0.0.1" in arguments[0] or "host" in arguments[0], f"line {call.lineno}: bound to {arguments[0]}"
        assert "'0.0.0.0'" not in arguments, f"line {call.lineno}"


def test_the_yaml_loaders_in_use_are_safe_ones():
    loaders = {
        re.sub(r".*getattr\(yaml, ['\"](\w+)['\"].*", r"\1", line.strip())
        for source in SOURCES
        for line in source.read_text(encoding="utf-8").splitlines()
        if "Loader" in line and "yaml" in line and ("=" in line or "getattr" in line) and "yaml.load(" not in line
    }
    assert loaders and all("Safe" in loader for loader in loaders), loaders


def test_a_pickle_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    """transformers reads optimizer.pt with weights_only=True; ours asks for nothing else."""
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer), seed=1), tokenizer)
    training = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    toy_runs.train(tokenizer, teacher, tmp_path, lmbda=0.0, training=training)
    good, opened = tmp_path / "checkpoint-1", tmp_path / "opened"
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        bad = tmp_path / "aside" / "checkpoint-1"
        shutil.copytree(good, bad)
        (bad / name).write_bytes(pickle.dumps(Opens(opened)))
        sealed = tmp_path / "bad" / name / "checkpoint-1"
        sealed.parent.mkdir(parents=True)
        seal_checkpoint(bad, sealed)
        maker = toy_runs.row_maker(tokenizer, teacher, toys.prompts(8), lmbda=0.0, rows_per_window=4)
        trainer = toy_runs.trainer(toys.model(len(tokenizer)), maker, tmp_path / "again", **training)
        with pytest.raises(pickle.UnpicklingError, match="[Ww]eights.only"):
            trainer.train(resume_from_checkpoint=str(sealed))
        assert not opened.exists()


def test_weights_that_are_pickles_are_refused(tmp_path):
    opened = tmp_path / "opened"
    model = toys.model(300)
    model.config.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Opens(opened)))
    with pytest.raises(ValueError, match="safetensors"):
        load_model(str(tmp_path / "model"), torch.float32, None, Settings.compose().model)
    assert not opened.exists()


def test_code_that_comes_with_a_model_needs_a_switch_and_is_named(tmp_path):
    """A model that brings its own class: refused with the setting's name; with it on, the run says whose code it runs."""
    directory = tmp_path / "model"
    tokenizer = toys.byte_tokenizer()
    tokenizer.save_pretrained(directory)
    toys.model(len(tokenizer)).save_pretrained(directory)
    (directory / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'opened')!r})\nclass Own: pass\n")
    config = json.loads((directory / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}, "model_type": "its_own"}
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="model.trust_remote_code=true"):
        load_model(str(directory), torch.float32, None, Settings.compose().model)
    assert not (tmp_path / "opened").exists()
    _, remarks = check(["model.trust_remote_code=true", "model=tiny"], "config")
    assert any("model.trust_remote_code=true" in remark and "gold_style/pairs/tiny" in remark for remark in remarks)
    assert not any("trust_remote_code" in remark for remark in check(["model=tiny"], "config")[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "argument",
    [
        "+loss._target_=os.system",
        "++model={_target_:os.system}",
        "styles=../../conf/styles/joseon",
        "prompts.source=../../setup",
        "tracker.name=..",
        "loss.kind=os.system",
        "+hydra.job_logging._target_=os.system",
        "experiment=/etc/passwd",
        "+prompts._target_=subprocess.run",
        "prompts=../model/tiny",
    ],
)
def test_a_config_names_no_code_and_no_way_out(argument):
    with pytest.raises(SettingsError):
        check(["model=tiny", argument], "config")


def test_a_run_directory_from_elsewhere_runs_nothing(tmp_path):
    opened = tmp_path / "opened"
    (tmp_path / "config.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{opened}']\n")
    with pytest.raises(ValueError, match="cannot be read as the settings of a run"):
        Settings.load(tmp_path)
    bomb = "a: &a [x, x, x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(20))
    (tmp_path / "config.yaml").write_text(bomb)  # 9^20 words, were it unfolded
    with pytest.raises(ValueError, match="references"):
        Settings.load(tmp_path)
    assert not opened.exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "<script>", "a b", ".", "x" * 200, "\u202edrow"])
def test_tags_are_words(name):
    """Tags stand in file names of trackers, in html and in the models' text."""
    pack = yaml.safe_load((PROJECT / "conf/styles/joseon.yaml").read_text(encoding="utf-8"))
    mapping = json.loads(json.dumps(Settings.compose("model=tiny", "tracker=none").to_dict()))
    mapping["styles"]["styles"][name] = dict(pack["styles"]["chosun"])
    from gold_style.styles import StylePack

    with pytest.raises(ValueError, match="tag|name|styles"):
        StylePack.from_settings(Settings.from_dict(mapping).styles)


def test_the_saved_student_holds_plain_files_alone(tmp_path):
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer), seed=1), tokenizer)
    trained = toy_runs.train(tokenizer, teacher, tmp_path / "run", lmbda=0.0, training={"max_steps": 1})
    trained.student_copy.save(tmp_path / "student")
    assert {path.suffix for path in (tmp_path / "student").iterdir()} <= {".safetensors", ".json", ".jinja", ".md"}
    assert not list(tmp_path.rglob("training_args.bin"))
