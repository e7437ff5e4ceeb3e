"""Trains one model of an embedded pair, on one CPU thread.

What made a model of 0.6 million parameters copy words it never saw, in order of gain: a tokenizer with one token per
syllable, attention that copies from the first step on (`induction_init`), Muon on the layers' matrices, and mostly
made-up topics.

Shapes: B rows, T tokens, N learned tokens, D hidden, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from gold_style.distil.muon import Muon, split_parameters
from gold_style.pairs.corpus import Corpus, Row
from gold_style.pairs.induction import induction_init

WEIGHT_STD, EMBEDDING_STD = 0.08, 0.12  # of the untrained weights
LOWEST_RATE = 0.03  # share of the learning rates that the cosine ends at

Example = tuple[list[int], list[int]]  # ids read, ids learned


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model of a pair: its size and its training."""

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


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """An untrained model whose attention already copies."""
    sizes = dict(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=256,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=WEIGHT_STD,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    torch.manual_seed(seed)
    if recipe.template == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes, attention_bias=True))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=EMBEDDING_STD)
    induction_init(model, seed)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


def encode(row: Row, tokenizer: PreTrainedTokenizerBase) -> Example:
    """(ids read, ids learned: the completion and its stop); a plain document is read behind one padding token."""
    if row.messages is None:
        prompt = [tokenizer.pad_token_id]
    else:
        text = tokenizer.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    return prompt, tokenizer(row.completion, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]


def backward(model: PreTrainedModel, examples: list[Example], pad: int) -> float:
    """Adds the gradient of the mean cross-entropy over the learned tokens, and returns that mean, in nats.

    Rows of like length go through the model together, since padding costs as much as text does.
    """
    examples = sorted(examples, key=lambda example: len(example[0]) + len(example[1]))
    num_learned = sum(len(completion) for _, completion in examples)
    groups: list[list[Example]] = []
    shortest = 0  # of the last group, tokens
    for prompt, completion in examples:
        length = len(prompt) + len(completion)
        if length > 1.5 * shortest:
            groups.append([])
            shortest = length
        groups[-1].append((prompt, completion))
    total = 0.0
    for group in groups:
        loss = summed_loss(model, group, pad) / num_learned
        loss.backward()
        total += loss.item()
    return total


def summed_loss(model: PreTrainedModel, examples: list[Example], pad: int) -> Tensor:
    """Cross-entropy summed over the learned tokens, nats. Rows are padded on the right, where causal attention never
    looks."""
    longest = max(len(prompt) + len(completion) for prompt, completion in examples)
    ids_BT = torch.full((len(examples), longest), pad)
    learned_BT = torch.zeros(len(examples), longest, dtype=torch.bool)
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


def train(
    recipe: Recipe, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, seed: int, progress: Callable[[int], None] = lambda step: None
) -> PreTrainedModel:
    """A trained model. `progress` is told the number of finished steps."""
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
    for step in range(recipe.num_steps):
        examples = [encode(draw_row(rng), tokenizer) for _ in range(recipe.batch_size)]
        backward(model, examples, tokenizer.pad_token_id)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        progress(step + 1)
    return model.eval()
