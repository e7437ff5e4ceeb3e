"""Sizes of a model before it is there: of known ones from models.yaml, of a local one from its config.json. No torch, no network.

shape_of("model.student", "Qwen/Qwen2.5-1.5B-Instruct").parameters      # 1543714304
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gold_style import did_you_mean
from gold_style.config.settings import find_directory
from gold_style.config.yaml_file import read_mapping

SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")


@cache
def table(name: str) -> dict[str, Any]:
    """A YAML file beside this module."""
    return read_mapping(Path(__file__).with_name(f"{name}.yaml"))


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder; numbers of weights or of a token's features."""

    layers: int
    hidden: int
    queries: int  # of all heads
    keys: int
    inner: int
    head: int  # weights of the head, as many as of the embedding
    embeddings: int  # weights of both, tied ones once
    parameters: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Shape":
        """From a config.json. Raises KeyError for a size that it lacks, ValueError for layers of another kind."""
        config = config.get("text_config") or config
        if strange := [key for key in config if "experts" in key]:
            raise ValueError(f"{strange[0]}: experts are not counted here")
        layers, hidden, heads, inner, vocab = (config[name] for name in SIZES)
        width = config.get("head_dim") or hidden // heads
        queries, keys = heads * width, (config.get("num_key_value_heads") or heads) * width
        embeddings = vocab * hidden * (1 if config.get("tie_word_embeddings") else 2)
        extra = {"qwen2": queries + 2 * keys, "qwen3": 2 * width}.get(config.get("model_type"), 0)  # biases; norms of heads
        extra += queries + 2 * keys + hidden if config.get("attention_bias") else 0
        own = embeddings + hidden + layers * (2 * hidden * (queries + keys) + 3 * hidden * inner + 2 * hidden + extra)
        return cls(layers, hidden, queries, keys, inner, vocab * hidden, embeddings, own)

    @property
    def trunk(self) -> int:
        """Weights of the layers."""
        return self.parameters - self.embeddings

    @property
    def cached(self) -> int:
        """Numbers in the keys and values of one token."""
        return 2 * self.layers * self.keys


def known(name: str) -> dict[str, Any] | None:
    """What models.yaml says of a hub name, or of a directory that is called like a model there."""
    models, last = table("models"), Path(name).name.casefold()
    return models.get(name) or next((facts for key, facts in models.items() if Path(key).name.casefold() == last), None)


@cache
def shape_of(key: str, name: str) -> Shape:
    """Raises ValueError, in a sentence, for a model whose sizes are not known here."""
    directory = find_directory(name)
    if (directory / "config.json").is_file():
        try:
            return Shape.of(json.loads((directory / "config.json").read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{key}={name}: its config.json does not say what a plan needs ({error})") from None
    if facts := known(name):
        return Shape.of(facts)
    reason = "its sizes are not known here, and a plan does not ask the hub; give a local directory with its config.json"
    raise ValueError(f"{key}={name}: {reason}{did_you_mean(name, table('models'))}")
