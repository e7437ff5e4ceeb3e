"""Hub names and local directories -> tokenizers and models; what cannot be had is said in one sentence.

tokenizer = load_tokenizer("Qwen/Qwen2.5-1.5B-Instruct", None, False)
"""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import logging

from gold_style.chat import turn_end_id
from gold_style.config.schema import Model
from gold_style.config.settings import local_model
from gold_style.engine.quantization import quantize, restore

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

logging.disable_progress_bar()  # one bar at a time: ours
logging.set_verbosity_error()


def load_tokenizer(name: str, revision: str | None, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """Raises ValueError, in one sentence with the local alternative, when the tokenizer cannot be had."""
    with _hub_errors(name):
        tokenizer = AutoTokenizer.from_pretrained(local_model(name), revision=revision, trust_remote_code=trust_remote_code)
    if not set(tokenizer.get_vocab()) - set(tokenizer.get_added_vocab()):  # transformers makes an empty one of a directory without any
        raise ValueError(f"{name!r} has no tokenizer: neither tokenizer.json nor what it could be made of")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    name: str,
    dtype: torch.dtype,
    revision: str | None,
    model: Model,
    adapters: Sequence[str] = (),
    device: torch.device | None = None,
    quantization: str = "none",
    later: Sequence[str] | None = None,
) -> PreTrainedModel:
    """A causal LM from safetensors; how it is loaded says `model`. Adapters of PEFT are added to its weights, in float32; then its linear
    layers are quantised (gold_style.engine.quantization). `later` are adapters that were trained on these: they are added to what is
    restored of them, so that all is plain.

    Every tensor goes from its file to `device` (None: the CPU): host memory never holds a whole model on the way to a GPU.
    `sources` of the model are the directories, or hub name and commit, that its weights come from, where they say that.
    Raises ValueError when it cannot be had, or does not fit.
    """
    with _hub_errors(name):
        loaded, found = AutoModelForCausalLM.from_pretrained(
            local_model(name),
            dtype=torch.float32 if adapters else dtype,
            revision=revision,
            trust_remote_code=model.trust_remote_code,
            attn_implementation=model.attn_implementation,
            use_safetensors=True,
            device_map=device,
            output_loading_info=True,
        )
    if lacking := sorted(found["missing_keys"]):
        raise ValueError(
            f"{name!r} has no weights for {', '.join(lacking[:3])} ({len(lacking)} in all): its files are those of another model"
        )
    loaded = _adapted(loaded, name, adapters, dtype)
    paths, commit = [local_model(path) for path in (name, *adapters)], getattr(loaded.config, "_commit_hash", None)
    if all(os.path.isdir(path) or (path == name and commit) for path in paths):  # an adapter from the hub names no commit
        loaded.sources = [path if os.path.isdir(path) else f"{path}@{commit}" for path in paths]
    loaded = quantize(loaded, quantization)
    return loaded if later is None else _adapted(restore(loaded), name, later, dtype)


def _adapted(model: PreTrainedModel, name: str, adapters: Sequence[str], dtype: torch.dtype) -> PreTrainedModel:
    """`model` in `dtype`, with adapters that are added in float32."""
    for number, adapter in enumerate(adapters):
        model = _with_adapter(model if number else model.float(), local_model(adapter), name)
    for parameter in model.parameters() if adapters else ():  # not buffers: rounded rotary frequencies move far positions
        parameter.data = parameter.data.to(dtype)
    return model


def shell(name: str, revision: str | None, trust_remote_code: bool) -> PreTrainedModel:
    """A causal LM without weights, from its configuration. Raises ValueError when it cannot be had."""
    with _hub_errors(name), torch.device("meta"):
        config = AutoConfig.from_pretrained(local_model(name), revision=revision, trust_remote_code=trust_remote_code)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    with contextlib.suppress(OSError):  # not every model has one
        model.generation_config = GenerationConfig.from_pretrained(local_model(name), revision=revision)
    return model


def num_parameters(name: str, revision: str | None, trust_remote_code: bool) -> int:
    """Of a causal LM; tied ones count once. Raises ValueError when it cannot be had."""
    return shell(name, revision, trust_remote_code).num_parameters()


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
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        is_local = Path(local_model(name)).is_dir()
        if isinstance(error, ValueError) and "trust_remote_code" in str(error):
            sentence = "comes with Python code of its own, which is not run; read it, and if you trust it, set model.trust_remote_code=true"
        elif isinstance(error, torch.OutOfMemoryError):
            sentence = f"does not fit into the device's memory ({str(error).partition(chr(10))[0]}): plan=here names settings that fit"
        elif isinstance(error, OSError) and "safetensors" in str(error) and is_local:
            sentence = f"has no weights in safetensors files, and pickled ones are not opened: {error}"
        elif isinstance(error, (OSError, RuntimeError)) and not is_local:
            sentence = (
                f"is neither a local directory nor to be had from the model hub ({type(error).__name__}). Check the name and the "
                "connection, or download it elsewhere and give the directory: model.teacher=PATH model.student=PATH"
            )
        else:
            sentence = f"cannot be loaded: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(f"{name!r} {sentence}") from error


@dataclass(frozen=True)
class Limits:
    """What a model's files say, before its weights are loaded, about the ids that it can read and write."""

    name: str
    tokenizer: PreTrainedTokenizerBase
    context_tokens: int  # longest sequence it was built for
    num_rows: int  # of its embedding
    stop_ids: frozenset[int]  # that some file names: a tokenizer's class may have a stop token that the model never writes
    dtype: torch.dtype | None = None  # of the weights in its files

    @classmethod
    def of(cls, name: str, revision: str | None, trust_remote_code: bool, tokenizer: PreTrainedTokenizerBase) -> "Limits":
        """Raises ValueError for what is no causal language model."""
        path = local_model(name)
        with _hub_errors(name):
            config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=trust_remote_code)
            named = [PreTrainedConfig.get_config_dict(path, revision=revision)[0].get("eos_token_id"), turn_end_id(tokenizer)]
            if get_tokenizer_config(path, revision=revision).get("eos_token"):
                named.append(tokenizer.eos_token_id)
        with contextlib.suppress(OSError):  # not every model has one
            named.append(GenerationConfig.from_pretrained(path, revision=revision).eos_token_id)
        is_known = type(config) in AutoModelForCausalLM._model_mapping or hasattr(config, "auto_map")
        if config.is_encoder_decoder or not is_known:
            raise ValueError(f"{name!r} ({config.model_type}) is no causal language model: take one that reads and writes a single text")
        stops = frozenset(i for ids in named for i in (ids if isinstance(ids, list) else [ids])) - {None}
        text = config.get_text_config()
        sizes = (getattr(text, size, None) or 10**9 for size in ("max_position_embeddings", "vocab_size"))
        return cls(name, tokenizer, *sizes, stops, config.dtype)

    def stop_mistakes(self, key: str) -> list[str]:
        """Why no answer would ever end."""
        if any(i < self.num_rows for i in self.stop_ids):
            return []
        beyond = f" below the {self.num_rows} rows of its embedding, only {sorted(self.stop_ids)}" if self.stop_ids else ""
        where = (
            "set the one that it writes after an answer, as eos_token in tokenizer_config.json or eos_token_id in generation_config.json"
        )
        return [f"{key}={self.name}: its files name no stop token{beyond}, so every answer would run into the length limit; {where}"]

    def row_mistakes(self, key: str, ids: Sequence[int]) -> list[str]:
        """Which tokens the embedding lacks, where one of these ids is of them."""
        num_tokens, num_rows = len(self.tokenizer), self.num_rows
        if max(ids, default=0) < num_rows:
            return []
        shown = ", ".join(map(repr, self.tokenizer.convert_ids_to_tokens(range(num_rows, num_tokens)[:5])))
        what = f"its tokenizer has {num_tokens} tokens and its embedding {num_rows} rows, none for {shown}, and prompts hold such tokens"
        remedy = f"call resize_token_embeddings({num_tokens}) and save the model, or save the tokenizer without them"
        return [f"{key}={self.name}: {what}; {remedy}"]


def special_tokens(*tokenizers: PreTrainedTokenizerBase) -> frozenset[str]:
    """Control tokens of the chat templates: text of a row must not hold them."""
    return frozenset(t.content for tokenizer in tokenizers for t in tokenizer.added_tokens_decoder.values() if t.special)
