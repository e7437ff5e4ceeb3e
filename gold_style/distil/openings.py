"""P(style opening): how likely a model begins an answer the way the teacher does, before any training.

On-policy learning only corrects what the student itself writes. If it never writes a style's opening there is nothing to correct:
for beta > 0 the gradient on a token of student probability s shrinks like s log s. So this is measured before training and shown;
`loss.warm_start_steps` or `loss.seq_kd` start the student on teacher-written text.

An opening is the first OPENING_TOKENS tokens of a completion that the teacher samples with its system prompt in view.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gold_style.distil.rows import RowMaker
from gold_style.engine.backbone import Backbone, right_pad
from gold_style.engine.draws import uniforms
from gold_style.engine.rollout import Sampling
from gold_style.prompts import Prompt

OPENING_TOKENS = 3
NUM_PROMPTS = 32
ENOUGH_OPENINGS = 20  # expected openings in the on-policy completions of a whole run, below which training can hardly start


@dataclass(frozen=True)
class Opening:
    """Probabilities of the teacher's whole openings under one style, means over prompts."""

    style: str
    student: float
    teacher: float
    student_in_nucleus: float  # share of openings whose every token lies in the student's sampling nucleus


@torch.no_grad()
def measure_openings(row_maker: RowMaker, student: Backbone, prompts: Sequence[Prompt], styles: Sequence[str]) -> list[Opening]:
    """One Opening for each style, on the same requests under every tag."""
    found, teacher, chat, sampling = [], row_maker.teacher, row_maker.chat, row_maker.options.sampling
    for style in styles:
        asked = [prompt.under(style, style) for prompt in prompts[:NUM_PROMPTS]]
        teacher_prompts = [chat.teacher_ids(prompt) for prompt in asked]
        keys = [(row_maker.options.seed, "opening", style, prompt.request) for prompt in asked]
        written = teacher.generate(
            teacher_prompts, max_new_tokens=OPENING_TOKENS, sampling=sampling, uniforms_BG=uniforms(keys, OPENING_TOKENS)
        )
        teacher_logprobs = [
            _logprobs(teacher.backbone, prompt.prefix + prompt.rest, completion.ids, sampling, teacher.output_ids.vocab_size)[0]
            for prompt, completion in zip(teacher_prompts, written, strict=True)
        ]
        as_student = [row_maker.objective.to_student_ids(completion).ids for completion in written]
        of_student = [
            _logprobs(student, chat.student_ids(prompt), ids, sampling, row_maker.output_ids.vocab_size)
            for prompt, ids in zip(asked, as_student, strict=True)
            if ids
        ]
        found.append(
            Opening(
                style=style,
                student=_mean([math.exp(logprob) for logprob, _ in of_student]),
                teacher=_mean([math.exp(logprob) for logprob in teacher_logprobs]),
                student_in_nucleus=_mean([float(inside) for _, inside in of_student]),
            )
        )
    return found


def _logprobs(
    backbone: Backbone, prompt: Sequence[int], completion: Sequence[int], sampling: Sampling, vocab_size: int
) -> tuple[float, bool]:
    """Log-probability of the completion behind the prompt, and whether every token of it can be sampled at all."""
    ids_BT = right_pad([(*prompt, *completion[:-1])], 0, backbone.device)
    hidden_ND = backbone.hidden(ids_BT)[0, len(prompt) - 1 :]
    logits_NV = backbone.logits(hidden_ND)[:, :vocab_size].float()
    chosen_N1 = torch.tensor(completion, device=backbone.device)[:, None]
    logprobs_N = logits_NV.log_softmax(-1).gather(1, chosen_N1)[:, 0]
    return float(logprobs_N.sum()), bool(_can_be_drawn(logits_NV, chosen_N1, sampling).all())


def _can_be_drawn(logits_NV: Tensor, chosen_N1: Tensor, sampling: Sampling) -> Tensor:
    """Whether each chosen token lies among those that `rollout.draw` can return, shape (N,)."""
    if sampling.temperature == 0:
        return logits_NV.argmax(-1) == chosen_N1[:, 0]
    logits_NV = logits_NV / sampling.temperature
    if sampling.top_k:
        least_N1 = logits_NV.topk(min(sampling.top_k, logits_NV.shape[-1])).values[:, -1:]
        logits_NV = logits_NV.masked_fill(logits_NV < least_N1, -torch.inf)
    probs_NV = logits_NV.softmax(-1)
    probs_N1 = probs_NV.gather(1, chosen_N1)
    before_N = torch.where(probs_NV > probs_N1, probs_NV, 0).sum(-1)
    return (probs_N1[:, 0] > 0) & (before_N < sampling.top_p)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def cold_start_warning(opening: Opening, on_policy_rows: float) -> str | None:
    """A warning where the student would hardly ever write this opening by itself in `on_policy_rows` completions."""
    expected = opening.student * on_policy_rows
    if not on_policy_rows or expected >= ENOUGH_OPENINGS:
        return None
    return (
        f"P(style opening | <style:{opening.style}>) of the student is {opening.student:.1e}: about {expected:.1f} of the run's "
        f"{on_policy_rows:.0f} on-policy completions would begin that way, too few to learn from. Start on teacher-written text: "
        "loss.warm_start_steps=50, or loss.seq_kd=true loss.lmbda=0.5"
    )
