"""The `tree` loss: the teacher's next-token distribution, carried over to the student's vocabulary, byte by byte.

For two different tokenizers whose tokens may begin and end anywhere (neither needs to be the finer one).

    tree = Tree(Lifting(student_bytes, teacher_bytes, ...), beta=0.3)
    loss, num_tokens = tree(student_logits_NV, teacher_logits_MV, student_ids, teacher_ids, spans, teacher_lengths)

Let a student token begin at byte b of the completion, and s be the student's distribution there. Let t_0 be the
teacher token that covers byte b, of which the bytes r lie before b (r is empty where both have a boundary), and t_1,
t_2, ... the real teacher tokens behind it, with the teacher's distributions p_0, p_1, ... given all that stands before.

1. Given the bytes written, t_0's place can only hold tokens that begin with r:  c_0(w) = p_0(w) / Z for those w, with
   Z = sum of p_0 over them; c_k = p_k for k > 0.
2. The teacher's probability is cut into events along the real path: "t_0 ... t_{k-1}, then w" with probability
   c_0(t_0) ... c_{k-1}(t_{k-1}) c_k(w), where w is not t_k or the path is not followed further. They sum to 1.
3. Each event names the set A of student tokens that the student would write first for that text: the token of exactly
   these bytes; longer tokens which the teacher would cut so that they begin with these teacher tokens; and where the
   bytes themselves are no student token, the first token of their segmentation. An event that ends exactly at b leaves
   all student tokens that no other event names. The stop tokens name each other; other special tokens likewise.
4. q(u) = sum over events of P(event) s(u) / s(A), for u in A:  what the event leaves open is filled in as the student
   has it. q is a constant of the gradient, sums to 1 as s does, and
       loss = sum over student tokens of JSD_beta(s, q),        in nats,
   counted per *student token inside a span*, the stop included: that number is returned for the mean.

Where an event has one student token the comparison is exact. Where it has several, s/q is the same for all of them if
no other event shares them, so they count like one class with probabilities s(A) and P(event), in value and gradient;
nothing is learned about their proportions. With identical tokenizers q = p, and the loss is the token-exact JSD.

Limits. (a) Segmentations of a stretch of text other than each tokenizer's own count as impossible: the teacher's mass
on them is read as text that goes on differently. (b) Mass behind a teacher token that is not the real one stays at the
resolution of that token: no second forward pass looks behind it. (c) Inside a teacher token (r not empty), cuts of the
bytes r by shorter teacher tokens are left out of Z. (d) Completions so broken that nothing aligns are not scored.

Shapes: N and M student and teacher tokens of all rows behind each other, V the width of the logits, P scored positions;
further letters in tree_plan.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gold_style.losses.alignment import Span
from gold_style.losses.divergence import MASKED_LOGPROB, check_beta, jsd_of_logprobs, log_probs
from gold_style.losses.lifting import Lifting
from gold_style.losses.spread import Spread
from gold_style.losses.token_bytes import TokenBytes
from gold_style.losses.tree_plan import PlanWriter, Positions, TreePlan

OPEN_SHARE = 1e-8  # at beta = 1 this share of q is the student's own: a token with q = 0 costs 18 nats, not infinity


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """`temperature` divides both sides' logits. Raises ValueError for beta outside [0, 1] or a temperature <= 0."""

    lifting: Lifting
    beta: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_beta(self.beta)
        if self.temperature <= 0:
            raise ValueError(f"temperature={self.temperature} must be greater than 0")

    def __call__(
        self,
        student_logits_NV: Tensor,
        teacher_logits_MV: Tensor,
        student_ids: Sequence[int],
        teacher_ids: Sequence[int],
        spans: Sequence[Span],
        teacher_lengths: Sequence[int],
    ) -> tuple[Tensor, int]:
        """-> (sum of the tokens' losses in nats, number of scored student tokens).

        Logits at [i] predict ids[i]; spans hold flat indices; `teacher_lengths` are the teacher tokens of each row.
        """
        plan = self.plan(student_ids, teacher_ids, spans, teacher_lengths)
        loss_P = self.per_token(student_logits_NV, teacher_logits_MV, student_ids, teacher_ids, plan)
        return loss_P.sum(), len(loss_P)

    def plan(
        self,
        student_ids: Sequence[int],
        teacher_ids: Sequence[int],
        spans: Sequence[Span],
        teacher_lengths: Sequence[int],
    ) -> TreePlan:
        """Everything about a batch that needs no probability; `plan.positions.student_P` are the scored tokens."""
        student_ids, teacher_ids = (np.asarray(ids, dtype=np.int64) for ids in (student_ids, teacher_ids))
        lengths = np.asarray(teacher_lengths, dtype=np.int64)
        assert lengths.sum() == len(teacher_ids)
        student_bytes_N = _lengths(self.lifting.student.lengths, student_ids)
        positions = Positions.of(student_bytes_N, _lengths(self.lifting.teacher.lengths, teacher_ids), spans)
        row_stop_M = np.repeat(np.cumsum(lengths), lengths)
        row_first_M = np.repeat(np.cumsum(lengths) - lengths, lengths)
        own, previous = self._own_tokens(student_ids, positions, row_stop_M)
        bounds = row_first_M.tolist(), row_stop_M.tolist()
        return PlanWriter(self.lifting, positions, teacher_ids.tolist(), *bounds, own, previous).write()

    def _own_tokens(
        self, student_ids: np.ndarray, positions: Positions, row_stop_M: np.ndarray
    ) -> tuple[list[int | None], list[int | None]]:
        """-> (the token that the student's tokenizer has at each position for the text it wrote, None at no boundary of
        it; the token written before, None at a row's beginning).

        Mostly the first is the token that was written: a completion seldom differs from its own tokenisation.
        """
        student = self.lifting.student
        row_of_P = row_stop_M[positions.teacher_P]
        own, previous = [], []
        for stop in dict.fromkeys(row_of_P.tolist()):
            ids = student_ids[positions.student_P[row_of_P == stop]].tolist()
            starts = np.cumsum([0, *_lengths(student.lengths, np.array(ids))])[:-1].tolist()
            canonical = self.lifting.student_segment.whole(student.join(ids))
            own += ids if canonical is None else map(_by_start(canonical, student).get, starts)
            previous += [None, *ids[:-1]]
        return own, previous

    def per_token(
        self,
        student_logits_NV: Tensor,
        teacher_logits_MV: Tensor,
        student_ids: Sequence[int],
        teacher_ids: Sequence[int],
        plan: TreePlan,
    ) -> Tensor:
        """Loss of each scored student token in nats, (P,)."""
        device = student_logits_NV.device
        rows_P = torch.from_numpy(plan.positions.student_P).to(device)
        student_PV = student_logits_NV[rows_P, : len(self.lifting.student)]
        student_PV = log_probs(student_PV, self.temperature)
        with torch.no_grad():
            teacher_MV = log_probs(teacher_logits_MV[:, : len(self.lifting.teacher)], self.temperature)
            student_ids_P = torch.as_tensor(student_ids, device=device)[rows_P]
            teacher_ids_M = torch.as_tensor(teacher_ids, device=device)
            target_PV = self.target(student_PV.exp(), teacher_MV, student_ids_P, teacher_ids_M, plan)
            target_PV = target_PV.log().masked_fill(target_PV == 0, MASKED_LOGPROB)
        return jsd_of_logprobs(student_PV, target_PV, self.beta)

    @torch.no_grad()
    def target(
        self, student_PV: Tensor, teacher_MV: Tensor, student_ids_P: Tensor, teacher_ids_M: Tensor, plan: TreePlan
    ) -> Tensor:
        """q of the docstring above: probabilities (P, V) over the student's vocabulary, each row sums to 1.

        From the student's probabilities at the positions and the teacher's log-probabilities of all its tokens.
        """
        spread = Spread(student_PV, teacher_MV, student_ids_P, teacher_ids_M, plan)
        target_PV = spread.static(self.lifting.static)
        spread.levels(target_PV)
        spread.shorter(target_PV)
        spread.maybes(target_PV)
        total_P1 = target_PV.sum(-1, keepdim=True)
        target_PV = torch.where(total_P1 > 0, target_PV / total_P1, student_PV)
        if self.beta == 1:
            target_PV = torch.lerp(target_PV, student_PV, OPEN_SHARE)
        return target_PV


def _by_start(ids: Sequence[int], table: TokenBytes) -> dict[int, int]:
    """First byte of a token -> the token."""
    starts = np.cumsum([0, *table.lengths[np.asarray(ids, dtype=np.int64)]])[:-1]
    return dict(zip(starts.tolist(), ids, strict=True))


def _lengths(table_V: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Bytes of each id; padding rows have none."""
    return np.where(ids < len(table_V), table_V[np.minimum(ids, len(table_V) - 1)], 0)
