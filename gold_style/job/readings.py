"""readings.jsonl: what each side read of a few held-out requests, and how the teacher finds every token that the student then wrote.

run.write_samples(readings(inputs, teacher, exam.requests, after), "readings.jsonl")

Shapes: N tokens of an answer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from gold_style.chat import encode
from gold_style.engine.teacher import AnyTeacher, Scored
from gold_style.job.inputs import Inputs
from gold_style.measure.answers import Answer
from gold_style.prompts import Prompt

REQUESTS = 4  # read under every tag of the pack


@torch.no_grad()
def readings(inputs: Inputs, teacher: AnyTeacher, requests: Sequence[Prompt], answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """A row per answer: `style`, `request`, `student_reads`, `teacher_reads`, `tokens`.

    A token is [text, nats, the teacher's choice]: nats by which the teacher, its system prompt in view, finds its own choice likelier
    than what was written; 0 where both are the same. Tokens are the teacher's; those that share a character are one.
    """
    asked = [answer for answer in answers if answer.id < REQUESTS and answer.style in inputs.pack.tags and answer.text]
    prompts = [requests[answer.id].under(answer.style, answer.style) for answer in asked]
    ids = [tuple(encode(teacher.of(answer.style).tokenizer, answer.text)) for answer in asked]
    scored = [Scored(inputs.chat.teacher_ids(prompt), row) for prompt, row in zip(prompts, ids, strict=True)]
    rows = []
    for prompt, row, (own_N, best_N, choice_N) in zip(prompts, ids, teacher.chosen(scored), strict=True):
        texts = {"student_reads": inputs.chat.student_text(prompt), "teacher_reads": inputs.chat.teacher_text(prompt)}
        tokens = pieces(teacher.of(prompt.style).tokenizer, row, (best_N - own_N).tolist(), choice_N.tolist())
        rows.append({"style": prompt.tag, "request": prompt.request, **texts, "tokens": tokens})
    return rows


def pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], nats: Sequence[float], choices: Sequence[int]) -> list[list]:
    """[text, nats, the teacher's choice] of each stretch of tokens that ends where a character does."""
    found, start, before = [], 0, ""
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:end])
        if end == len(ids) or not text.endswith("\ufffd"):
            chosen = tokenizer.decode([*ids[:start], choices[start]])[len(before) :]
            found.append([text[len(before) :], round(sum(nats[start:end]), 3), chosen])
            start, before = end, text
    return found
