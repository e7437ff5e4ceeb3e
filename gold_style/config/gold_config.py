"""Which fields `train.*` takes: those of TRL's GOLDConfig, from a committed list, so that no check imports trl.

`gold_config_fields.json` holds name, type, default and what it is for; a test compares it with the installed trl.
Fields that this project sets elsewhere are refused with the key to use instead.

    python -m gold_style.config.gold_config      writes the list anew (imports trl)
"""

import dataclasses
import enum
import json
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any

from gold_style import did_you_mean
from gold_style.config.mirror import Interval, Mistake, written

FIELDS_FILE = Path(__file__).with_name("gold_config_fields.json")
COUNT = Interval(1)
NOT_NEGATIVE = Interval(0)
POSITIVE = Interval(0, open_low=True)

# What TRL's own checks would only say once it is loaded, or not at all.
RANGES = {
    "per_device_train_batch_size": COUNT,
    "gradient_accumulation_steps": COUNT,
    "max_steps": Interval(1, also=(-1,)),
    "num_train_epochs": POSITIVE,
    "max_completion_length": COUNT,
    "num_generations": COUNT,
    "learning_rate": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "adam_beta1": Interval(0, 1, open_high=True),
    "adam_beta2": Interval(0, 1, open_high=True),
    "adam_epsilon": POSITIVE,
    "max_grad_norm": NOT_NEGATIVE,
    "warmup_steps": NOT_NEGATIVE,
    "logging_steps": POSITIVE,
    "save_steps": POSITIVE,
    "save_total_limit": COUNT,
    "dataloader_num_workers": NOT_NEGATIVE,
    "neftune_noise_alpha": NOT_NEGATIVE,
    "torch_empty_cache_steps": COUNT,
    "ddp_timeout": COUNT,
}

# Longest prefix first; "*" ends a prefix. Value: what to write instead.
INSTEAD = {
    "output_dir": "output_dir",
    "seed": "seed",
    "data_seed": "seed",
    "full_determinism": "seed (the same seed gives the same weights)",
    "beta": "loss.beta",
    "lmbda": "loss.lmbda",
    "temperature": "loss.temperature",
    "top_p": "loss.top_p",
    "top_k": "loss.top_k",
    "seq_kd": "loss.seq_kd",
    "use_uld_loss": "loss=uld or loss=jsd",
    "use_extended_uld": "loss=uld",
    "uld_use_hybrid_loss": "loss=uld_hybrid",
    "uld_token_merge_strategy": "loss=uld (tokens are merged by common byte boundaries)",
    "uld_*": "loss.{name}",
    "loss_type": "loss=jsd, loss=uld, loss=uld_hybrid or loss=tree",
    "label_smoothing_factor": "loss.beta (the loss has no labels to smooth)",
    "router_aux_loss_coef": "loss=... (the divergence is the whole loss)",
    "report_to": "tracker=wandb, tracker=tensorboard or tracker=none",
    "run_name": "tracker.run_name",
    "project": "tracker.project",
    "trackio_*": "tracker=wandb or tracker=tensorboard",
    "log_completions*": "evaluation.live_samples (a samples table is always written)",
    "num_completions_to_print": "evaluation.live_samples (a samples table is always written)",
    "wandb_log_unique_prompts": "evaluation.live_samples (a samples table is always written)",
    "resume_from_checkpoint": "resume",
    "ignore_data_skip": "resume (a resumed run always goes on with the next row)",
    "restore_callback_states_from_checkpoint": "resume",
    "enable_jit_checkpoint": "grace_s (signals always save)",
    "model_init_kwargs": "model.dtype or model.attn_implementation",
    "trust_remote_code": "model.trust_remote_code",
    "bf16*": "model.dtype=bfloat16",
    "fp16*": "model.dtype=float16",
    "teacher_model_name_or_path": "model.teacher",
    "teacher_model_revision": "model.teacher_revision",
    "teacher_model_init_kwargs": "model.teacher_dtype",
    "teacher_tokenizer_name_or_path": "model.teacher (its own tokenizer is used)",
    "chat_template_path": "model.student (each model's own chat template is used)",
    "eos_token": "model.student (its own stop tokens are used)",
    "pad_token": "model.student (its own padding token is used)",
    "use_cpu": "hardware=cpu",
    "use_vllm": "hardware=vllm_colocate or hardware=vllm_server",
    "vllm_mode": "hardware=vllm_colocate or hardware=vllm_server",
    "vllm_server_*": "hardware.vllm_server",
    "vllm_gpu_memory_utilization": "hardware.vllm_gpu_memory",
    "vllm_sync_frequency": "hardware.rollouts (weights are handed over before every window)",
    "vllm_*": "hardware.rollouts",
    "fsdp*": "hardware=fsdp",
    "deepspeed": "hardware=deepspeed_zero3",
    "parallelism_config": "hardware=fsdp or hardware=deepspeed_zero3",
    "accelerator_config": "hardware=multi_gpu (rows are shared out by their number)",
    "local_rank": "hardware=multi_gpu",
    "auto_find_batch_size": "hardware.auto_microbatch",
    "average_tokens_across_devices": "loss=... (the mean is over the scored tokens of all processes)",
    "generation_batch_size": "hardware.tokens_per_microbatch (a window is always decoded together)",
    "do_eval": "evaluation.every_steps",
    "do_predict": "evaluation.every_steps",
    "do_train": "dry_run",
    "eval_strategy": "evaluation.every_steps",
    "eval_steps": "evaluation.every_steps",
    "eval_delay": "evaluation.every_steps",
    "eval_on_start": "evaluation.every_steps",
    "eval_packing": "evaluation.batch_size",
    "eval_*": "evaluation.batch_size",
    "per_device_eval_batch_size": "evaluation.batch_size",
    "batch_eval_metrics": "evaluation.batch_size",
    "prediction_loss_only": "evaluation.every_steps",
    "include_for_metrics": "evaluation.every_steps",
    "load_best_model_at_end": "evaluation.keep=best",
    "metric_for_best_model": "evaluation.keep=best",
    "greater_is_better": "evaluation.keep=best",
    "save_strategy": "train.save_steps (which alone switches checkpoints on)",
    "max_length": "prompts.max_prompt_tokens and train.max_completion_length (nothing is ever cut)",
    "truncation_mode": "prompts.max_prompt_tokens (nothing is ever cut)",
    "dataset_*": "prompts=jsonl or prompts=hf",
    "remove_unused_columns": "prompts=jsonl or prompts=hf (only messages are read)",
    "label_names": "prompts=jsonl or prompts=hf (only completions are scored)",
    "completion_only_loss": "prompts=jsonl or prompts=hf (only completions are scored)",
    "assistant_only_loss": "prompts=jsonl or prompts=hf (only completions are scored)",
    "shuffle_dataset": "seed (rows are drawn from seed and row number)",
    "train_sampling_strategy": "seed (rows are drawn from seed and row number)",
    "length_column_name": "hardware.tokens_per_microbatch",
    "dataloader_drop_last": "train.max_steps (every window is full)",
    "packing*": "hardware.tokens_per_microbatch",
    "padding_free": "hardware.tokens_per_microbatch",
    "pad_to_multiple_of": "hardware.tokens_per_microbatch",
    "push_to_hub": "`hf upload` on the run's student/",
    "hub_*": "`hf upload` on the run's student/",
    "callbacks": "a callback in gold_style (none can be named here)",
}


@cache
def gold_config_fields() -> dict[str, dict[str, Any]]:
    """Field name -> {"types": [...], "choices": [...] | absent, "default", "help"}, as committed."""
    return {entry.pop("name"): entry for entry in json.loads(FIELDS_FILE.read_text(encoding="utf-8"))}


def instead_of(name: str) -> str | None:
    """The key to use instead of `train.<name>`; None where `train.<name>` is the key to use."""
    matches = [key for key in INSTEAD if name == key or (key.endswith("*") and name.startswith(key[:-1]))]
    return INSTEAD[max(matches, key=len)].format(name=name) if matches else None


def allowed_fields() -> list[str]:
    """The fields that `train.*` takes."""
    return [name for name in gold_config_fields() if instead_of(name) is None]


def train_mistakes(train: dict[str, Any]) -> list[Mistake]:
    """What is wrong with the `train` section: unknown or refused fields, types, choices, ranges."""
    return [mistake for name, value in train.items() if (mistake := _field_mistake(name, value))]


def _field_mistake(name: str, value: Any) -> Mistake | None:
    key, text = f"train.{name}", written(value)
    field = gold_config_fields().get(name)
    if field is None:
        return Mistake(key, text, f"not a field of TRL's GOLDConfig{did_you_mean(name, allowed_fields(), 'train.{}'.format)}")
    if other := instead_of(name):
        return Mistake(key, text, f"set elsewhere; use {other}")
    if not any(_has_type(value, kind) for kind in field["types"]):
        return Mistake(key, text, f"must be {' or '.join(field['types'])}")
    choices = field.get("choices", [])
    if name == "optim":
        choices = [*choices, "muon"]
    if choices and isinstance(value, str) and value not in choices:
        return Mistake(key, text, f"must be one of {', '.join(choices)}{did_you_mean(value, choices)}")
    if name in RANGES and value is not None and value not in RANGES[name]:
        return Mistake(key, text, f"must be {RANGES[name]}")
    return None


def _has_type(value: Any, kind: str) -> bool:
    if kind == "null":
        return value is None
    if isinstance(value, bool):
        return kind == "bool"
    if isinstance(value, int):
        return kind in ("int", "float")
    plain = {"int": float, "float": float, "str": str, "list": list, "dict": dict}
    whole = kind != "int" or (isinstance(value, float) and value.is_integer())
    return kind in plain and isinstance(value, plain[kind]) and whole


def describe_gold_config() -> list[dict[str, Any]]:
    """The list as the installed trl has it; imports trl, which takes seconds."""
    from trl.experimental.gold import GOLDConfig

    hints = typing.get_type_hints(GOLDConfig)
    return [_describe(field, hints[field.name]) for field in dataclasses.fields(GOLDConfig)]


def _describe(field: dataclasses.Field, hint: Any) -> dict[str, Any]:
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    default = field.default_factory() if field.default is dataclasses.MISSING else field.default
    entry: dict[str, Any] = {"name": field.name, "types": list(dict.fromkeys(_type_name(part) for part in parts))}
    for part in parts:
        if isinstance(part, type) and issubclass(part, enum.Enum):
            entry["choices"] = [member.value for member in part]
    entry["default"] = default.value if isinstance(default, enum.Enum) else default
    entry["help"] = " ".join(str(field.metadata.get("help", "")).split()).split(". ")[0].rstrip(".")
    return entry


def _type_name(hint: Any) -> str:
    origin = typing.get_origin(hint) or hint
    names = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict", type(None): "null"}
    if origin is typing.Literal:
        return names[type(typing.get_args(hint)[0])]
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return "str"
    return names.get(origin, "object")


def main() -> None:
    """Write the committed list from the installed trl."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in describe_gold_config())
    FIELDS_FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
