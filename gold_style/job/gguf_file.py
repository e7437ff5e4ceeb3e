"""A student as a GGUF file, which llama.cpp, Ollama and LM Studio read: Llama and Qwen2 with a byte-level BPE tokenizer.

require_gguf(run / "student")                                      # raises ValueError for what cannot be written, before weights are read
write_gguf(run / "student", Path("bard-f16.gguf"), "F16", "bard")

Keys, names and layout are those of llama.cpp's convert_hf_to_gguf.py (https://github.com/ggml-org/llama.cpp), the format is described in
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Matrices are float16 (F16) or 8 bits with a scale for every 32 (Q8_0), the rest
is float32.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from gold_style.chat import adds_bos, stop_ids, template_stop_id
from gold_style.engine.models import load_tokenizer
from gold_style.job.shapes import table


def require_gguf(student: Path) -> None:
    """Raises ValueError where `student` cannot be written as GGUF here, with the command that may write it."""
    config, facts = AutoConfig.from_pretrained(student), table("gguf")
    found = {
        "architecture": config.model_type,
        "rotary positions": f"{config.model_type} {(getattr(config, 'rope_parameters', None) or {}).get('rope_type')}",
        "setting": next((key for key in facts["settings"] if getattr(config, key, False)), "none"),
        "tokenizer": pretokenizer(load_tokenizer(str(student), None, False)),
    }
    for what, value in found.items():
        if value not in (known := facts["written"][what]):
            other = f"llama.cpp may know it: python convert_hf_to_gguf.py {student} --outfile student.gguf"
            raise ValueError(f"{student}: {what} {value} cannot be written here (only {', '.join(known)}); {other}")
    if find_spec("gguf") is None:
        raise ValueError("the Python package gguf, which writes the file, is not installed: pip install 'gold-style[export]'")


def pretokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """llama.cpp's name for how a byte-level BPE tokenizer cuts a text before it merges; a description of any other tokenizer."""
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    cut, model = described["pre_tokenizer"] or {"type": "nothing"}, described["model"]
    cuts = cut.get("pretokenizers", [cut])
    steps = [step.get("pattern", {}).get("Regex") or step["type"] + " words" * step.get("use_regex", 0) for step in cuts]
    steps.append("whole words first" if model.get("ignore_merges") else "merges" if model["type"] == "BPE" else model["type"])
    return next((name for name, known in table("gguf")["tokenizers"].items() if known == steps), " + ".join(steps))


def write_gguf(student: Path, path: Path, kind: str, name: str) -> None:
    """Write `student` to `path`, its matrices as `kind` ("F16" or "Q8_0"); `name` is what programs show."""
    import gguf

    tokenizer = load_tokenizer(str(student), None, False)
    model = AutoModelForCausalLM.from_pretrained(student, dtype="auto", use_safetensors=True)
    config, width, kinds = model.config, model.model.layers[0].self_attn.head_dim, gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(path, config.model_type)
    facts = {"name": name, "file_type": gguf.LlamaFileType[f"MOSTLY_{kind}"], "quantization_version": gguf.GGML_QUANT_VERSION}
    facts |= {own: getattr(config, theirs) for own, theirs in table("gguf")["sizes"].items()}
    facts |= dict.fromkeys(("rope_dimension_count", "key_length", "value_length"), width)
    facts["rope_freq_base"] = config.rope_parameters["rope_theta"]
    for own, value in (facts | vocabulary(tokenizer, model)).items():
        if value is not None:
            getattr(writer, f"add_{own}")(value)
    for own, array in arrays(model).items():
        stored = kinds.F32 if array.ndim < 2 else kinds.F16 if array.shape[-1] % 32 else kinds[kind]
        writer.add_tensor(own, gguf.quantize(array, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vocabulary(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> dict[str, Any]:
    """Tokens, merges, special ids and the chat template. Rows of the embedding without a token are unused ones."""
    from gguf import TokenType

    named, stops = {i: token for token, i in tokenizer.get_vocab().items()}, stop_ids(tokenizer, model)
    kinds = [TokenType.NORMAL if i in named else TokenType.UNUSED for i in range(model.config.vocab_size)]
    for i, token in tokenizer.added_tokens_decoder.items():
        kinds[i] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    stop, merges = template_stop_id(tokenizer, stops), json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    found = {"tokenizer_model": "gpt2", "tokenizer_pre": pretokenizer(tokenizer), "chat_template": tokenizer.chat_template}
    found |= {"token_list": [named.get(i, f"[PAD{i}]") for i in range(len(kinds))], "token_types": kinds}
    found |= {"token_merges": [" ".join(pair) for pair in merges], "add_bos_token": adds_bos(tokenizer), "eos_token_id": stop}
    found["eot_token_id"] = next((other for other in stops if other != stop), None)
    return found | {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}


def arrays(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """GGUF's name -> weights in float32. llama.cpp rotates neighbouring features of a Llama's heads, transformers halves of them."""
    import gguf

    config, found = model.config, {}
    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == config.model_type)
    names, is_tied = gguf.get_tensor_name_map(arch, config.num_hidden_layers), config.tie_word_embeddings
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads} if config.model_type == "llama" else {}
    for own, tensor in model.state_dict().items():
        array, kind = tensor.float().numpy(), own.split(".")[-2]
        if kind in heads:
            array = array.reshape(heads[kind], 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
        if not (is_tied and kind == "lm_head"):
            found[names.get_name(own, (".weight", ".bias"))] = array
    if config.rope_parameters["rope_type"] != "default":  # llama.cpp divides each frequency by a factor of its own
        scaled = model.model.rotary_emb.inv_freq.float()
        found["rope_freqs.weight"] = (config.rope_parameters["rope_theta"] ** (-torch.arange(len(scaled)) / len(scaled)) / scaled).numpy()
    return found
