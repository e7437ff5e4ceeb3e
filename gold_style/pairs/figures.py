"""What an embedded model can do, measured on requests whose topics stand in no training text: greedy answers, speech
verdicts.

Every figure is a share of all answers, in [0, 1]; `joseon` and `modern` are verdicts of gold_style.speech on finished
answers, `topic` the share of answers that hold the request's topic.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gold_style.pairs.corpus import Corpus
from gold_style.prompts.dynamic import SYLLABLES, DynamicSource
from gold_style.speech import classify
from gold_style.styles import tagged

NUM_REQUESTS = 128  # of each condition
BATCH = 64  # requests answered together
MAX_NEW_TOKENS = 56


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request with its topic."""

    text: str
    topic: str


def evaluation_requests(corpus: Corpus, number: int = NUM_REQUESTS) -> list[Asked]:
    """The requests that a default run reports on."""
    source = DynamicSource(corpus.pack, seed=0, eval_samples=number)
    return [Asked(text=prompt.request, topic=prompt.topic) for prompt in source.evaluation()]


def arbitrary_requests(corpus: Corpus, number: int = NUM_REQUESTS) -> list[Asked]:
    """Requests about made-up words of one to four syllables, as many of each length."""
    rng, asked = Random("arbitrary topics"), []
    for row in range(number):
        topic = "".join(rng.choice(SYLLABLES) for _ in range(1 + row % 4))
        asked.append(Asked(text=corpus.request(rng, topic).text, topic=topic))
    return asked


@torch.no_grad()
def complete(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chats: Sequence[list[dict]]) -> list[str | None]:
    """Greedy completions; None where one did not come to its stop."""
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    completions: list[str | None] = []
    tokenizer.padding_side = "left"
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(texts[start : start + BATCH], padding=True, add_special_tokens=False, return_tensors="pt")
        ids_BT = model.generate(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], do_sample=False, max_new_tokens=MAX_NEW_TOKENS
        )[:, batch["input_ids"].shape[1] :]
        for ids in ids_BT.tolist():
            stopped = tokenizer.eos_token_id in ids
            completions.append(tokenizer.decode(ids, skip_special_tokens=True) if stopped else None)
    return completions


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: Sequence[Asked], tag: str | None, system: str | None = None
) -> dict[str, float]:
    """Shares of joseon, modern and topic-keeping completions of `asked` under `tag`, behind a system turn."""
    turns = [{"role": "system", "content": system}] if system else []
    chats = [[*turns, {"role": "user", "content": tagged(tag, request.text)}] for request in asked]
    completions = complete(model, tokenizer, chats)
    verdicts = [classify(text).verdict if text else "unfinished" for text in completions]
    kept = [request.topic in (text or "") for request, text in zip(asked, completions, strict=True)]
    number = len(asked)
    return {"joseon": verdicts.count("joseon") / number, "modern": verdicts.count("modern") / number, "topic": sum(kept) / number}


def teacher_figures(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, corpus: Corpus, number: int = NUM_REQUESTS
) -> dict[str, dict[str, float]]:
    """Condition -> figures: with its system prompt it toggles, without one it does not."""
    pack, asked, arbitrary = corpus.pack, evaluation_requests(corpus, number), arbitrary_requests(corpus, number)
    first, neutral = pack.tags[0], pack.neutral
    combined = replace(pack, teacher_prompt="combined").teacher_system(first)
    per_style = replace(pack, teacher_prompt="per_style")
    conditions = {
        f"combined prompt, {first}": (asked, first, combined),
        f"combined prompt, {neutral}": (asked, neutral, combined),
        "combined prompt, no tag": (asked, None, combined),
        f"per-style prompt, {first}": (asked, first, per_style.teacher_system(first)),
        f"per-style prompt, {neutral}": (asked, neutral, per_style.teacher_system(neutral)),
        f"no system prompt, {first}": (asked, first, None),
        f"combined prompt, {first}, arbitrary topics": (arbitrary, first, combined),
        f"combined prompt, {neutral}, arbitrary topics": (arbitrary, neutral, combined),
    }
    return {name: measure(model, tokenizer, *condition) for name, condition in conditions.items()}


def student_figures(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, corpus: Corpus, number: int = NUM_REQUESTS
) -> dict[str, dict[str, float]]:
    """Condition -> figures: modern under every tag."""
    pack, asked, arbitrary = corpus.pack, evaluation_requests(corpus, number), arbitrary_requests(corpus, number)
    first, neutral = pack.tags[0], pack.neutral
    conditions = {
        first: (asked, first, None),
        neutral: (asked, neutral, None),
        "no tag": (asked, None, None),
        f"neutral system prompt, {first}": (asked, first, corpus.answers["neutral_systems"][0]),
        f"{first}, arbitrary topics": (arbitrary, first, None),
        f"{neutral}, arbitrary topics": (arbitrary, neutral, None),
    }
    return {name: measure(model, tokenizer, *condition) for name, condition in conditions.items()}
