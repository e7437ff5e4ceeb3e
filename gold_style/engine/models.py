"""Hub names and local directories -> tokenizers and models; what cannot be had is said in one sentence.

tokenizer = load_tokenizer("Qwen/Qwen2.5-1.5B-Instruct", None, False)
"""

import os
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

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


def load_model(
    name: str, dtype: torch.dtype, *, revision: str | None, trust_remote_code: bool, attn_implementation: str | None
) -> PreTrainedModel:
    """A causal LM from safetensors, on the CPU. Raises ValueError when it cannot be had."""
    with _hub_errors(name):
        return AutoModelForCausalLM.from_pretrained(
            local_model(name),
            dtype=dtype,
            revision=revision,
            trust_remote_code=trust_remote_code,
            attn_implementation=attn_implementation,
            use_safetensors=True,
        )


class _hub_errors:
    """Turns what transformers and the hub raise for a missing model into one sentence."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self):
        # a hub out of reach should be said at once, not after minutes of retries
        os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
        os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "30")

    def __exit__(self, kind, error, traceback):
        if isinstance(error, ValueError) and "trust_remote_code" in str(error):
            raise ValueError(
                f"{self.name!r} comes with Python code of its own, which is not run; read it, and if you trust it, set "
                "model.trust_remote_code=true"
            ) from error
        if isinstance(error, OSError) and "safetensors" in str(error) and Path(local_model(self.name)).is_dir():
            raise ValueError(f"{self.name!r} has no weights in safetensors files, and pickled ones are not opened: {error}") from error
        if isinstance(error, (OSError, RuntimeError)) and not Path(local_model(self.name)).is_dir():
            raise ValueError(
                f"{self.name!r} is neither a local directory nor to be had from the model hub ({type(error).__name__}). Check the "
                "name and the connection, or download it elsewhere and give the directory: model.teacher=PATH model.student=PATH"
            ) from error
        return False


def context_tokens(name: str, revision: str | None, trust_remote_code: bool) -> int:
    """Longest sequence the model was built for, in tokens: its config's `max_position_embeddings`, else no limit."""
    with _hub_errors(name):
        config = AutoConfig.from_pretrained(local_model(name), revision=revision, trust_remote_code=trust_remote_code)
    return getattr(config.get_text_config(), "max_position_embeddings", None) or 10**9


def special_tokens(*tokenizers: PreTrainedTokenizerBase) -> frozenset[str]:
    """Control tokens of the chat templates: text of a row must not hold them."""
    return frozenset(t.content for tokenizer in tokenizers for t in tokenizer.added_tokens_decoder.values() if t.special)
