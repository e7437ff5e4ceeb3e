"""Typed settings: conversions, ranges, all mistakes at once, rules between settings, the way into a file and back."""

import fnmatch
import math
import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gold_style.config.check.paths import cache_fault, model_fault, output_fault, resume_fault, rows_fault, run_fault, target_fault
from gold_style.config.check.rules import notes, rule_mistakes
from gold_style.config.gold_config import allowed_fields, gold_config_fields, mistakes_in, refusal, train_fields
from gold_style.config.mirror import Interval, Misfit, fitted, keys_of, nearest_key
from gold_style.config.settings import ADJUSTABLE, BESIDE, PROJECT, EvaluateSettings, Settings, SettingsError, find_directory, local_model

PAIR = "model=qwen3b_to_1p5b"  # a pair whose directories need not exist


def settings_with(*overrides: str) -> Settings:
    return Settings.compose(PAIR, *overrides)


def mistakes_of(*overrides: str) -> dict[str, str]:
    """Key -> reason of what is wrong with these overrides by themselves."""
    with pytest.raises(SettingsError) as caught:
        settings_with(*overrides)
    return {mistake.key: mistake.reason for mistake in caught.value.mistakes}


def broken_rules(*overrides: str) -> dict[str, str]:
    """Key -> reason of what is wrong with these overrides beside each other."""
    return {mistake.key: mistake.reason for mistake in rule_mistakes(settings_with(*overrides))}


def test_a_run_directory_gives_back_the_settings_it_was_made_with(tmp_path):
    settings = settings_with("loss.beta=0.7", "tracker.tags=[a,b]", "train.save_steps=5")
    text = yaml.safe_dump(settings.to_dict(), allow_unicode=True)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    assert Settings.load(tmp_path) == settings


@pytest.mark.parametrize("text", [None, "- 1\n", "a: [\n", "\x00"])
def test_an_unreadable_run_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="config.yaml"):
        Settings.load(tmp_path)


def test_settings_of_another_version_are_refused_by_key():
    mapping = settings_with().to_dict()
    mapping["loss"]["gamma"] = 1
    del mapping["seed"]
    with pytest.raises(SettingsError, match=r"(?s)seed: must be given.*loss\.gamma=1: unknown key"):
        Settings.from_dict(mapping)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("loss.beta=1.5", "loss.beta"),
        ("loss.beta=-0.1", "loss.beta"),
        ("loss.beta=nan", "loss.beta"),
        ("loss.beta=half", "loss.beta"),
        ("loss.beta={from:0,to:0.3}", "loss.beta"),
        ("loss.beta={form:0,to:0.3,steps:4}", "loss.beta"),
        ("loss.beta={from:0,to:1.3,steps:4}", "loss.beta"),
        ("loss.beta={from:0,to:null,steps:4}", "loss.beta"),
        ("loss.beta={from:0,to:0.3,steps:0}", "loss.beta"),
        ("loss.beta={from:0,to:0.3,steps:2.5}", "loss.beta"),
        ("loss.beta=[0,0.3,40]", "loss.beta"),
        ("model.recipe.beta={from:0,to:0.3}", "model.recipe.beta"),
        ("loss.lmbda=2", "loss.lmbda"),
        ("loss.temperature=0", "loss.temperature"),
        ("loss.temperature=inf", "loss.temperature"),
        ("loss.top_p=0", "loss.top_p"),
        ("loss.top_p=1.01", "loss.top_p"),
        ("loss.seq_kd=1", "loss.seq_kd"),
        ("prompts.chosun_probability=-1", "prompts.chosun_probability"),
        ("prompts.eval_samples=-1", "prompts.eval_samples"),
        ("prompts.pairing=pairs", "prompts.pairing"),
        ("evaluation.confidence=1", "evaluation.confidence"),
        ("evaluation.keep=bset", "evaluation.keep"),
        ("hardware.threads=0", "hardware.threads"),
        ("model.dtype=bf16", "model.dtype"),
        ("tracker.tags=a", "tracker.tags"),
        ("seed=1.5", "seed"),
        ("seed=true", "seed"),
        ("grace_s=-1", "grace_s"),
        ("styles.few_shots=-1", "styles.few_shots"),
        ("train.max_steps=0", "train.max_steps"),
        ("train.max_steps=-2", "train.max_steps"),
        ("train.per_device_train_batch_size=0", "train.per_device_train_batch_size"),
        ("train.learning_rate=fast", "train.learning_rate"),
        ("train.optim=moun", "train.optim"),
        ("train.num_generation=2", "train.num_generation"),
        ("train.logging_first_step=maybe", "train.logging_first_step"),
    ],
)
def test_a_value_out_of_its_range_or_type_is_named_with_its_key(override, key):
    assert list(mistakes_of(override)) == [key]


def test_a_misspelt_part_of_a_schedule_is_named_with_the_nearest():
    (mistake,) = mistakes_of("loss.beta={form:0,to:0.3,steps:4}").values()
    assert "form is none of them; did you mean from?" in str(mistake)
    (mistake,) = mistakes_of("loss.beta={from:0,to:0.3}").values()
    assert "steps must be given" in str(mistake)


def test_all_wrong_values_are_reported_together():
    assert set(mistakes_of("loss.beta=2", "seed=x", "train.optim=moun", "model.dtype=bf16")) == {
        "loss.beta",
        "seed",
        "train.optim",
        "model.dtype",
    }


def test_a_wrong_recipe_value_is_reported_once_and_where_it_was_written():
    assert list(mistakes_of("model.recipe.beta=2")) == ["model.recipe.beta"]


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.max_steps=7", lambda settings: settings.train["max_steps"] == 7),
        ("train.optim=muon", lambda settings: settings.train["optim"] == "muon"),
        ("train.lr_scheduler_kwargs={num_cycles:2}", lambda s: s.train["lr_scheduler_kwargs"] == {"num_cycles": 2}),
        ("seed=1e3", lambda settings: settings.seed == 1000 and type(settings.seed) is int),
        ("loss.beta=1", lambda settings: settings.loss.beta == 1.0 and type(settings.loss.beta) is float),
        ("loss.beta={from:0,to:0.3,steps:40.0}", lambda settings: settings.loss.beta == {"from": 0.0, "to": 0.3, "steps": 40}),
        ("model.recipe.beta={from:0,to:0.3,steps:4}", lambda settings: settings.loss.beta["steps"] == 4),
        ("tracker.run_name=2024", lambda settings: settings.tracker.run_name == "2024"),
        ("model.lora.target_modules=[q_proj,v_proj]", lambda s: s.model.lora.target_modules == ["q_proj", "v_proj"]),
        ("prompts.eval_samples=null", lambda settings: settings.prompts.eval_samples is None),
        ("objective=null", lambda settings: settings.objective is None),
    ],
)
def test_values_arrive_in_their_type(override, read):
    assert read(settings_with(override))


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(-5, 5), st.floats(0, 5), st.booleans(), st.booleans())
def test_an_interval_holds_the_numbers_between_its_ends(number, low, width, open_low, open_high):
    high = low + width
    interval = Interval(low, high, open_low=open_low, open_high=open_high)
    inside = math.isfinite(number) and low <= number <= high
    inside = inside and not (open_low and number == low) and not (open_high and number == high)
    assert (number in interval) == inside


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_a_fitted_value_has_its_type_or_is_refused(value):
    for hint in (bool, int, float, str, list):
        try:
            result = fitted(hint, value)
        except Misfit:
            continue
        assert type(result) is hint


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("loss.betta", "loss.beta"),
        ("beta", "loss.beta"),
        ("los.lmbda", "loss.lmbda"),
        ("prompts.chosun_prob", "prompts.chosun_probability"),
        ("evalution.every_steps", "evaluation.every_steps"),
        ("max-steps", "train.max_steps"),
        ("model.recipe.bta", "model.recipe.beta"),
    ],
)
def test_the_nearest_key_is_the_one_meant(text, meant):
    keys = [*keys_of(Settings), *(f"train.{name}" for name in allowed_fields())]
    assert nearest_key(text, keys) == meant


def test_the_committed_fields_are_those_of_the_installed_trl():
    def checked(entry: dict) -> dict:  # transformers rewords its help from version to version
        return {key: value for key, value in entry.items() if key not in ("name", "help")}

    from benchmarks.train_fields import describe_gold_config

    installed = {entry["name"]: checked(entry) for entry in describe_gold_config()}
    committed = {name: checked(entry) for name, entry in gold_config_fields().items()}
    assert committed == installed, "write the list anew: python benchmarks/train_fields.py"


@pytest.mark.slow
def test_every_field_of_trl_is_either_taken_or_refused_with_another_key():
    for name in gold_config_fields():
        mistakes = mistakes_in({name: gold_config_fields()[name]["default"]})
        assert (refusal(name) is None) == (name in allowed_fields())
        assert bool(mistakes) == (name not in allowed_fields()), (name, mistakes)


def test_every_key_that_stands_instead_of_a_refused_field_exists():
    keys, groups = set(keys_of(Settings)), {path.name for path in (PROJECT / "conf").iterdir() if path.is_dir()}
    fields = {f"train.{name}" for name in allowed_fields()}
    for name in gold_config_fields():
        instead = (refusal(name) or ("", "seed"))[1].split(" ")[0].rstrip(",")
        key, _, option = instead.partition("=")
        if instead.startswith("`") or name == "callbacks":
            continue
        assert key in keys | groups | fields, (name, instead)
        if key in groups and option.strip("."):
            assert (PROJECT / "conf" / key / f"{option}.yaml").is_file(), (name, instead)


def test_every_pattern_of_the_table_stands_for_a_field_and_no_field_is_in_it_twice():
    table = train_fields()
    patterns = [
        *table["accepted"].values(),
        *table["elsewhere"].values(),
        *(text for fields in table["refused"].values() for text in fields.values()),
    ]
    patterns = " ".join(patterns).split()
    assert len(patterns) == len(set(patterns))
    for pattern in patterns:
        assert any(fnmatch.fnmatchcase(name, pattern) for name in gold_config_fields()), pattern


@pytest.mark.parametrize(
    ("overrides", "key", "hint"),
    [
        (["loss.lmbda=0.5"], "loss.lmbda", "loss.seq_kd=true"),
        (["train.max_steps=-1"], "train.max_steps", "never ends"),
        (["train.num_train_epochs=2"], "train.num_train_epochs", "train.max_steps=-1"),
        (["train.max_steps=-1", "prompts=jsonl"], "train.max_steps", "num_train_epochs"),
        (["train.num_generations=3"], "train.num_generations", "divide"),
        (["loss.uld_hybrid_matched_weight=1"], "loss.uld_hybrid_matched_weight", "unmatched"),
        (["loss.warm_start_steps=100"], "loss.warm_start_steps", "train.max_steps=100"),
        (["train.lr_scheduler_kwargs={num_cycles:2}"], "train.lr_scheduler_kwargs", "train.lr_scheduler_kwargs=null"),
        (["evaluation.keep=best", "evaluation.every_steps=0"], "evaluation.keep", "every_steps"),
        (["evaluation.keep=best", "prompts.selection_samples=0"], "evaluation.keep", "selection_samples"),
        (["evaluation.early_stop_margin=0.9", "evaluation.every_steps=0"], "evaluation.early_stop_margin", "every_steps"),
        (["prompts.path=a.jsonl"], "prompts.path", "prompts=jsonl"),
        (["prompts=jsonl", "prompts.path=null"], "prompts.path", "must be given"),
        (["prompts.name=a/b"], "prompts.name", "prompts=hf"),
        (["prompts=hf"], "prompts.name", "must be given"),
        (["tracker=none", "tracker.log_model=true"], "tracker.log_model", "wandb"),
        (["objective=after.margn"], "objective", "did you mean margin"),
        (["objective=aftr.margin"], "objective", "did you mean after"),
        (["styles.untagged=chosn"], "styles.untagged", "chosun"),
        (["styles.few_shots=99"], "styles.few_shots", "99"),
    ],
)
def test_combinations_that_cannot_work_are_refused_with_the_way_out(overrides, key, hint):
    broken = broken_rules(*overrides)
    assert list(broken) == [key]
    assert hint in broken[key]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["loss=seq_kd"],
        ["loss.lmbda=0.5", "loss.seq_kd=true"],
        ["prompts=jsonl", "loss.lmbda=0.5"],
        ["prompts=jsonl", "train.max_steps=-1", "train.num_train_epochs=2"],
        ["train.num_generations=4"],
        ["loss.uld_hybrid_matched_weight=1", "loss.uld_hybrid_unmatched_weight=0"],
        ["loss.warm_start_steps=99"],
        ["evaluation.keep=best"],
        ["objective=teacher.rates.chosun.joseon"],
        ["objective=train_seconds"],
        ["objective=null"],
    ],
)
def test_combinations_that_work_are_let_through(overrides):
    assert broken_rules(*overrides) == {}


def test_reproduce_beside_resume_is_refused():
    settings = settings_with("resume=auto")
    settings.reproduce = "some/run"
    assert [mistake.key for mistake in rule_mistakes(settings)] == ["resume"]


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["prompts=jsonl", "prompts.pairing=paired"], "prompts.pairing"),
        (["model.lora.r=4"], "model.lora.r"),
        (["model.recipe.muon_learning_rate=1"], "model.recipe.muon_learning_rate"),
        (["tracker=none", "tracker.entity=me"], "tracker.entity"),
        (["loss.seq_kd=true"], "loss.seq_kd=true"),
        (["styles.examples=turns", "styles.few_shots=0"], "styles.examples"),
    ],
)
def test_settings_without_effect_are_said(overrides, key):
    given_keys = [override.split("=")[0] for override in overrides]
    said = notes(settings_with(*overrides), given_keys)
    assert [note.split(" ")[0] for note in said] == [key]


def test_settings_with_effect_are_not_commented_on():
    keys = ["loss.uld_crossentropy_weight", "loss.beta", "prompts.pairing", "model.recipe.beta", "tracker.mode"]
    assert notes(settings_with(), keys) == []


def test_models_are_hub_names_or_directories_with_a_config(tmp_path):
    (tmp_path / "model").mkdir()
    assert "config.json" in model_fault(str(tmp_path / "model"))
    (tmp_path / "model" / "config.json").write_text("{}")
    assert model_fault(str(tmp_path / "model")) is None
    assert f"did you mean {tmp_path / 'model'}" in model_fault(str(tmp_path / "modle"))
    assert model_fault("Qwen/Qwen2.5-3B-Instruct") is None
    assert "no such directory" in model_fault("./Qwen")
    assert "hub name" in model_fault("Qwen 2.5")
    assert "hub name" in model_fault("")


def test_targets_may_be_run_directories(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    assert target_fault(str(tmp_path)) is None
    assert run_fault(str(tmp_path)) is None
    assert "config.yaml" in run_fault(str(tmp_path.parent))


def test_files_of_rows_exist_and_end_as_they_should(tmp_path):
    path = tmp_path / "요청.jsonl"
    path.write_text("{}\n", encoding="utf-8")
    assert rows_fault(str(path)) is None
    assert f"did you mean {path}" in rows_fault(str(tmp_path / "요청들.jsonl"))
    assert "directory" in rows_fault(str(tmp_path))
    (tmp_path / "rows.txt").write_text("")
    assert ".jsonl" in rows_fault(str(tmp_path / "rows.txt"))


def test_what_stands_where_a_file_or_directory_is_wanted_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "old.jsonl").symlink_to("gone.jsonl")
    assert rows_fault(str(tmp_path / "pipe.jsonl")) == "is a pipe or a device, not a file"
    assert rows_fault(str(tmp_path / "loop.jsonl")) == "is a link to loop.jsonl, which leads nowhere"
    assert output_fault(str(tmp_path / "old.jsonl")) == "is a link to gone.jsonl, which leads nowhere"
    assert output_fault("/dev/null") == "is a pipe or a device, not a directory"
    (tmp_path / "file").write_text("")
    for fault in (run_fault, model_fault, resume_fault):
        assert fault(str(tmp_path / "file")) == "is a file, not a directory"
    assert cache_fault(str(tmp_path / "file")) == "is a file, not a directory"
    assert "cannot be made" in cache_fault(str(tmp_path / "file" / "below"))
    assert cache_fault(str(tmp_path)) is cache_fault(str(tmp_path / "new" / "cache")) is cache_fault("auto") is None


def test_resume_is_a_run_or_auto(tmp_path):
    assert resume_fault("auto") is None
    assert "did you mean auto?" in resume_fault("autoo")
    assert "must name a run directory" in resume_fault("")


def test_a_run_directory_has_to_be_new_or_empty(tmp_path):
    assert output_fault(str(tmp_path / "a" / "b")) is None
    assert output_fault(str(tmp_path)) is None
    (tmp_path / "file").write_text("")
    assert "not empty" in output_fault(str(tmp_path))
    assert "is a file" in output_fault(str(tmp_path / "file"))
    assert "cannot be made" in output_fault(str(tmp_path / "file" / "below"))


def test_relative_paths_are_found_from_here_and_then_from_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_directory("conf") == PROJECT / "conf"
    assert find_directory("nowhere") == tmp_path / "nowhere"
    (tmp_path / "conf").mkdir()
    assert find_directory("conf") == tmp_path / "conf"
    assert local_model("conf") == str(tmp_path / "conf")
    assert local_model("Qwen/Qwen2.5-3B-Instruct") == "Qwen/Qwen2.5-3B-Instruct"


def test_reproduce_takes_everything_but_place_and_name_from_the_run(tmp_path):
    original = settings_with("seed=7", "loss=jsd", "loss.beta=0.9", "tracker=none", "tracker.run_name=first")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(original.to_dict(), allow_unicode=True), encoding="utf-8")
    again = settings_with(f"reproduce={tmp_path}", f"output_dir={tmp_path}/again", "dry_run=true")
    assert (again.output_dir, again.reproduce, again.dry_run) == (str(tmp_path / "again"), str(tmp_path), True)
    assert again.tracker.run_name is None
    for name in ("output_dir", "reproduce", "dry_run"):
        setattr(again, name, getattr(original, name))
    again.tracker.run_name = "first"
    assert again == original


def test_a_resumed_run_stays_in_its_directory(tmp_path):
    settings = settings_with(f"resume={tmp_path}")
    assert settings.resume == settings.output_dir == str(tmp_path)


def test_a_run_of_two_processes_is_resumed_in_one_with_all_that_the_other_option_says(tmp_path):
    run = settings_with("hardware=multi_gpu", "hardware.threads=3", "train.gradient_accumulation_steps=2")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(run.to_dict()))
    one = Settings.compose(f"resume={tmp_path}", "hardware=single_gpu", "train.gradient_accumulation_steps=4")
    assert (one.hardware.name, one.hardware.accelerate_config, one.hardware.threads) == ("single_gpu", None, None)
    assert one.train["gradient_accumulation_steps"] == 4
    same = Settings.compose(f"resume={tmp_path}", "hardware=multi_gpu")
    assert same.hardware == run.hardware and same.train == run.train


def test_an_evaluation_follows_the_run_unless_told_otherwise(tmp_path):
    run = settings_with("seed=5", "prompts.eval_samples=7", "prompts.teacher_system_prompt=rules")
    asked = EvaluateSettings.compose("target=x", f"output_dir={tmp_path}", "evaluation.sampled=true", "hardware=cpu")
    settings = asked.for_target(run)
    assert settings.seed == 5
    assert settings.prompts == run.prompts
    assert settings.styles == run.styles
    assert settings.evaluation.sampled and settings.evaluation.keep == run.evaluation.keep
    assert settings.hardware.device == "cpu"
    assert settings.output_dir == str(tmp_path)
    assert run.evaluation.sampled is False


def test_an_evaluation_may_bring_its_own_prompts_and_pack(tmp_path):
    run = settings_with("seed=5", "prompts.eval_samples=7")
    path = tmp_path / "my.jsonl"
    asked = EvaluateSettings.compose("target=x", "seed=1", "prompts=jsonl", f"prompts.path={path}", "styles=village", "model.dtype=float32")
    settings = asked.for_target(run)
    assert (settings.seed, settings.model.dtype, settings.styles.name) == (1, "float32", "village")
    assert (settings.prompts.source, settings.prompts.path) == ("jsonl", str(path))
    assert settings.prompts.pairing == run.prompts.pairing


def test_a_pack_that_does_not_say_where_its_examples_are_read_is_evaluated():
    config = EvaluateSettings.compose("target=x", "styles=village").to_dict()
    del config["styles"]["examples"]
    settings, mistakes = EvaluateSettings.from_mapping(config)
    assert (mistakes, settings.styles.examples) == ([], "system")


def test_a_bare_model_is_its_own_student():
    settings = EvaluateSettings.compose("target=Qwen/Qwen2.5-1.5B-Instruct", "model.revision=main").for_target(None)
    assert settings.model.student == "Qwen/Qwen2.5-1.5B-Instruct"
    assert settings.model.student_revision == "main"
    assert settings.styles.name == "joseon"


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    """Keys older than the table AS_BEFORE have their defaults; what it has stays, and what nobody knows is an error."""
    mapping = settings_with("seed=3").to_dict()
    del mapping["cache"], mapping["on_nonfinite"], mapping["loss"]["warm_start_until"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(mapping, allow_unicode=True), encoding="utf-8")
    loaded = Settings.load(tmp_path)
    assert loaded.to_dict() == settings_with("seed=3", f"output_dir={loaded.output_dir}").to_dict()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(mapping | {"gone": 1}, allow_unicode=True), encoding="utf-8")
    with pytest.raises(ValueError, match="gone"):
        Settings.load(tmp_path)


def test_a_schedule_is_given_what_it_takes():
    from gold_style.job.optimizer import schedule_mistakes

    wrong = {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycle": 1}}
    assert schedule_mistakes(wrong)[0].endswith("takes no num_cycle; did you mean num_cycles?; it takes num_cycles, last_epoch")
    assert schedule_mistakes(wrong | {"lr_scheduler_kwargs": {"num_cycles": 1}}) == []
    assert "needs num_decay_steps" in schedule_mistakes(wrong | {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {}})[0]


def test_settings_that_do_not_enter_the_numbers_are_known_by_their_annotations():
    assert set(BESIDE) == {"output_dir", "resume", "reproduce", "dry_run", "plan", "sweep", "cache", "tracker"}
    own = {"objective", "grace_s", "on_nonfinite", "on_collapse", "train.logging_steps", "train.save_steps", "train.save_total_limit"}
    names = ("batch_size", "untagged", "misspelt", "retention", "bootstrap_samples", "confidence", "require_teacher_margin")
    scoring = {f"evaluation.{name}" for name in names}
    hardware = {key for key in keys_of(Settings) if key.startswith(("hardware.", "teacher_backend."))} - {"hardware.rollouts"}
    assert set(ADJUSTABLE) == own | scoring | hardware
