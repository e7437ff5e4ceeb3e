"""conf/: every option and overlay composes, defaults are the origin's, precedence holds, every knob is explained."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from gold_style.config.check.command_line import check
from gold_style.config.check.overrides import ORIGIN_FLAGS, flag_key
from gold_style.config.check.rules import rule_mistakes, value_at
from gold_style.config.losses import DEFAULTS, LOSSES
from gold_style.config.mirror import MISSING, keys_of, nodes
from gold_style.config.settings import CONF, PROJECT, EvaluateSettings, Settings, compose_config

PAIR = "model=qwen3b_to_1p5b"
GROUPS = ("model", "prompts", "styles", "loss", "hardware", "teacher_backend", "tracker", "experiment", "sweep")
OPTIONS = [(path.parent.name, path.stem) for path in sorted(CONF.glob("*/*.yaml"))]
NEEDED = {"hf": ["prompts.name=user/dataset"], "seq_kd": [], "self": ["model.student=a/b"]}  # what an option cannot know by itself
NEEDED["openai"] = ["teacher_backend.address=http://127.0.0.1:8000/v1", "loss=topk_tail"]
ORIGIN_ROWS = re.findall(r"^\| `--([a-z-]+) (\S+)` \| `([^`]+)` \|", (PROJECT / "README.md").read_text(), re.M)


def compose(*overrides: str) -> Settings:
    return Settings.compose(*overrides)


def test_the_groups_are_the_promised_ones():
    assert {group for group, _ in OPTIONS} == set(GROUPS)


def test_the_promised_options_are_there():
    promised = {
        "model": "tiny tiny_cross_tokenizer smollm2 self qwen3b_to_1p5b qwen7b_to_1p5b llama8b_to_qwen1p5b",
        "prompts": "dynamic jsonl hf",
        "styles": "joseon village bard",
        "loss": "uld_hybrid uld jsd seq_kd tree",
        "hardware": "auto cpu single_gpu multi_gpu fsdp vllm_colocate vllm_server gpu_16gb gpu_24gb gpu_48gb gpu_80gb",
        "teacher_backend": "local ray openai",
        "tracker": "wandb tensorboard none",
        "experiment": "origin smoke",
    }
    for group, names in promised.items():
        assert set(names.split()) <= {option for own, option in OPTIONS if own == group}, group


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_into_settings_that_can_run(group, option):
    settings = compose(f"{group}={option}", *NEEDED.get(option, []))
    assert rule_mistakes(settings) == []
    if group in ("model", "styles", "hardware", "tracker"):
        assert value_at(settings, group).name == option


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "experiment"])
def test_every_overlay_says_its_purpose_its_cost_and_its_command(option):
    text = (CONF / "experiment" / f"{option}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n# Purpose: ")
    assert "\n# Expected: " in text
    assert f"\n#   python train.py experiment={option}" in text


def test_the_real_pair_composes_the_defaults_of_the_origin():
    settings = compose(PAIR, "prompts=dynamic")
    loss, train = settings.loss, settings.train
    assert (settings.model.teacher, settings.model.student) == ("Qwen/Qwen2.5-3B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct")
    assert (loss.beta, loss.lmbda, loss.seq_kd, loss.kind) == (0.3, 1.0, False, "uld_hybrid")
    assert (loss.temperature, loss.top_p) == (1.0, 1.0)
    assert settings.prompts.chosun_probability == 0.6
    assert settings.model.dtype == "bfloat16"
    assert (train["per_device_train_batch_size"], train["gradient_accumulation_steps"]) == (1, 8)
    assert (train["learning_rate"], train["max_steps"], train["max_completion_length"]) == (1e-5, 100, 128)
    assert settings.prompts.student_system_prompt is None
    assert settings.model.lora.enabled is False


def test_the_origins_example_run():
    settings = compose("experiment=origin", "output_dir=runs/gold-style")
    assert (settings.loss.temperature, settings.loss.top_p) == (0.9, 0.95)
    assert (settings.tracker.name, settings.model.name, settings.prompts.source) == ("tensorboard", "qwen3b_to_1p5b", "dynamic")
    assert settings.output_dir == str(Path("runs/gold-style").absolute())
    plain = compose(PAIR, "tracker=tensorboard", "output_dir=runs/gold-style")
    plain.loss.temperature, plain.loss.top_p = 0.9, 0.95
    plain.train["save_steps"] = 100
    plain.prompts.untagged_share = 0.0
    assert settings == plain


@pytest.mark.parametrize("model", [option for group, option in OPTIONS if group == "model"])
def test_every_pair_samples_the_whole_distribution(model):
    loss = compose(f"model={model}", *NEEDED.get(model, [])).loss
    assert (loss.temperature, loss.top_p) == (1.0, 1.0)


def write_options(directory: Path) -> None:
    """A pair, a loss and an overlay that all say something about lmbda."""
    for group, name, text in (
        ("model", "own", "name: own\nteacher: a/b\nstudent: c/d\nrecipe: {lmbda: 0.4}\n"),
        ("loss", "own", "kind: uld_hybrid\nseq_kd: true\nlmbda: 0.3\n"),
        ("experiment", "own", "# @package _global_\nloss: {lmbda: 0.2}\n"),
        ("experiment", "chooses", "# @package _global_\ndefaults:\n  - override /model: own\n"),
    ):
        path = directory / group / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_precedence_is_command_line_experiment_option_pair_config(tmp_path):
    write_options(tmp_path)

    def lmbda(*overrides: str) -> float:
        return Settings.from_config(compose_config("config", [*overrides], searchpath=[tmp_path])).loss.lmbda

    assert lmbda(PAIR) == 1.0  # config.yaml
    assert lmbda("model=own") == 0.4  # the pair wins over config.yaml
    assert lmbda("model=own", "loss=own") == 0.3  # the option over the pair
    assert lmbda("model=own", "loss=own", "experiment=own") == 0.2  # the overlay over the option
    assert lmbda("model=own", "loss=own", "experiment=own", "loss.lmbda=0.1") == 0.1  # the command line over all
    assert lmbda("experiment=own", "loss=own", PAIR) == 0.2  # whatever the order of writing
    assert lmbda("experiment=chooses") == 0.4
    assert lmbda("experiment=chooses", PAIR) == 1.0


def card_keys(option: str) -> dict[str, object]:
    """What the option of a card says about model and train: dotted key -> value."""
    said = OmegaConf.load(CONF / "hardware" / f"{option}.yaml")
    return {
        key: value
        for section in ("model", "train")
        for key, value in nodes({section: OmegaConf.to_container(said[section])})
        if not isinstance(value, dict)
    }


@pytest.mark.parametrize("card", [option for _, option in OPTIONS if option.startswith("gpu_")])
@pytest.mark.parametrize("pair", [option for group, option in OPTIONS if group == "model"])
def test_a_card_wins_over_pair_and_recipe_and_the_command_line_over_the_card(pair, card):
    asked, plain = [f"model={pair}", *NEEDED.get(pair, [])], compose(f"model={pair}", *NEEDED.get(pair, []))
    settings, said = compose(*asked, f"hardware={card}"), card_keys(card)
    assert said["model.dtype"] == ("float16" if card == "gpu_16gb" else "bfloat16") and settings.hardware.name == card
    for key, value in said.items():
        expected = settings.model.recipe.lora_learning_rate if key == "train.learning_rate" else value
        assert value_at(settings, key) == expected, key
    assert (settings.model.teacher, settings.model.student) == (plain.model.teacher, plain.model.student)
    assert not [mistake for mistake in rule_mistakes(settings) if "package" not in mistake.reason]
    mine = compose(f"hardware={card}", "model.dtype=float32", "train.gradient_checkpointing=false", "model.lora.r=3", *asked)
    assert (mine.model.dtype, mine.train["gradient_checkpointing"], mine.model.lora.r) == ("float32", False, 3)


def test_an_overlay_wins_over_a_card():
    settings = compose("experiment=qwen_toggle", "hardware=gpu_16gb")
    assert settings.train["learning_rate"] == 5e-5 and settings.model.student_quantization == "int4"


def test_evaluate_reads_of_a_card_what_it_needs():
    settings = EvaluateSettings.compose("target=x", "hardware=gpu_16gb")
    assert (settings.model.dtype, settings.model.teacher_quantization, settings.hardware.name) == ("float16", "int8", "gpu_16gb")
    for key in ("train.learning_rate=1e-3", "model.lora.enabled=false"):
        with pytest.raises(ValueError, match="unknown key: one of train.py"):
            check(["x", "hardware=gpu_16gb", key], "evaluate")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.student_quantization=int4"], "add model.lora.enabled=true, or model.student_quantization=none"),
        (["model.student_quantization=int8", "model.lora.enabled=true", "hardware=fsdp"], "cannot be sharded; add model.student_quant"),
        (["model.teacher_quantization=int9"], "int8, int4"),
    ],
)
def test_a_quantisation_that_cannot_be_is_refused(overrides, said):
    with pytest.raises(ValueError, match=said):
        check([PAIR, *overrides], "config")


@pytest.mark.parametrize("key", ["model.teacher_quantization=int8", "train.optim=adamw_8bit", "train.optim=paged_adamw_8bit"])
def test_a_package_that_is_missing_is_said_before_anything_is_loaded(key, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("gold_style.config.check.rules.find_spec", lambda name: None if name == "bitsandbytes" else found(name))
    with pytest.raises(ValueError, match=f"{key}: needs the package bitsandbytes, which is not installed: pip install bitsandbytes"):
        check([PAIR, key], "config")


def test_a_pair_may_bring_its_loss_and_the_command_line_takes_it_back():
    assert compose("model=tiny_cross_tokenizer").loss.kind == "tree"
    assert compose("model=tiny_cross_tokenizer", "loss=uld").loss.kind == "uld"
    assert compose("model=tiny").loss.kind == "uld_hybrid"


def test_a_model_may_be_its_own_teacher_at_one_revision():
    model = compose("model=self", "model.student=a/b", "model.student_revision=v1").model
    assert (model.teacher, model.teacher_revision) == ("a/b", "v1")
    with pytest.raises(ValueError, match="model.student: must be given"):
        compose("model=self")


def test_a_misspelt_overlay_is_an_error():
    with pytest.raises(ValueError, match="did you mean origin"):
        check([PAIR, "experiment=orign"], "config")


@pytest.mark.parametrize(("name", "cls", "needed"), [("config", Settings, []), ("evaluate", EvaluateSettings, ["target=x"])])
def test_files_and_types_name_the_same_keys(name, cls, needed):
    overrides = [*needed, *(["styles=joseon"] if name == "evaluate" else [PAIR])]
    composed = compose_config(name, overrides)
    for key in keys_of(cls):
        assert key in DEFAULTS or OmegaConf.select(composed, key, default="absent", throw_on_missing=False) != "absent", key
    settings, mistakes = cls.read(composed)
    assert mistakes == []


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_has_a_yaml_with_its_own_keys_their_defaults_and_units(kind):
    path = CONF / "loss" / f"{kind}.yaml"
    said, lines = yaml.safe_load(path.read_text(encoding="utf-8")), path.read_text(encoding="utf-8").splitlines()
    assert LOSSES[kind].fault is None and said.pop("kind") == kind
    assert said == {key: default for key, (_, default) in LOSSES[kind].keys.items() if default != MISSING}
    assert all("#" in next(line for line in lines if line.startswith(f"{key}:")) for key in said)


@pytest.mark.parametrize("file", ["config.yaml", "evaluate.yaml", "hardware/auto.yaml"])
def test_every_knob_is_explained(file):
    """A line that sets a value has a comment, or shares the one above or at its mapping."""
    unexplained, covered = [], False
    in_knobs = not file.endswith(("config.yaml", "evaluate.yaml"))
    for line in (CONF / file).read_text(encoding="utf-8").splitlines():
        in_knobs = in_knobs or line.startswith(("seed:", "target:"))
        if not in_knobs or not line.strip() or line.strip().startswith("#"):
            covered = covered and bool(line.strip())
            continue
        covered = "#" in line or covered
        if not covered and not line.rstrip().endswith(":"):
            unexplained.append(line)
    assert unexplained == []


def test_every_yaml_opens_with_what_it_is_for():
    for path in sorted(CONF.rglob("*.yaml")):
        assert path.read_text(encoding="utf-8").startswith("# "), path


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "value", "overrides"), ORIGIN_ROWS)
def test_every_flag_of_the_origin_does_here_what_the_table_says(flag, value, overrides):
    settings = compose(PAIR, *overrides.split(" "))
    assert rule_mistakes(settings) == []
    expected = {
        ("prompt-source", value): ("prompts.source", value),
        ("use-uld-loss", "true"): ("loss.kind", "uld"),
        ("use-uld-loss", "false"): ("loss.kind", "jsd"),
        ("uld-use-hybrid-loss", "true"): ("loss.kind", "uld_hybrid"),
        ("report-to", value): ("tracker.name", value),
        ("output-dir", value): ("output_dir", str(Path(value).absolute())),
    }
    key, wanted = expected.get((flag, value), (flag_key(flag, keys_of(Settings)), yaml.safe_load(value.replace("1e-5", "1.0e-5"))))
    assert value_at(settings, key) == wanted


def test_the_table_of_the_origin_is_complete():
    origin = """output-dir max-steps prompt-source dataset-path dataset-name eval-samples chosun-probability
        student-system-prompt teacher-system-prompt per-device-train-batch-size gradient-accumulation-steps
        learning-rate lmbda beta seq-kd use-uld-loss uld-use-hybrid-loss dtype report-to"""
    flags = {flag for flag, _, _ in ORIGIN_ROWS}
    assert flags == set(origin.split()) and flags > set(ORIGIN_FLAGS)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((PROJECT / "accelerate_configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_takes_the_hardware_files(path):
    """In a process of its own: accelerate reads the file by its strict rules (unknown keys are errors)."""
    code = f"from accelerate.commands.config import load_config_from_file as f; print(f({str(path)!r}).num_processes)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert result.stdout.strip() == "2", result.stderr
    assert compose(PAIR, f"hardware={path.stem}").hardware.accelerate_config == f"accelerate_configs/{path.name}"


def test_a_pack_may_lack_its_language_and_list_its_classifiers(tmp_path):
    pack = yaml.safe_load((CONF / "styles/village.yaml").read_text(encoding="utf-8"))
    own = {**pack, "name": "own", "classifier": [pack["classifier"], {"name": "speech_level"}]}
    del own["language"]
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles/own.yaml").write_text("# own\n" + yaml.safe_dump(own, allow_unicode=True, sort_keys=False))
    for cls, name, needed in ((Settings, "config", []), (EvaluateSettings, "evaluate", ["target=x"])):
        settings, mistakes = cls.read(compose_config(name, ["styles=own", *needed], searchpath=[tmp_path]))
        assert mistakes == [] and rule_mistakes(settings) == []
        assert settings.styles.language == "ko" and len(settings.styles.classifier) == 2
    settings.styles.classifier[1]["name"] = "speech_levle"
    (mistake,) = rule_mistakes(settings)
    assert str(mistake).startswith("styles.classifier[1].name: 'speech_levle' is unknown; allowed: speech_level, markers; did you mean")
