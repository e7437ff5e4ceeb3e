"""The `tree` loss: the teacher's next-token distribution, carried over to the student's vocabulary, byte by byte.

For two different tokenizers whose tokens may begin and end anywhere (neither needs to be the finer one).

    lifting = Lifting(student_tokenizer, teacher_tokenizer, student_stop_ids, teacher_stop_ids)
    tree = Tree(lifting=lifting, beta=0.3)
    loss_P, _ = tree.per_unit(student_logits_NV, teacher_logits_MV, student_ids, teacher_ids, spans, teacher_lengths)

Let a student token begin at byte b of the completion, and s be the student's distribution there. The real teacher
tokens t_0, t_1, ... begin at bytes o_0 < o_1 < ...; p_m is the teacher's distribution at o_m, and t_J is the token that
holds byte b. x[i:j] are the completion's bytes. What the teacher says about the bytes from b on, given those before it,
is a sum over *events* e: "the teacher writes these tokens, the last of which runs beyond b":

1. a token w at row J: w begins with x[o_J:b] and is longer.                                  P = p_J(w)
2. a token w at an earlier row m: w begins with x[o_m:b] and is longer.    P = p_m(w) / (p_m(t_m) ... p_{J-1}(t_{J-1}))
   (A teacher that has ended a token at or before b knows that none of these was to come; the student does not.)
3. instead of w = t_J: t_J and a token w after it, then t_J, t_{J+1} and w ..., as far as student tokens run beyond
   these real tokens, or the text decides how the student cuts.                                P = p_J(t_J) ... p_k(w)
4. if o_J < b, a token v shorter than x[o_J:b] and unknown ones after it: p_J(v) times the student's probability of
   what it wrote after v, in place of the teacher's.

Each event says the text beyond b up to some byte, and with it A(e), the student tokens that may come next: the token of
exactly this text, and longer ones that the teacher would write beginning with the same tokens (where there is neither,
the first token of its segmentation); for 4., all that the teacher would not have joined with v. Stop tokens name each
other, other special tokens likewise. An event weighs w(e) = 1; but if the student, with this text before it, would not
have ended its *previous* token at b, then AGAINST_CUT (events 1, 3) or 0 (events 2): that its token ended there tells it
that this is not to come. Where a longer student token would restore the cut, the event's mass there is open, up to the
teacher's; but if nearly all of the teacher's mass is of this kind (the rest is below AGAINST_CUT of it), the student did
cut against its own segmentation, and these events weigh 1 as well: what it should write next matters more than how it
came to this position.

    q(u) = 1/Z  sum over e of P(e) w(e) s(u) / s(A(e)),  u in A(e):    sums to 1, as s does; constant in the gradient
    loss = sum over student tokens of JSD_beta(s, q)                   in nats

counted per *student token inside a span*, the stop included. What an event leaves open gets the student's proportions:
for disjoint events s/q is then equal within A, so that A counts as one class with probabilities s(A) and P(e), in value
and gradient, and nothing is said about proportions inside of it. With identical tokenizers q = p (special tokens but the
stop as one class): the token-exact JSD. A student that writes the teacher's text distribution in its own segmentation
has loss 0 where the limits below do not reach (tests measure it).

Limits. (a) Of a stretch of text only the tokenizers' own segmentations count; the teacher's mass on others is read as
text that continues differently. (b) After teacher tokens that are not the real ones nothing is known: no second forward
pass looks there. This includes cuts of the *written* bytes that only another continuation would bring about, and which
of two student tokens with a common beginning it would have been: the longer one is assumed. (c) How a token is cut is
judged from it and its predecessor, without the pre-tokeniser. (d) What does not align is not scored.

Shapes: N and M student and teacher tokens of all rows in a line, V the width of the logits, P scored positions; further
letters in plan.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gold_style.losses.divergence import MASKED_LOGPROB, jsd_of_logprobs, log_probs
from gold_style.losses.tree.lifting import Lifting
from gold_style.losses.tree.plan import PlanWriter, Positions, TreePlan, starts
from gold_style.losses.tree.spread import Spread
from gold_style.tokens.alignment import Span

MAX_CELLS = 2**26  # positions x vocabulary whose intermediate tensors are kept for the backward pass: 256 MiB each
OPEN_SHARE = 1e-8  # at beta = 1, q = 0 is read as this share of s: such a token costs 18 nats and not infinity


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """`temperature` divides both sides' logits; with `skip_stop` the stop token is not scored."""

    lifting: Lifting
    beta: float = 0.5
    temperature: float = 1.0
    skip_stop: bool = False

    def units(self, span: Span, student_ids: Sequence[int]) -> int:
        """Scored units of a span: its student tokens, or 0 for a stop that is skipped."""
        if self.skip_stop and self.lifting.student.text_length(student_ids[span[0] : span[1]]) == 0:
            return 0
        return span[1] - span[0]

    def per_unit(
        self,
        student_logits_NV: Tensor,
        teacher_logits_MV: Tensor,
        student_ids_N: Tensor,
        teacher_ids_M: Tensor,
        spans_S4: Tensor,
        teacher_lengths: Sequence[int],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-> (loss of each scored student token in nats (P,), no parts).

        Logits at [i] predict ids[i]; spans hold flat indices (s0, s1, t0, t1); `teacher_lengths` are the teacher tokens of
        each row. A batch of more than MAX_CELLS logits is scored in groups of rows whose intermediate tensors are computed
        again in the backward pass instead of being kept.
        """
        student_ids, teacher_ids = student_ids_N.tolist(), teacher_ids_M.tolist()
        spans = spans_S4.tolist()
        groups = _row_groups(spans, teacher_lengths, MAX_CELLS // len(self.lifting.student))
        parts = []
        for first, last in groups:
            start, stop = sum(teacher_lengths[:first]), sum(teacher_lengths[:last])
            inside = [span for span in spans if start <= span[2] < stop]
            moved = [(s0, s1, t0 - start, t1 - start) for s0, s1, t0, t1 in inside]
            plan = self.plan(student_ids, teacher_ids[start:stop], moved, teacher_lengths[first:last])
            arguments = student_logits_NV, teacher_logits_MV[start:stop], student_ids, teacher_ids[start:stop], plan
            if len(groups) == 1:
                parts.append(self.per_token(*arguments))
            else:
                parts.append(checkpoint(self.per_token, *arguments, use_reentrant=False))
        return torch.cat(parts) if parts else student_logits_NV.new_zeros(0), {}

    def plan(
        self, student_ids: Sequence[int], teacher_ids: Sequence[int], spans: Sequence[Span], teacher_lengths: Sequence[int]
    ) -> TreePlan:
        """Everything about a batch that needs no probability; `plan.positions.student_P` are the scored tokens."""
        student, teacher = self.lifting.student, self.lifting.teacher
        lengths = np.asarray(teacher_lengths, dtype=np.int64)
        assert lengths.sum() == len(teacher_ids)
        spans = [span for span in spans if self.units(span, student_ids)]
        positions = Positions.of(student.lengths_of(student_ids), teacher.lengths_of(teacher_ids), spans)
        row_first_M, row_stop_M = np.repeat(starts(lengths), lengths), np.repeat(np.cumsum(lengths), lengths)
        row_of_P = row_stop_M[positions.teacher_P]
        canonical: list[int | None] = []
        previous: list[int | None] = []
        for row in dict.fromkeys(row_of_P.tolist()):
            ids = [student_ids[i] for i in positions.student_P[row_of_P == row].tolist()]
            canonical += self._canonical(ids)
            previous += [None, *ids[:-1]]
        return PlanWriter(self.lifting, positions, teacher_ids, row_first_M.tolist(), row_stop_M.tolist(), canonical, previous).write()

    def _canonical(self, ids: list[int]) -> list[int | None]:
        """The token that the student's own tokenisation of the text has where each of these tokens begins, None where it
        has no boundary. Mostly the token that was written: a completion seldom differs from its own tokenisation."""
        student = self.lifting.student
        canonical = self.lifting.student_segment.whole(student.join(ids))
        if canonical is None:
            return [*ids]
        token_at = dict(zip(starts(student.lengths_of(canonical)).tolist(), canonical, strict=True))
        return [token_at.get(start) for start in starts(student.lengths_of(ids)).tolist()]

    def per_token(
        self, student_logits_NV: Tensor, teacher_logits_MV: Tensor, student_ids: Sequence[int], teacher_ids: Sequence[int], plan: TreePlan
    ) -> Tensor:
        """Loss of each scored student token in nats, (P,)."""
        device = student_logits_NV.device
        rows_P = torch.from_numpy(plan.positions.student_P).to(device)
        student_PV = log_probs(_as_wide(student_logits_NV[rows_P], len(self.lifting.student)), self.temperature)
        with torch.no_grad():
            teacher_MV = log_probs(_as_wide(teacher_logits_MV, len(self.lifting.teacher)), self.temperature)
            student_ids_P = torch.as_tensor(student_ids, device=device)[rows_P]
            teacher_ids_M = torch.as_tensor(teacher_ids, device=device)
            target_PV = self.target(student_PV.exp(), teacher_MV, student_ids_P, teacher_ids_M, plan)
            target_PV = target_PV.log().masked_fill(target_PV == 0, MASKED_LOGPROB)
        return jsd_of_logprobs(student_PV, target_PV, self.beta)

    @torch.no_grad()
    def target(self, student_PV: Tensor, teacher_MV: Tensor, student_ids_P: Tensor, teacher_ids_M: Tensor, plan: TreePlan) -> Tensor:
        """q of the docstring above: probabilities (P, V) over the student's vocabulary, each row sums to 1.

        From the student's probabilities at the positions and the teacher's log-probabilities of all its tokens.
        """
        spread = Spread(student_PV, teacher_MV, student_ids_P, teacher_ids_M, plan)
        target_PV = spread.static(self.lifting.static)
        spread.levels(target_PV)
        spread.shorter(target_PV)
        spread.keeping(self.lifting.static, target_PV)
        total_P1 = target_PV.sum(-1, keepdim=True)
        target_PV = torch.where(total_P1 > 0, target_PV / total_P1, student_PV)
        if self.beta == 1:
            target_PV = torch.where(target_PV > 0, target_PV, OPEN_SHARE * student_PV)
        return target_PV


def _as_wide(logits_NV: Tensor, width: int) -> Tensor:
    """Logits of as many tokens as the tokenizer has: one without a row in the embedding cannot be written."""
    return F.pad(logits_NV[:, :width], (0, max(0, width - logits_NV.shape[1])), value=-math.inf)


def _row_groups(spans: Sequence[Span], teacher_lengths: Sequence[int], max_tokens: int) -> list[tuple[int, int]]:
    """Consecutive rows [first, last) with at most `max_tokens` student tokens in spans; a longer row is a group of its own."""
    row_of = np.repeat(np.arange(len(teacher_lengths)), teacher_lengths)
    tokens = np.zeros(len(teacher_lengths), dtype=np.int64)
    for s0, s1, t0, _ in spans:
        tokens[row_of[t0]] += s1 - s0
    groups, first = [], 0
    for row in range(1, len(teacher_lengths) + 1):
        if row == len(teacher_lengths) or tokens[first : row + 1].sum() > max_tokens:
            groups.append((first, row))
            first = row
    return groups
