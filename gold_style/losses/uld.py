"""Universal logit distillation between two tokenizers, plain and hybrid, without a loop over positions or samples.

Plain: https://arxiv.org/abs/2402.12030. Hybrid, merging of split tokens and weights: TRL's GOLD
(https://github.com/huggingface/trl, trl/experimental/gold at v1.16.0).

A span is the shortest stretch of text at whose ends both tokenizers have a boundary. Its distribution on either side is
that of the span's last token given its real earlier tokens, times the probability of those earlier tokens ("bayesian"
merging). It sums to less than 1 in spans of several tokens, so divergences of such spans may be negative. Tokens that
both vocabularies have are compared by the generalised JSD, the rest by the L1 of sorted probabilities:

    loss(span) = matched_weight * JSD(matched) + unmatched_weight * L1(sorted unmatched)

    loss_S, parts = ULD(match=match, beta=0.3).per_unit(student_logits_NV, teacher_logits_MV, student_ids, teacher_ids, spans)

Unlike TRL's ULDLoss: work in log-probabilities without a clamp at 1e-8, so unlikely tokens keep their gradient; special
tokens (but the paired stop tokens) and padding rows of both heads take no part; every token is scored, the first and
the stop included; losses are returned span by span, so that the caller can take the mean over a whole window.

Shapes: N and M student and teacher tokens of all rows in a line, V the width of the logits (each side its own),
S spans; logits at [i] predict ids[i] and are finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gold_style.config.schema import Uld
from gold_style.losses import Side, TokenLoss, applied, skips_stop
from gold_style.losses.divergence import jsd_of_logprobs
from gold_style.losses.sorted_l1 import ROUNDING, sorted_l1, sorted_l1_of_probs
from gold_style.tokens.alignment import Span
from gold_style.tokens.vocabulary import VocabularyMatch


@dataclass(kw_only=True)
class Options(Uld):
    """Plain ULD compares no token with itself, so it has no beta."""


def build(options: Options) -> TokenLoss:
    """For one tokenizer."""
    return sorted_l1


def build_spans(options: Uld, student: Side, teacher: Side, hybrid: bool = False, **more: Any) -> "ULD":
    """For two tokenizers; `more` are fields of ULD."""
    match = VocabularyMatch.between(student.bytes, teacher.bytes, student.stop_id, teacher.stop_id)
    skipped = student.stop_ids if skips_stop(options) else ()
    return ULD(match=match, hybrid=hybrid, unscored_ids=skipped, **applied(options), **more)


@dataclass(frozen=True, kw_only=True)
class ULD:
    """Settings under TRL's names (there with the prefix `uld_`).

    hybrid False: the sorted L1 on the whole vocabulary. Weights of the hybrid are both None (adaptive: the matched
    share of the teacher's usable ids, and the rest) or both numbers. `crossentropy_weight` adds that multiple of the
    span's -log P(student) in nats. Spans that begin with one of `unscored_ids`, student ids (stop tokens), are left out.
    """

    match: VocabularyMatch
    hybrid: bool = True
    beta: float = 0.5
    matched_weight: float | None = None
    unmatched_weight: float | None = None
    crossentropy_weight: float = 0.0
    distillation_weight: float = 1.0
    student_temperature: float = 1.0
    teacher_temperature: float = 1.0
    unscored_ids: tuple[int, ...] = ()

    @property
    def weights(self) -> tuple[float, float]:
        """Of the matched and the unmatched part."""
        if self.matched_weight is None or self.unmatched_weight is None:
            assert self.matched_weight is self.unmatched_weight
            return self.match.matched_share, 1.0 - self.match.matched_share
        return self.matched_weight, self.unmatched_weight

    def units(self, span: Span, student_ids: Sequence[int]) -> int:
        """Scored units of a span: 1, or 0 for a stop that is skipped."""
        return 0 if student_ids[span[0]] in self.unscored_ids else 1

    def per_unit(
        self,
        student_logits_NV: Tensor,
        teacher_logits_MV: Tensor,
        student_ids_N: Tensor,
        teacher_ids_M: Tensor,
        spans_S4: Tensor,
        teacher_lengths: Sequence[int] = (),
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-> (loss of each scored span (S,), its unweighted parts matched_S, unmatched_S, crossentropy_S, detached).

        Spans hold flat indices (s0, s1, t0, t1). `teacher_lengths`, which the `tree` loss needs, are not used here.
        """
        match = self.match.to(student_logits_NV.device)
        if self.unscored_ids:
            spans_S4 = spans_S4[~torch.isin(student_ids_N[spans_S4[:, 0]], student_ids_N.new_tensor(self.unscored_ids))]
        groups, stop_id = (match.student_matched_M, match.student_unmatched_U), match.student_stop_id
        student = merge(student_logits_NV, student_ids_N, spans_S4[:, :2], groups, stop_id, self.student_temperature)
        with torch.no_grad():
            groups, stop_id = (match.teacher_matched_M, match.teacher_unmatched_W), match.teacher_stop_id
            teacher = merge(teacher_logits_MV, teacher_ids_M, spans_S4[:, 2:], groups, stop_id, self.teacher_temperature)
        matched_S, unmatched_S = self._compare(student, teacher, ROUNDING[student_logits_NV.dtype])
        matched_weight, unmatched_weight = self.weights if self.hybrid else (0.0, 1.0)
        loss_S = self.distillation_weight * (matched_weight * matched_S + unmatched_weight * unmatched_S)
        if self.crossentropy_weight:
            loss_S = loss_S + self.crossentropy_weight * student.nll_S
        parts = {"matched_S": matched_S, "unmatched_S": unmatched_S, "crossentropy_S": student.nll_S}
        return loss_S, {name: value.detach() for name, value in parts.items()}

    def _compare(self, student: "Merged", teacher: "Merged", rounding: float) -> tuple[Tensor, Tensor]:
        """JSD of the matched and L1 of the sorted unmatched ids, (S,) each; plain ULD is all L1."""
        if not self.hybrid:
            student_SV, teacher_SV = (torch.cat([side.matched_SM, side.unmatched_SU], 1) for side in (student, teacher))
            l1_S = sorted_l1_of_probs(student_SV.exp(), teacher_SV.exp(), rounding)
            return torch.zeros_like(l1_S), l1_S
        matched_S = jsd_of_logprobs(student.matched_SM, teacher.matched_SM, self.beta)
        if not student.unmatched_SU.shape[1] or not teacher.unmatched_SU.shape[1]:
            return matched_S, torch.zeros_like(matched_S)  # as in TRL: nothing to pair off
        return matched_S, sorted_l1_of_probs(student.unmatched_SU.exp(), teacher.unmatched_SU.exp(), rounding)


@dataclass(frozen=True)
class Merged:
    """Log-probabilities of spans over one side's matched and unmatched ids, and the spans' own -log P in nats."""

    matched_SM: Tensor
    unmatched_SU: Tensor
    nll_S: Tensor


def merge(logits_NV: Tensor, ids_N: Tensor, spans_S2: Tensor, groups: tuple[Tensor, Tensor], stop_id: int, temperature: float) -> Merged:
    """Each span's merged distribution: that of its last token, times the probabilities of its earlier tokens.

    `groups` are the matched and unmatched ids; all others are left out of the softmax. A special token inside a span can
    only be a stop and is read as `stop_id`. Half-precision logits are reduced in fp32.
    """
    if logits_NV.dtype != torch.float64:
        logits_NV = logits_NV.float()
    logits_NV = logits_NV / temperature if temperature != 1.0 else logits_NV
    usable_V = torch.zeros(logits_NV.shape[1], dtype=torch.bool, device=logits_NV.device)
    usable_V[torch.cat(groups)] = True
    ids_N = torch.where(usable_V[ids_N], ids_N, stop_id)
    matched_NM, unmatched_NU = (logits_NV.index_select(1, group) for group in groups)
    lse_N = torch.logsumexp(matched_NM, -1)
    if unmatched_NU.shape[1]:
        lse_N = torch.logaddexp(lse_N, torch.logsumexp(unmatched_NU, -1))
    own_N = logits_NV.gather(1, ids_N[:, None])[:, 0] - lse_N

    first_S, last_S = spans_S2[:, 0], spans_S2[:, 1] - 1
    num_early_S = last_S - first_S
    span_of = torch.repeat_interleave(torch.arange(len(first_S), device=ids_N.device), num_early_S)
    offset = torch.arange(len(span_of), device=ids_N.device) - (torch.cumsum(num_early_S, 0) - num_early_S)[span_of]
    early_S = own_N.new_zeros(len(first_S)).index_add(0, span_of, own_N[first_S[span_of] + offset])
    shift_S1 = (early_S - lse_N[last_S])[:, None]
    return Merged(matched_NM[last_S] + shift_S1, unmatched_NU[last_S] + shift_S1, -(early_S + own_N[last_S]))
