"""P(style opening): how likely a model begins an answer the way the teacher does, before any training.

On-policy learning only corrects what the student itself writes. If it never writes a style's opening there is nothing to correct:
for beta > 0 the gradient on a token of student probability s shrinks like s log s. So this is measured before training and shown;
`loss.beta=0` has no such limit (docs/cold_start.md), `loss.warm_start_steps` or `loss.seq_kd` start the student on teacher-written text.

An opening is the first OPENING_TOKENS tokens of a completion that the teacher samples with its system prompt in view.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gold_style.distil.row_maker import RowMaker
from gold_style.engine.backbone import Backbone
from gold_style.engine.draws import uniforms
from gold_style.engine.packed_reading import read_states
from gold_style.engine.reader import MAX_TOKENS, Row
from gold_style.engine.rollout import Sampling, candidates
from gold_style.engine.teacher import Scored
from gold_style.prompts import Prompt

OPENING_TOKENS = 3
NUM_PROMPTS = 32
ENOUGH_OPENINGS = 20  # expected openings in the on-policy completions of a run, below which training can hardly start


@dataclass(frozen=True)
class Opening:
    """Probabilities of all tokens of the teacher's openings under one style, means over prompts."""

    style: str
    student: float
    teacher: float
    student_in_nucleus: float  # share of openings whose every token lies in the student's sampling nucleus


@torch.no_grad()
def measure_openings(row_maker: RowMaker, student: Backbone, prompts: Sequence[Prompt], styles: Sequence[str]) -> list[Opening]:
    """One Opening for each style, on the same requests under every tag."""
    found, teacher, chat, options = [], row_maker.teacher, row_maker.chat, row_maker.options
    for style in styles:
        asked = [prompt.under(style, style) for prompt in prompts[:NUM_PROMPTS]]
        teacher_prompts = [chat.teacher_ids(prompt) for prompt in asked]
        uniforms_BG = uniforms([(options.seed, "opening", style, prompt.request) for prompt in asked], OPENING_TOKENS)
        written = teacher.generate(teacher_prompts, max_new_tokens=OPENING_TOKENS, sampling=options.sampling, uniforms_BG=uniforms_BG)
        scored = [Scored(prompt, completion.ids) for prompt, completion in zip(teacher_prompts, written, strict=True)]
        as_student = [row_maker.objective.to_student_ids(completion, style).ids for completion in written]
        rows = [(chat.student_ids(prompt), ids) for prompt, ids in zip(asked, as_student, strict=True) if ids]
        of_student = _scored(student, rows, row_maker)
        found.append(
            Opening(
                style=style,
                student=_mean([math.exp(logprob) for logprob, _ in of_student]),
                teacher=_mean([math.exp(sum(logprobs)) for logprobs in teacher.logprobs(scored)]),
                student_in_nucleus=_mean([float(inside) for _, inside in of_student]),
            )
        )
    return found


def _scored(student: Backbone, rows: Sequence[Row], row_maker: RowMaker) -> list[tuple[float, bool]]:
    """Log-probability of each completion after its prompt, and whether the student could draw every token of it."""
    sequences, found = [(*prompt, *completion[:-1]) for prompt, completion in rows], []
    states = read_states(student, sequences, [len(completion) for _, completion in rows], None, MAX_TOKENS)
    for (_, completion), hidden_ND in zip(rows, states, strict=True):
        logits_NV = student.logits(hidden_ND)[:, : row_maker.output_ids.vocab_size].float()
        chosen_N1 = torch.tensor(completion, device=student.device)[:, None]
        logprobs_N = logits_NV.log_softmax(-1).gather(1, chosen_N1)[:, 0]
        found.append((float(logprobs_N.sum()), bool(_can_be_drawn(logits_NV, chosen_N1, row_maker.options.sampling).all())))
    return found


def _can_be_drawn(logits_NV: Tensor, chosen_N1: Tensor, sampling: Sampling) -> Tensor:
    """Whether each chosen token is among those that `rollout.draw` can return, shape (N,)."""
    ids_NK, probs_NK = candidates(logits_NV, sampling)
    return ((ids_NK == chosen_N1) & (probs_NK > 0)).any(-1)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def cold_start_warning(opening: Opening, on_policy_rows: float, *, reads_beta: bool = True) -> str | None:
    """A warning, for beta > 0, where the student would hardly ever write this opening by itself in `on_policy_rows` completions."""
    expected = opening.student * on_policy_rows
    if not on_policy_rows or expected >= ENOUGH_OPENINGS:
        return None
    return (
        f"P(style opening | <style:{opening.style}>) of the student is {opening.student:.1e}: about {expected:.1f} of the run's "
        f"{on_policy_rows:.0f} on-policy completions would begin that way, too few to learn from. "
        f"{'Set loss.beta=0, which does not need them, or start' if reads_beta else 'Start'} on teacher-written text: "
        "loss.warm_start_steps=50 (a warm start: the first steps train on the teacher's answers), or loss.seq_kd=true loss.lmbda=0.5"
    )
