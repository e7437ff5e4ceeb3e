"""What an embedded model can do, measured on requests whose topics are in no training text: greedy answers, speech
verdicts.

Every figure is a share of all answers, in [0, 1]; `joseon` and `modern` are verdicts of gold_style.speech on finished
answers, `topic` the share of answers that hold the request's topic.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gold_style.chat import render
from gold_style.pairs.corpus import Corpus
from gold_style.prompts import Message, Prompt
from gold_style.prompts.dynamic import SYLLABLES, DynamicSource
from gold_style.speech import classify

NUM_REQUESTS = 128  # of each condition
BATCH = 64  # requests answered together
MAX_NEW_TOKENS = 56


def evaluation_requests(corpus: Corpus, number: int = NUM_REQUESTS) -> Sequence[Prompt]:
    """The requests that a default run reports on."""
    return DynamicSource(corpus.pack, seed=0, eval_samples=number).evaluation()


def arbitrary_requests(corpus: Corpus, number: int = NUM_REQUESTS) -> list[Prompt]:
    """Requests about made-up words of one to four syllables, as many of each length."""
    rng, prompts = Random("arbitrary topics"), []
    for row in range(number):
        topic = "".join(rng.choice(SYLLABLES) for _ in range(1 + row % 4))
        prompts.append(Prompt(request=corpus.request(rng, topic).text, style="", tag=None, topic=topic))
    return prompts


@torch.no_grad()
def complete(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chats: Sequence[list[Message]]) -> list[str | None]:
    """Greedy completions; None where one did not come to its stop."""
    texts = [render(tokenizer, chat) for chat in chats]
    completions: list[str | None] = []
    tokenizer.padding_side = "left"
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(
            texts[start : start + BATCH], padding=True, add_special_tokens=False, return_token_type_ids=False, return_tensors="pt"
        )
        ids_BT = model.generate(**batch, do_sample=False, max_new_tokens=MAX_NEW_TOKENS)[:, batch["input_ids"].shape[1] :]
        for ids in ids_BT.tolist():
            completions.append(tokenizer.decode(ids, skip_special_tokens=True) if tokenizer.eos_token_id in ids else None)
    return completions


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], tag: str | None, system: str | None = None
) -> dict[str, float]:
    """Shares of joseon, modern and topic-keeping completions of `prompts` under `tag`, after a system turn."""
    turns = [{"role": "system", "content": system}] if system else []
    completions = complete(model, tokenizer, [[*turns, *replace(prompt, tag=tag).messages()] for prompt in prompts])
    verdicts = [classify(text).verdict if text else "unfinished" for text in completions]
    kept = [prompt.topic in (text or "") for prompt, text in zip(prompts, completions, strict=True)]
    number = len(prompts)
    return {"joseon": verdicts.count("joseon") / number, "modern": verdicts.count("modern") / number, "topic": sum(kept) / number}


def figures(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, corpus: Corpus, role: str, number: int = NUM_REQUESTS
) -> dict[str, dict[str, float]]:
    """Condition -> figures. A teacher toggles with its system prompt and not without one; a student is modern under every tag."""
    pack, asked, arbitrary = corpus.pack, evaluation_requests(corpus, number), arbitrary_requests(corpus, number)
    first, neutral = pack.tags[0], pack.neutral
    combined = replace(pack, teacher_prompt="combined").teacher_system(first)
    per_style = replace(pack, teacher_prompt="per_style")
    both, neutral_system = (first, neutral), corpus.answers["neutral_systems"][0]
    if role == "teacher":
        conditions = {f"combined prompt, {tag or 'no tag'}": (asked, tag, combined) for tag in (*both, None)}
        conditions |= {f"per-style prompt, {tag}": (asked, tag, per_style.teacher_system(tag)) for tag in both}
        conditions |= {f"no system prompt, {first}": (asked, first, None)}
        conditions |= {f"combined prompt, {tag}, arbitrary topics": (arbitrary, tag, combined) for tag in both}
    else:
        conditions = {tag or "no tag": (asked, tag, None) for tag in (*both, None)}
        conditions |= {f"neutral system prompt, {first}": (asked, first, neutral_system)}
        conditions |= {f"{tag}, arbitrary topics": (arbitrary, tag, None) for tag in both}
    return {name: measure(model, tokenizer, *condition) for name, condition in conditions.items()}
