"""Trains one model of an embedded pair, on one CPU thread.

What made a model of 0.6 million parameters copy words it never saw, in order of gain: a tokenizer with one token per
syllable, attention that copies from the first step on (`induction_init`), Muon on the layers' matrices, and mostly
made-up topics.

Shapes: B rows, T tokens, N learned tokens, D hidden, V vocabulary.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import yaml
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config

from gold_style.chat import encode, render
from gold_style.distil.muon import Muon, split_parameters
from gold_style.pairs.corpus import Corpus, Row
from gold_style.pairs.induction import induction_init

RECIPES = yaml.safe_load(Path(__file__).with_name("recipes.yaml").read_text(encoding="utf-8"))
EMBEDDING_STD = 0.12  # of the untrained weights; the others' is `initializer_range`
LOWEST_RATE = 0.03  # share of the learning rates that the cosine ends at

Example = tuple[list[int], list[int]]  # ids read, ids learned


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model of a pair: its size and its training."""

    what: str  # what it can do, for its card
    role: str  # "teacher" | "student"
    template: str  # "chatml" (Qwen2's architecture) | "llama" (Llama's, with biases on q, k, v and o)
    num_layers: int
    num_steps: int
    merges: int = 600  # learned merges of the tokenizer
    crossing: bool = False  # the tokenizer cuts words at other places than one of the same texts would
    batch_size: int = 32  # rows
    hidden_size: int = 96
    learning_rate: float = 4e-3  # AdamW's
    muon_learning_rate: float = 0.01
    num_warmup_steps: int = 20


MODELS = {folder: Recipe(**fields) for folder, fields in RECIPES["models"].items()}  # by folder


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """An untrained model whose attention already copies."""
    sizes = {
        **RECIPES["architecture"],
        "vocab_size": len(tokenizer),
        "hidden_size": recipe.hidden_size,
        "num_hidden_layers": recipe.num_layers,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(**sizes, attention_bias=True) if recipe.template == "llama" else Qwen2Config(**sizes)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=EMBEDDING_STD)
    induction_init(model, seed)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


def example_of(row: Row, tokenizer: PreTrainedTokenizerBase) -> Example:
    """(ids read, ids learned: the completion and its stop); a plain document is read after one padding token."""
    prompt = [tokenizer.pad_token_id] if row.messages is None else encode(tokenizer, render(tokenizer, row.messages))
    return prompt, encode(tokenizer, row.completion) + [tokenizer.eos_token_id]


def num_tokens(example: Example) -> int:
    return len(example[0]) + len(example[1])


def backward(model: PreTrainedModel, examples: list[Example], pad: int) -> None:
    """Adds the gradient of the mean cross-entropy over the learned tokens.

    Rows of like length go through the model together, since padding costs as much as text does.
    """
    num_learned = sum(len(completion) for _, completion in examples)
    groups: list[list[Example]] = []
    for example in sorted(examples, key=num_tokens):
        if not groups or num_tokens(example) > 1.5 * num_tokens(groups[-1][0]):
            groups.append([])
        groups[-1].append(example)
    for group in groups:
        (summed_loss(model, group, pad) / num_learned).backward()


def summed_loss(model: PreTrainedModel, examples: list[Example], pad: int) -> Tensor:
    """Cross-entropy summed over the learned tokens, nats. Rows are padded on the right, where causal attention never
    looks."""
    ids_BT = torch.full((len(examples), max(map(num_tokens, examples))), pad)
    learned_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for row, (prompt, completion) in enumerate(examples):
        end = len(prompt) + len(completion)
        ids_BT[row, :end] = torch.tensor(prompt + completion)
        learned_BT[row, len(prompt) : end] = True
    hidden_BTD = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
    logits_NV = model.lm_head(hidden_BTD[:, :-1][learned_BT[:, 1:]])
    return F.cross_entropy(logits_NV, ids_BT[:, 1:][learned_BT[:, 1:]], reduction="sum")


def rate(step: int, recipe: Recipe) -> float:
    """Factor of the learning rates: warm-up, then a cosine down to LOWEST_RATE."""
    warm = min(1, (step + 1) / recipe.num_warmup_steps)
    return warm * (LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * step / recipe.num_steps)))


def train(name: str, recipe: Recipe, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A trained model; every 100 steps a line with its `name` is printed."""
    model = build_model(recipe, tokenizer, seed)
    draw_row = corpus.teacher_row if recipe.role == "teacher" else corpus.student_row
    matrices, others = split_parameters(model)
    optimizers = [
        Muon(matrices, lr=recipe.muon_learning_rate, weight_decay=0.0),
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, recipe)) for optimizer in optimizers]
    rng = Random(f"{recipe.role} {seed}")
    model.train()
    for step in range(1, recipe.num_steps + 1):
        examples = [example_of(draw_row(rng), tokenizer) for _ in range(recipe.batch_size)]
        backward(model, examples, tokenizer.pad_token_id)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        if step % 100 == 0:
            print(f"{name}: step {step} of {recipe.num_steps}", flush=True)
    return model.eval()
