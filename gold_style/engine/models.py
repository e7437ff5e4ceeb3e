"""Hub names and local directories -> tokenizers and models; what cannot be had is said in one sentence.

tokenizer = load_tokenizer("Qwen/Qwen2.5-1.5B-Instruct", None, False)
"""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from gold_style.config.schema import Model
from gold_style.config.settings import local_model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

logging.disable_progress_bar()  # one bar at a time: ours
logging.set_verbosity_error()


def load_tokenizer(name: str, revision: str | None, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """Raises ValueError, in one sentence with the local alternative, when the tokenizer cannot be had."""
    with _hub_errors(name):
        tokenizer = AutoTokenizer.from_pretrained(local_model(name), revision=revision, trust_remote_code=trust_remote_code)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(name: str, dtype: torch.dtype, revision: str | None, model: Model, adapters: Sequence[str] = ()) -> PreTrainedModel:
    """A causal LM from safetensors, on the CPU; how it is loaded says `model`. Adapters of PEFT are added to its weights, in float32.

    Raises ValueError when it cannot be had.
    """
    with _hub_errors(name):
        loaded = AutoModelForCausalLM.from_pretrained(
            local_model(name),
            dtype=torch.float32 if adapters else dtype,
            revision=revision,
            trust_remote_code=model.trust_remote_code,
            attn_implementation=model.attn_implementation,
            use_safetensors=True,
        )
    for adapter in adapters:
        loaded = _with_adapter(loaded, local_model(adapter), name)
    for parameter in loaded.parameters() if adapters else ():  # not buffers: rounded rotary frequencies move far positions
        parameter.data = parameter.data.to(dtype)
    return loaded


def _with_adapter(model: PreTrainedModel, adapter: str, name: str) -> PreTrainedModel:
    """`model` with an adapter merged into its weights. Raises ValueError where it cannot be had, or was trained on another model."""
    from peft import PeftModel, get_peft_model_state_dict, load_peft_weights

    try:
        with warnings.catch_warnings(action="ignore"):
            adapted = PeftModel.from_pretrained(model, adapter)
            named = adapted.peft_config["default"].base_model_name_or_path or name
            are_paths = [os.path.isabs(local_model(text)) for text in (named, name)]
            if are_paths[0] == are_paths[1] and Path(named).name != Path(name).name:  # a path may be another one elsewhere
                raise ValueError(f"it was trained on {named} (base_model_name_or_path in its adapter_config.json)")
            stored = load_peft_weights(adapter, device="cpu").keys()
            if strange := stored ^ get_peft_model_state_dict(adapted).keys():
                raise ValueError(f"{len(strange)} of its weights have no place there, or are missing, for instance {min(strange)}")
            return adapted.merge_and_unload().requires_grad_(True)
    except Exception as error:  # PEFT raises whatever its parts do
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the adapter {adapter} cannot be added to {name}: {type(error).__name__}: {reason}") from error


@contextlib.contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Turns what transformers and the hub raise for a missing model into one sentence."""
    # a hub out of reach should be said at once, not after minutes of retries
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "30")
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        is_local = Path(local_model(name)).is_dir()
        if isinstance(error, ValueError) and "trust_remote_code" in str(error):
            sentence = "comes with Python code of its own, which is not run; read it, and if you trust it, set model.trust_remote_code=true"
        elif isinstance(error, OSError) and "safetensors" in str(error) and is_local:
            sentence = f"has no weights in safetensors files, and pickled ones are not opened: {error}"
        elif isinstance(error, (OSError, RuntimeError)) and not is_local:
            sentence = (
                f"is neither a local directory nor to be had from the model hub ({type(error).__name__}). Check the name and the "
                "connection, or download it elsewhere and give the directory: model.teacher=PATH model.student=PATH"
            )
        else:
            raise
        raise ValueError(f"{name!r} {sentence}") from error


def context_tokens(name: str, revision: str | None, trust_remote_code: bool) -> int:
    """Longest sequence the model was built for, in tokens: its config's `max_position_embeddings`, else no limit."""
    with _hub_errors(name):
        config = AutoConfig.from_pretrained(local_model(name), revision=revision, trust_remote_code=trust_remote_code)
    return getattr(config.get_text_config(), "max_position_embeddings", None) or 10**9


def special_tokens(*tokenizers: PreTrainedTokenizerBase) -> frozenset[str]:
    """Control tokens of the chat templates: text of a row must not hold them."""
    return frozenset(t.content for tokenizer in tokenizers for t in tokenizer.added_tokens_decoder.values() if t.special)
