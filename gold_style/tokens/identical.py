"""Do two tokenizers give every id the same meaning? Then token ids, not text, pass from student to teacher.

    identical_tokenizers(student_tokenizer, teacher_tokenizer)  # Qwen2.5 1.5B and 7B: True, whatever their templates

What decides is how text becomes ids: vocabulary, merges (or piece scores), normaliser, pre-tokeniser and added tokens.
Chat templates, padding sides, default special tokens and padded rows of the model's head do not matter.
"""

import json

from transformers import PreTrainedTokenizerBase


def identical_tokenizers(a: PreTrainedTokenizerBase, b: PreTrainedTokenizerBase) -> bool:
    """True where ids below min(len(a), len(b)) mean the same on both sides and text is split alike.

    One side may have further added tokens after the shared ids (Qwen3's `<think>` after Qwen2.5's vocabulary).
    """
    shared = min(len(a), len(b))
    if _vocabulary(a, shared) != _vocabulary(b, shared):
        return False
    backend_a, backend_b = getattr(a, "backend_tokenizer", None), getattr(b, "backend_tokenizer", None)
    if backend_a is None or backend_b is None:  # a tokenizer written in Python: only its own class splits as it does
        return type(a) is type(b)
    return _behaviour(backend_a.to_str(), shared) == _behaviour(backend_b.to_str(), shared)


def _vocabulary(tokenizer: PreTrainedTokenizerBase, shared: int) -> dict[str, int]:
    return {token: index for token, index in tokenizer.get_vocab().items() if index < shared}


def _behaviour(backend_json: str, shared: int) -> dict:
    """The parts of a `tokenizer.json` that decide which ids a text becomes."""
    backend = json.loads(backend_json)
    model = dict(backend["model"])
    if isinstance(model.get("vocab"), dict):  # compared by id above; a list (Unigram) holds scores and stays
        model.pop("vocab")
    added = {token["id"]: token["content"] for token in backend.get("added_tokens", []) if token["id"] < shared}
    return {"model": model, "normalizer": backend.get("normalizer"), "pre_tokenizer": backend.get("pre_tokenizer"), "added_tokens": added}
