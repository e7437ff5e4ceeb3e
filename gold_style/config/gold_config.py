"""Which fields `train.*` takes: those of TRL's GOLDConfig, from a committed list, so that no check imports trl.

`gold_config_fields.json` holds name, type, default and what it is for; a test compares it with the installed trl.
Fields that this project sets elsewhere are refused with the key to use instead.

    python -m gold_style.config.gold_config      writes the list anew (imports trl)
"""

import dataclasses
import enum
import json
from fnmatch import fnmatchcase
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from gold_style import did_you_mean
from gold_style.config.mirror import Interval, Misfit, Mistake, fitted, written

FIELDS_FILE = Path(__file__).with_name("gold_config_fields.json")
KINDS = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict, "null": NoneType, "object": object}
ADJUSTABLE = ("logging_steps", "save_steps", "save_total_limit")  # as gold_style.config.schema.Role.ADJUSTABLE

# What TRL's own checks would only say once it is loaded, or not at all.
RANGES = {
    Interval(1): "per_device_train_batch_size gradient_accumulation_steps max_completion_length num_generations save_total_limit "
    "torch_empty_cache_steps ddp_timeout",
    Interval(1, also=(-1,)): "max_steps",
    Interval(0): "learning_rate weight_decay max_grad_norm warmup_steps dataloader_num_workers neftune_noise_alpha",
    Interval(0, open_low=True): "num_train_epochs adam_epsilon logging_steps save_steps",
    Interval(0, 1, open_high=True): "adam_beta1 adam_beta2",
}

# What to write -> the fields it stands for; the longest pattern that fits a field decides.
INSTEAD = {
    "output_dir": "output_dir",
    "seed": "seed data_seed",
    "seed (the same seed gives the same weights)": "full_determinism",
    "seed (rows are drawn from seed and row number)": "shuffle_dataset train_sampling_strategy",
    "dry_run": "do_train",
    "resume": "resume_from_checkpoint restore_callback_states_from_checkpoint",
    "resume (a resumed run always continues with the next row)": "ignore_data_skip",
    "grace_s (signals always save)": "enable_jit_checkpoint",
    "loss.{name}": "beta lmbda temperature top_p top_k seq_kd uld_*",
    "loss=uld or loss=jsd": "use_uld_loss",
    "loss=uld": "use_extended_uld",
    "loss=uld_hybrid": "uld_use_hybrid_loss",
    "loss=uld (tokens are merged by common byte boundaries)": "uld_token_merge_strategy",
    "loss=jsd, loss=uld, loss=uld_hybrid or loss=tree": "loss_type",
    "loss.beta (the loss has no labels to smooth)": "label_smoothing_factor",
    "loss=... (the divergence is the whole loss)": "router_aux_loss_coef",
    "loss=... (the mean is over the scored tokens of all processes)": "average_tokens_across_devices",
    "tracker=wandb, tracker=tensorboard or tracker=none": "report_to",
    "tracker=wandb or tracker=tensorboard": "trackio_*",
    "tracker.{name}": "run_name project",
    "model.dtype=bfloat16": "bf16*",
    "model.dtype=float16": "fp16*",
    "model.dtype or model.attn_implementation": "model_init_kwargs",
    "model.trust_remote_code": "trust_remote_code",
    "model.teacher": "teacher_model_name_or_path",
    "model.teacher_revision": "teacher_model_revision",
    "model.teacher_dtype": "teacher_model_init_kwargs",
    "model.teacher (its own tokenizer is used)": "teacher_tokenizer_name_or_path",
    "model.student (each model's own chat template is used)": "chat_template_path",
    "model.student (its own stop tokens are used)": "eos_token",
    "model.student (its own padding token is used)": "pad_token",
    "hardware=cpu": "use_cpu",
    "hardware=vllm_colocate or hardware=vllm_server": "use_vllm vllm_mode",
    "hardware.vllm_server": "vllm_server_*",
    "hardware.vllm_gpu_memory": "vllm_gpu_memory_utilization",
    "hardware.rollouts": "vllm_*",
    "hardware.rollouts (weights are handed over before every window)": "vllm_sync_frequency",
    "hardware=fsdp": "fsdp*",
    "hardware=deepspeed_zero3": "deepspeed",
    "hardware=fsdp or hardware=deepspeed_zero3": "parallelism_config",
    "hardware=multi_gpu": "local_rank",
    "hardware=multi_gpu (rows are shared out by their number)": "accelerator_config",
    "hardware.auto_microbatch": "auto_find_batch_size",
    "hardware.tokens_per_microbatch": "length_column_name packing* padding_free pad_to_multiple_of",
    "hardware.tokens_per_microbatch (a window is always decoded together)": "generation_batch_size",
    "evaluation.every_steps": "do_eval do_predict eval_strategy eval_steps eval_delay eval_on_start prediction_loss_only "
    "include_for_metrics",
    "evaluation.batch_size": "eval_* per_device_eval_batch_size batch_eval_metrics",
    "evaluation.live_samples (a samples table is always written)": "log_completions* num_completions_to_print wandb_log_unique_prompts",
    "evaluation.keep=best": "load_best_model_at_end metric_for_best_model greater_is_better",
    "train.save_steps (the only switch for checkpoints)": "save_strategy",
    "train.max_steps (every window is full)": "dataloader_drop_last",
    "prompts.max_prompt_tokens and train.max_completion_length (nothing is ever cut)": "max_length",
    "prompts.max_prompt_tokens (nothing is ever cut)": "truncation_mode",
    "prompts=jsonl or prompts=hf": "dataset_*",
    "prompts=jsonl or prompts=hf (only messages are read)": "remove_unused_columns",
    "prompts=jsonl or prompts=hf (only completions are scored)": "label_names completion_only_loss assistant_only_loss",
    "`hf upload` on the run's student/": "push_to_hub hub_*",
    "a callback in gold_style (none can be named here)": "callbacks",
}


@cache
def gold_config_fields() -> dict[str, dict[str, Any]]:
    """Field name -> {"types": [...], "choices": [...] | absent, "default", "help"}, as committed."""
    return {entry.pop("name"): entry for entry in json.loads(FIELDS_FILE.read_text(encoding="utf-8"))}


def instead_of(name: str) -> str | None:
    """The key to use instead of `train.<name>`; None where `train.<name>` is the key to use."""
    fitting = [(len(pattern), key) for key, patterns in INSTEAD.items() for pattern in patterns.split() if fnmatchcase(name, pattern)]
    return max(fitting)[1].format(name=name) if fitting else None


def allowed_fields() -> list[str]:
    """The fields that `train.*` takes."""
    return [name for name in gold_config_fields() if instead_of(name) is None]


def mistakes_in(train: dict[str, Any]) -> list[Mistake]:
    """What is wrong with the `train` section: unknown or refused fields, types, choices, ranges."""
    return [Mistake(f"train.{name}", written(value), fault) for name, value in train.items() if (fault := _fault(name, value))]


def _fault(name: str, value: Any) -> str | None:
    if name not in gold_config_fields():
        return f"not a field of TRL's GOLDConfig{did_you_mean(name, allowed_fields(), 'train.{}'.format)}"
    if other := instead_of(name):
        return f"set elsewhere; use {other}"
    try:
        return None if fitted(_hint_of(name), value) == value else "must be text"  # TRL is given the value unchanged, so no number for it
    except Misfit as misfit:
        return f"must be {misfit}"


def _hint_of(name: str) -> Any:
    """A field's annotation, as gold_style.config.mirror reads it."""
    field = gold_config_fields()[name]
    kinds = [KINDS[kind] for kind in sorted(field["types"], key="null".__eq__)]
    if choices := field.get("choices"):
        kinds[kinds.index(str)] = Literal[(*choices, *(["muon"] if name == "optim" else []))]
    intervals = [interval for interval, names in RANGES.items() if name in names.split()]
    return Annotated[reduce(or_, kinds), *intervals, name]


def describe_gold_config() -> list[dict[str, Any]]:
    """The list as the installed trl has it; imports trl, which takes seconds."""
    from trl.experimental.gold import GOLDConfig

    hints = get_type_hints(GOLDConfig)
    return [_describe(field, hints[field.name]) for field in dataclasses.fields(GOLDConfig)]


def _describe(field: dataclasses.Field, hint: Any) -> dict[str, Any]:
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    default = field.default_factory() if field.default is dataclasses.MISSING else field.default
    entry: dict[str, Any] = {"name": field.name, "types": list(dict.fromkeys(_kind_of(part) for part in parts))}
    for part in parts:
        if isinstance(part, type) and issubclass(part, enum.Enum):
            entry["choices"] = [member.value for member in part]
    entry["default"] = default.value if isinstance(default, enum.Enum) else default
    entry["help"] = " ".join(str(field.metadata.get("help", "")).split()).split(". ")[0].rstrip(".")
    return entry


def _kind_of(hint: Any) -> str:
    plain = type(get_args(hint)[0]) if get_origin(hint) is Literal else get_origin(hint) or hint
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return "str"
    return next((kind for kind, own in KINDS.items() if own is plain), "object")


def main() -> None:
    """Write the committed list from the installed trl."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in describe_gold_config())
    FIELDS_FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
