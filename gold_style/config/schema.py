"""Every group of settings as a dataclass; an annotation says what each value may be.

What a key means, and its unit, is a comment in conf/config.yaml and conf/evaluate.yaml. Nothing has a default here:
values come only from conf/. Names that go to TRL keep TRL's spelling.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict, TypeVar

from gold_style.config.mirror import Interval


class Role(Enum):
    """What a setting is where it is not meant to enter the numbers of a run; gold_style.config.settings lists the keys."""

    BESIDE = "where a run goes and how it is followed: no part of the experiment, so config_hash leaves it out"
    ADJUSTABLE = "how a run is watched, saved and laid out on the machine: part of the config, but a resumed run may change it"


T = TypeVar("T")
Beside = Annotated[T, Role.BESIDE]
Adjustable = Annotated[T, Role.ADJUSTABLE]

Share = Annotated[float, Interval(0, 1)]
Nucleus = Annotated[float, Interval(0, 1, open_low=True)]
Margin = Annotated[float, Interval(-1, 1)]
Positive = Annotated[float, Interval(0, open_low=True)]
Weight = Annotated[float, Interval(0)]
Count = Annotated[int, Interval(1)]
CountOrZero = Annotated[int, Interval(0)]
Seed = Annotated[int, Interval(0, 2**32 - 1)]  # what NumPy's generators take
Schedule = TypedDict("Schedule", {"from": Share, "to": Share, "steps": Count})  # gold_style.config.schedule reads it
Dtype = Literal["float32", "bfloat16", "float16"]
Card = Literal["here", "t4", "l4", "4090", "a100_40gb", "l40s", "a100_80gb", "h100", "h200"]  # gold_style/job/cards.yaml
Quantization = Literal["none", "int8", "int4"]


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

    beta: Share | Schedule
    lmbda: Share | Schedule
    temperature: Positive
    top_p: Nucleus
    optim: str
    learning_rate: Weight
    lora_learning_rate: Weight
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
    untagged_share: Share
    pairing: Literal["independent", "paired"]
    random_topics: Share
    few_shots: CountOrZero
    warm_start_steps: CountOrZero
    every_steps: CountOrZero | None


@dataclass(kw_only=True)
class Model:
    name: str
    teacher: str | None
    teachers: dict[str, str] | None
    student: str
    dtype: Dtype
    teacher_dtype: Dtype | None
    teacher_quantization: Quantization
    student_quantization: Quantization
    teacher_revision: str | None
    student_revision: str | None
    student_adapter: str | None
    student_file_dtype: Dtype | None
    trust_remote_code: bool
    student_template_kwargs: dict[str, Any] | None
    teacher_template_kwargs: dict[str, Any] | None
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None
    lora: Lora
    recipe: Recipe


@dataclass(kw_only=True)
class Requests:
    """Where requests are read from and what is read beside them: the part of `prompts` that train.py and evaluate.py share."""

    path: str | None
    name: str | None
    config: str | None
    split: str
    streaming: bool
    revision: str | None
    style_column: str | None
    eval_samples: CountOrZero | None
    student_system_prompt: str | None
    teacher_system_prompt: str | None
    on_bad_row: Literal["stop", "quarantine"]
    max_prompt_tokens: Count | None


@dataclass(kw_only=True)
class Prompts(Requests):
    source: Literal["dynamic", "jsonl", "hf"]
    chosun_probability: Share
    untagged_share: Share
    pairing: Literal["independent", "paired"]
    random_topics: Share
    selection_samples: CountOrZero
    teacher_context: Literal["full", "none", "swapped"]


@dataclass(kw_only=True)
class Styles:
    """The style pack as composed; gold_style.styles.StylePack reads and checks what it says."""

    name: str
    language: str  # one of gold_style.speech.languages
    teacher_prompt: Literal["combined", "per_style"]
    untagged: str
    few_shots: CountOrZero
    examples: Literal["system", "turns"] = "system"  # evaluate.py reads packs that do not say
    neutral: str
    intro: str
    styles: dict[str, dict[str, Any]]  # tag -> rule, verdict, few_shots, levels
    classifier: dict[str, Any] | list[dict[str, Any]]
    requests: dict[str, Any]


@dataclass(kw_only=True)
class Loss:
    """What every loss has; gold_style.config.losses adds the keys of each one's `Options`."""

    kind: str
    lmbda: Share | Schedule
    seq_kd: bool
    temperature: Positive
    top_p: Nucleus
    top_k: CountOrZero
    warm_start_steps: CountOrZero
    warm_start_until: Nucleus | None


@dataclass(kw_only=True)
class Beta:
    """What every loss with a divergence reads."""

    beta: Share | Schedule


@dataclass(kw_only=True)
class Uld:
    """Keys of uld and uld_hybrid, under TRL's names."""

    uld_crossentropy_weight: Weight
    uld_distillation_weight: Weight
    uld_student_temperature: Positive
    uld_teacher_temperature: Positive
    uld_skip_student_eos: bool
    uld_skip_teacher_eos: bool


@dataclass(kw_only=True)
class Hardware:
    name: Adjustable[str]
    device: Adjustable[Literal["auto", "cpu", "cuda"]]
    num_processes: Adjustable[Count | None]
    threads: Adjustable[Annotated[int, Interval(1, 4096)] | None]
    tokens_per_microbatch: Adjustable[Count | Literal["auto"] | None]
    auto_microbatch: Adjustable[bool]
    fsdp_gathers: Adjustable[Literal["float32", "compute"]]
    prefix_cache_bytes: Adjustable[CountOrZero]
    accelerate_config: Adjustable[str | None]
    rollouts: Literal["own", "vllm_colocate", "vllm_server"]
    vllm_gpu_memory: Adjustable[Nucleus]
    vllm_server: Adjustable[str]
    vllm_handover: Adjustable[str | None]


@dataclass(kw_only=True)
class TeacherBackend:
    kind: Adjustable[Literal["local", "ray", "openai"]]
    address: Adjustable[str | None]
    model: Adjustable[str | None]
    gpus: Adjustable[Weight | None]
    limit_s: Adjustable[Positive]


@dataclass(kw_only=True)
class Scoring:
    """How answers are produced and counted: the part of `evaluation` that train.py and evaluate.py share."""

    batch_size: Adjustable[Count]
    max_completion_length: Count | None
    sampled: bool
    untagged: Adjustable[bool]
    misspelt: Adjustable[CountOrZero]
    retention: Adjustable[bool | None]
    bootstrap_samples: Adjustable[Annotated[int, Interval(1, 1_000_000)]]  # each is a draw over all requests, held in memory
    confidence: Adjustable[Annotated[float, Interval(0, 1, open_low=True, open_high=True)]]


@dataclass(kw_only=True)
class Evaluation(Scoring):
    every_steps: CountOrZero | None
    live_samples: Count
    keep: Literal["last", "best"]
    require_teacher_margin: Adjustable[Margin | None]
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


@dataclass(kw_only=True)
class Search:
    trials: CountOrZero
    parallel: Count
    startup_trials: CountOrZero
    prune: bool
    seed: Seed
    trial: CountOrZero | None


@dataclass(kw_only=True)
class Sweep:
    isolate: bool
    vary: dict[str, Any]
    search: Search


@dataclass(kw_only=True)
class Cache:
    dir: str | None
    max_bytes: CountOrZero


@dataclass(kw_only=True)
class EvaluateRecipe:
    few_shots: CountOrZero  # read by the pack that styles= names


@dataclass(kw_only=True)
class EvaluateModel:
    student_adapter: str | None
    dtype: Dtype | None
    teacher_quantization: Quantization | None
    revision: str | None
    trust_remote_code: bool
    recipe: EvaluateRecipe


@dataclass(kw_only=True)
class EvaluatePrompts(Requests):
    source: Literal["dynamic", "jsonl", "hf"] | None
