"""The files of student/: what `save_pretrained` writes, in the form that transformers 4 reads, too.

write_student(run.student, student, state, tokenizer, output_ids)

transformers 5 renamed what it writes, and transformers 4 (which vLLM and many notebooks pin) skips the new names silently: without
`rope_theta` it rotates with 10,000, whatever the model was trained with. So the old names are written as well; both versions read
those that they know. `make test-transformers4` opens a student with a pinned transformers 4.
"""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from gold_style.engine.rollout import OutputIds
from gold_style.runs.files import full_disk_explained, write_json


def write_student(
    directory: Path, student: PreTrainedModel, state: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerBase, output_ids: OutputIds
) -> None:
    """Weights of `state` under the names of `from_pretrained`, config, tokenizer with chat template, and a generation config that
    stops where the run stopped and decodes greedily, as evaluation did: a penalty or cut of the base model was not measured."""
    student.generation_config = GenerationConfig(
        eos_token_id=list(output_ids.stop_ids), pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id
    )
    config = copy.deepcopy(student.config)  # it names the dtype of the live weights and the cache of training: say that of the files
    config.dtype, config.use_cache = next(iter(state.values())).dtype, True
    with full_disk_explained(directory.parent, "the student"):
        student.save_pretrained(directory, state_dict=state)
    config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    for name, old_names in {"config.json": _model_names, "tokenizer_config.json": _tokenizer_names}.items():
        written = json.loads((directory / name).read_text(encoding="utf-8"))
        write_json(directory / name, old_names(written))


def _model_names(config: dict[str, Any]) -> dict[str, Any]:
    """Adds for `rope_parameters` the keys that it replaced, and `torch_dtype` for `dtype`; nested configs, too."""
    config = {key: _model_names(value) if key.endswith("_config") and isinstance(value, dict) else value for key, value in config.items()}
    rope = config.get("rope_parameters") or {}
    if local := rope.get("sliding_attention"):
        config["rope_local_base_freq"] = local["rope_theta"]
    rope = rope.get("full_attention", rope)
    own = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
    if own:
        scaling = {key: value for key, value in rope.items() if key not in own}
        config["rope_scaling"] = scaling if scaling.get("rope_type", "default") != "default" else None
    return config | own | ({"torch_dtype": config["dtype"]} if "dtype" in config else {})


def _tokenizer_names(config: dict[str, Any]) -> dict[str, Any]:
    """`PreTrainedTokenizerFast` and `additional_special_tokens`, which both versions know; nothing about the machine that wrote it."""
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    return {key: value for key, value in config.items() if key not in ("is_local", "local_files_only")}
