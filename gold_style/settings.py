"""Typed mirror of conf/: the only file that knows OmegaConf.

A DictConfig goes in, plain dataclasses come out; units stand beside the same keys in conf/config.yaml and conf/evaluate.yaml.
Importing this module registers the `schema` node that opens `train.*`, so import it before Hydra's `compose`.

    settings = Settings.from_config(cfg)              # on the first line of main
    settings = Settings.compose("loss.beta=0.5")      # in a test or a notebook
    settings = Settings.load(run_directory)           # what a run was made with
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gold_style.gold_config import train_mistakes
from gold_style.launch import run_stamp
from gold_style.mirror import Interval, Mistake, did_you_mean, keys_of, mirror, unknown_keys, written

PROJECT = Path(__file__).resolve().parent.parent
CONF = PROJECT / "conf"

Share = Annotated[float, Interval(0, 1)]
Nucleus = Annotated[float, Interval(0, 1, open_low=True)]
Margin = Annotated[float, Interval(-1, 1)]
Positive = Annotated[float, Interval(0, open_low=True)]
Weight = Annotated[float, Interval(0)]
Count = Annotated[int, Interval(1)]
CountOrZero = Annotated[int, Interval(0)]
Port = Annotated[int, Interval(1, 65535)]
Dtype = Literal["float32", "bfloat16", "float16"]


class SettingsError(ValueError):
    """Settings that cannot be run with; the text names each with its value and what is allowed."""

    def __init__(self, mistakes: Iterable[Mistake]):
        self.mistakes = list(dict.fromkeys(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


@dataclass(kw_only=True)
class Lora:
    enabled: bool
    r: Count
    alpha: Count
    dropout: Annotated[float, Interval(0, 1, open_high=True)]
    target_modules: str | list[str]


@dataclass(kw_only=True)
class Recipe:
    """Values that a pair was tried with; other groups read them by interpolation."""

    beta: Share
    lmbda: Share
    temperature: Positive
    top_p: Nucleus
    optim: str
    learning_rate: Weight
    muon_learning_rate: Weight
    weight_decay: Weight
    lr_scheduler_type: str
    lr_scheduler_kwargs: dict[str, Any] | None
    warmup_steps: Weight
    max_grad_norm: Weight
    per_device_train_batch_size: Count
    gradient_accumulation_steps: Count
    max_steps: Annotated[int, Interval(1, also=(-1,))]
    max_completion_length: Count
    chosun_probability: Share
    pairing: Literal["independent", "paired"]
    few_shots: CountOrZero
    warm_start_steps: CountOrZero
    every_steps: CountOrZero | None


@dataclass(kw_only=True)
class Model:
    name: str
    teacher: str
    student: str
    dtype: Dtype
    teacher_dtype: Dtype | None
    teacher_revision: str | None
    student_revision: str | None
    trust_remote_code: bool
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None
    lora: Lora
    recipe: Recipe


@dataclass(kw_only=True)
class Prompts:
    source: Literal["dynamic", "jsonl", "hf"]
    chosun_probability: Share
    pairing: Literal["independent", "paired"]
    path: str | None
    name: str | None
    config: str | None
    split: str
    streaming: bool
    revision: str | None
    eval_samples: CountOrZero | None
    selection_samples: CountOrZero
    student_system_prompt: str | None
    teacher_system_prompt: str | None
    on_bad_row: Literal["stop", "quarantine"]
    max_prompt_tokens: Count | None


@dataclass(kw_only=True)
class Styles:
    """The style pack as composed; gold_style.styles.StylePack reads and checks what it says."""

    name: str
    teacher_prompt: Literal["combined", "per_style"]
    untagged: str
    few_shots: CountOrZero
    neutral: str
    intro: str
    styles: dict[str, Any]
    classifier: dict[str, Any]
    requests: dict[str, Any]


@dataclass(kw_only=True)
class Loss:
    kind: Literal["jsd", "uld", "uld_hybrid", "tree"]
    beta: Share
    lmbda: Share
    seq_kd: bool
    temperature: Positive
    top_p: Nucleus
    top_k: CountOrZero
    uld_crossentropy_weight: Weight
    uld_distillation_weight: Weight
    uld_student_temperature: Positive
    uld_teacher_temperature: Positive
    uld_skip_student_eos: bool
    uld_skip_teacher_eos: bool
    uld_hybrid_matched_weight: Weight | None
    uld_hybrid_unmatched_weight: Weight | None
    warm_start_steps: CountOrZero
    warm_start_until: Nucleus | None


@dataclass(kw_only=True)
class Hardware:
    name: str
    device: Literal["auto", "cpu", "cuda"]
    num_processes: Count | None
    threads: Count | None
    rollout: Literal["native", "vllm_colocate", "vllm_server"]
    tokens_per_microbatch: Count | None
    auto_microbatch: bool
    prefix_cache_bytes: CountOrZero
    accelerate_config: str | None
    vllm_server_base_url: str | None
    vllm_server_host: str
    vllm_server_port: Port
    vllm_server_timeout: Positive
    vllm_group_port: Port
    vllm_gpu_memory_utilization: Nucleus
    vllm_tensor_parallel_size: Count
    vllm_max_model_length: Count | None
    vllm_model_impl: Literal["vllm", "transformers"]
    vllm_sync_frequency: Count
    vllm_enable_sleep_mode: bool


@dataclass(kw_only=True)
class Scoring:
    """How answers are produced and counted: the part of `evaluation` that train.py and evaluate.py share."""

    batch_size: Count
    max_completion_length: Count | None
    sampled: bool
    bootstrap_samples: Count
    confidence: Annotated[float, Interval(0, 1, open_low=True, open_high=True)]


@dataclass(kw_only=True)
class Evaluation(Scoring):
    every_steps: CountOrZero | None
    live_samples: Count
    keep: Literal["last", "best"]
    require_teacher_margin: Margin | None
    early_stop_margin: Margin | None
    early_stop_patience: Count


@dataclass(kw_only=True)
class Tracker:
    name: Literal["wandb", "tensorboard", "none"]
    mode: Literal["auto", "online", "offline"]
    project: str
    entity: str | None
    group: str | None
    tags: list[str]
    run_name: str | None
    log_model: bool


class Composed:
    """What Settings and EvaluateSettings have in common: out of a config, and into a plain mapping and back."""

    CONFIG_NAME: ClassVar[str]

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Self:
        """The settings of a composed config; in a job of a sweep, `output_dir` is the job's own directory.

        Raises SettingsError, a ValueError, naming every value that is wrong.
        """
        settings, mistakes = cls.read(cfg)
        if mistakes:
            raise SettingsError(mistakes)
        return settings

    @classmethod
    def read(cls, cfg: DictConfig) -> tuple[Self, list[Mistake]]:
        """The settings of a composed config and what is wrong with them; wrong fields keep the value they came with."""
        try:
            mapping = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
        except OmegaConfBaseException as error:
            raise SettingsError([Mistake(error.full_key or "conf", None, str(error).splitlines()[0])]) from None
        sources = interpolated_keys(OmegaConf.to_container(cfg, resolve=False))
        mapping["output_dir"] = _output_directory(mapping)
        settings, mistakes = cls.from_mapping(mapping)
        wrong = {mistake.key for mistake in mistakes}
        return settings, [mistake for mistake in mistakes if sources.get(mistake.key) not in wrong]

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> tuple[Self, list[Mistake]]:
        """As `read`, from a plain mapping without interpolations."""
        mistakes: list[Mistake] = []
        settings = mirror(cls, mapping, "", mistakes)
        known = list(keys_of(cls))
        for key in unknown_keys(cls, mapping):
            value = mapping
            for word in key.split("."):
                value = value[word]
            mistakes.append(Mistake(key, written(value), f"unknown key{did_you_mean(key, known)}"))
        mistakes += train_mistakes(getattr(settings, "train", {}))
        return settings, mistakes

    @classmethod
    def from_dict(cls, mapping: dict[str, Any]) -> Self:
        """The settings that `to_dict` gave. Raises SettingsError for what this version does not know."""
        settings, mistakes = cls.from_mapping(mapping)
        if mistakes:
            raise SettingsError(mistakes)
        return settings

    @classmethod
    def load(cls, run: str | os.PathLike) -> Self:
        """The settings a run directory was made with, from its config.yaml. Raises ValueError where that cannot be read."""
        path = Path(run) / "config.yaml"
        try:
            mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: cannot be read as the settings of a run: {str(error).splitlines()[0]}") from None
        if not isinstance(mapping, dict):
            raise ValueError(f"{path}: cannot be read as the settings of a run: not a mapping")
        return cls.from_dict(mapping)

    @classmethod
    def compose(cls, *overrides: str) -> Self:
        """The settings of a command line, without running it."""
        return cls.from_config(compose_config(cls.CONFIG_NAME, list(overrides)))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain mappings, lists and scalars: what a run's config.yaml holds."""
        return asdict(self)


@dataclass(kw_only=True)
class Settings(Composed):
    """Everything that `python train.py` was asked for."""

    CONFIG_NAME: ClassVar[str] = "config"

    seed: CountOrZero
    output_dir: str
    resume: str | None
    reproduce: str | None
    dry_run: bool
    objective: str | None
    on_nonfinite: Literal["stop", "skip"]
    grace_s: Weight
    model: Model
    prompts: Prompts
    styles: Styles
    loss: Loss
    train: dict[str, Any]  # only the fields of GOLDConfig that were set, under TRL's names
    hardware: Hardware
    evaluation: Evaluation
    tracker: Tracker

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Self:
        """As Composed.from_config; with `reproduce`, everything but directory and tracker names comes from that run."""
        settings = super().from_config(cfg)
        if settings.resume not in (None, "auto"):
            return replace(settings, resume=settings.output_dir)
        if settings.reproduce is None:
            return settings
        original = cls.load(find_directory(settings.reproduce))
        return replace(
            original,
            output_dir=settings.output_dir,
            resume=None,
            reproduce=str(find_directory(settings.reproduce)),
            dry_run=settings.dry_run,
            tracker=replace(original.tracker, run_name=settings.tracker.run_name),
        )


@dataclass(kw_only=True)
class EvaluateRecipe:
    few_shots: CountOrZero  # read by the pack that styles= names


@dataclass(kw_only=True)
class EvaluateModel:
    dtype: Dtype | None
    revision: str | None
    trust_remote_code: bool
    recipe: EvaluateRecipe


@dataclass(kw_only=True)
class EvaluatePrompts:
    source: Literal["dynamic", "jsonl", "hf"] | None
    path: str | None
    name: str | None
    config: str | None
    split: str
    streaming: bool
    revision: str | None
    eval_samples: CountOrZero | None
    student_system_prompt: str | None
    teacher_system_prompt: str | None
    on_bad_row: Literal["stop", "quarantine"]
    max_prompt_tokens: Count | None


@dataclass(kw_only=True)
class EvaluateSettings(Composed):
    """Everything that `python evaluate.py` was asked for; null means the run's own. `for_target` fills that in."""

    CONFIG_NAME: ClassVar[str] = "evaluate"

    target: str
    request: str | None
    teacher: str | None
    seed: CountOrZero | None
    output_dir: str
    model: EvaluateModel
    prompts: EvaluatePrompts
    styles: Styles | None
    hardware: Hardware
    evaluation: Scoring


@cache
def register() -> None:
    """Make `schema` (an open `train` mapping) and the resolver of a sweep's directory known to Hydra; once per process."""
    schema = OmegaConf.create({"train": {}})
    OmegaConf.set_struct(schema.train, False)
    ConfigStore.instance().store(name="schema", node=schema)
    OmegaConf.register_new_resolver("sweep_directory", lambda path: path or default_directory(), use_cache=False, replace=True)


def compose_config(config_name: str, overrides: list[str], directory: Path = CONF, searchpath: list[str] = ()) -> DictConfig:
    """The config that a command line composes. Raises Hydra's exceptions; `searchpath` are further config directories."""
    extra = [f"hydra.searchpath=[{','.join(f'file://{path}' for path in searchpath)}]"] if searchpath else []
    with initialize_config_dir(str(directory), version_base="1.3"):
        return compose(config_name, [*overrides, *extra])


def default_directory() -> str:
    """Where a sweep goes when nothing is said, relative to the working directory: multirun/<date>/<time>."""
    return f"multirun/{run_stamp()}"


def _output_directory(mapping: dict[str, Any]) -> str:
    """The absolute directory of this run: what was asked for, the job's own in a sweep, or a new one under multirun/."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return os.path.abspath(HydraConfig.get().runtime.output_dir)
    if isinstance(mapping.get("resume"), str) and mapping["resume"] != "auto":
        return str(find_directory(mapping["resume"]))
    leaf = "evaluate" if "target" in mapping else "0"
    return os.path.abspath(mapping.get("output_dir") or f"{default_directory()}/{leaf}")


def interpolated_keys(mapping: dict[str, Any], key: str = "") -> dict[str, str]:
    """Dotted key -> the key it is interpolated from, of an unresolved config: a wrong source is reported once."""
    found = {}
    for name, value in mapping.items():
        own_key = f"{key}.{name}" if key else str(name)
        if isinstance(value, dict):
            found |= interpolated_keys(value, own_key)
        elif isinstance(value, str) and value.startswith("${") and value.endswith("}"):
            found[own_key] = value[2:-1]
    return found


def find_directory(text: str) -> Path:
    """An absolute path; a relative one is looked up from the working directory, then from the project's root."""
    path = Path(text).expanduser()
    if path.is_absolute() or path.exists() or not (PROJECT / path).exists():
        return Path(os.path.abspath(path))
    return PROJECT / path


register()
