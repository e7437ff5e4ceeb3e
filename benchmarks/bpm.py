"""Byte-prefix marginalisation (BPM): the teacher's next-token distribution over the student's vocabulary, by the longest byte prefix.

Source: Wang et al., "Cross-Tokenizer On-Policy Distillation via Byte-Prefix Marginalization", https://arxiv.org/abs/2607.22334;
read were its abstract and the authors' code (https://github.com/K1XE/BPM, Apache-2.0), not the paper's text. Written anew.

    python benchmarks/bpm.py model=tiny_cross_tokenizer       # train.py with this loss in the place of tree

    prefixes = Prefixes(student_bytes, teacher_bytes, student_stop_ids, teacher_stop_ids)
    loss_P, _ = BPM(prefixes=prefixes, beta=0.3).per_unit(student_logits_NV, teacher_logits_MV, student_ids, teacher_ids, spans, lengths)

Let a student token begin inside of the real teacher token t, whose first bytes (`written`, perhaps none) are there already;
p is the teacher's distribution where t begins. phi(text) is the longest student token that `text` begins with.

1. Every teacher token w that begins with `written` gives p(w) / p(all of them) to phi(w's other bytes).
2. Student tokens c_1, c_2, ... (ascending lengths) that run beyond t as the real text does take their share of what t gave to
   phi: P(c_i) = p(t) x the probability of the next real teacher tokens x that of a token which begins with c_i's last bytes. c_i
   gets P(c_i) - P(c_i+1). This is a lower bound of what the teacher means: it may write the same bytes in other tokens.
3. Mass without a student token (phi of nothing; special tokens) is the class of all student tokens that nothing was given to.
   The teacher's stop tokens are the class of the student's.

    loss = sum over student tokens of JSD_beta(s, q)    in nats; a class is divided as the student s divides it

With identical tokenizers q = p (special tokens but the stop as one class). Unlike the authors' code: a position inside of a
teacher token is scored whether or not the token ends at a boundary that both sides share; `phi` is not cut off at the end of t.

Limits. What the student would write instead of phi (its own tokenisation) does not count. Where student tokens are longer than
the teacher's, only the text that was written counts towards the longer ones: every other continuation goes to the shortest.

Shapes: N and M student and teacher tokens of all rows in a line, V and W the two vocabularies, P scored positions, A positions of
one part, E teacher tokens of one table, C longer student tokens.
"""

import bisect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gold_style.losses.divergence import MASKED_LOGPROB, jsd_of_logprobs, log_probs  # noqa: E402
from gold_style.losses.tree.plan import Positions  # noqa: E402
from gold_style.tokens.alignment import Span  # noqa: E402
from gold_style.tokens.token_bytes import TokenBytes  # noqa: E402

MAX_CELLS = 2**24  # positions x vocabulary that are scored at once: 64 MiB a tensor
OPEN_SHARE = 1e-8  # at beta = 1, q = 0 is read as this share of s: such a token costs 18 nats and not infinity


class Prefixes:
    """Tables for two vocabularies. Two more columns beside the V student tokens: V for what has none, V + 1 for stops."""

    def __init__(self, student: TokenBytes, teacher: TokenBytes, student_stop_ids: Iterable[int], teacher_stop_ids: Iterable[int]):
        self.student, self.teacher, self.student_stop_ids = student, teacher, sorted(student_stop_ids)
        self.longest_student = int(student.lengths.max(initial=0))
        self.student_sorted = sorted(student.id_of)
        self.teacher_sorted = sorted((piece, w) for w, piece in enumerate(teacher.pieces) if piece)
        self.column_W = torch.tensor([self.phi(piece) for piece in teacher.pieces])
        self.column_W[sorted(teacher_stop_ids)] = len(student) + 1
        self.cache: dict[tuple[str, bytes], Any] = {}

    @classmethod
    def between(cls, student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase, *stop_ids: Iterable[int]) -> "Prefixes":
        """Of two tokenizers; `stop_ids` are the student's and the teacher's."""
        sides = [TokenBytes.from_tokenizer(side, ids) for side, ids in zip((student, teacher), stop_ids, strict=True)]
        return cls(*sides, *stop_ids)

    def phi(self, text: bytes) -> int:
        """The longest student token that `text` begins with, or V."""
        for size in range(min(len(text), self.longest_student), 0, -1):
            token = self.student.id_of.get(text[:size])
            if token is not None:
                return token
        return len(self.student)

    def beginning_with(self, text: bytes) -> np.ndarray:
        """Teacher tokens whose bytes begin with `text`."""
        if ("tokens", text) not in self.cache:
            first = bisect.bisect_left(self.teacher_sorted, (text, -1))
            last = bisect.bisect_right(self.teacher_sorted, text, first, key=lambda entry: entry[0][: len(text)])
            self.cache["tokens", text] = np.array([w for _, w in self.teacher_sorted[first:last]], dtype=np.int64)
        return self.cache["tokens", text]

    def continuing(self, written: bytes) -> Tensor:
        """The student's column for what each of the tokens that begin with `written` says after it, (E,)."""
        if ("columns", written) not in self.cache:
            rests = [self.teacher.pieces[w][len(written) :] for w in self.beginning_with(written).tolist()]
            self.cache["columns", written] = torch.tensor([self.phi(rest) for rest in rests])
        return self.cache["columns", written]

    def longer(self, text: bytes, size: int) -> Iterator[bytes]:
        """The student's tokens of more than `size` bytes that `text` begins with, in ascending lengths."""
        for stop in range(size + 1, min(len(text), self.longest_student) + 1):
            at = bisect.bisect_left(self.student_sorted, text[:stop])
            if at == len(self.student_sorted) or not self.student_sorted[at].startswith(text[:stop]):
                return
            if self.student_sorted[at] == text[:stop]:
                yield text[:stop]


@dataclass(frozen=True, kw_only=True, eq=False)
class BPM:
    """`temperature` divides both sides' logits; with `skip_stop` the stop token is not scored."""

    prefixes: Prefixes
    beta: float = 0.5
    temperature: float = 1.0
    skip_stop: bool = False

    def units(self, span: Span, student_ids: Sequence[int]) -> int:
        """Scored units of a span: its student tokens, or 0 for a stop that is skipped."""
        if self.skip_stop and self.prefixes.student.text_length(student_ids[span[0] : span[1]]) == 0:
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

        Logits at [i] predict ids[i]; spans hold flat indices (s0, s1, t0, t1); `teacher_lengths` are the teacher tokens of each row.
        Positions are scored MAX_CELLS logits at a time, each part's gradient at once.
        """
        student, teacher = self.prefixes.student, self.prefixes.teacher
        student_ids, teacher_ids = student_ids_N.tolist(), teacher_ids_M.tolist()
        spans = [span for span in spans_S4.tolist() if self.units(span, student_ids)]
        places = Positions.of(student.lengths_of(student_ids), teacher.lengths_of(teacher_ids), spans)
        stop_M = np.repeat(np.cumsum(teacher_lengths), teacher_lengths).tolist()
        rows, offsets = places.teacher_P.tolist(), places.offset_P.tolist()

        def score(student_logits_PV: Tensor, part: slice) -> Tensor:
            student_PV = log_probs(student_logits_PV[:, : len(student)], self.temperature)
            with torch.no_grad():
                target_PV = self.target(student_PV.exp(), teacher_logits_MV, teacher_ids, rows[part], offsets[part], stop_M)
                target_PV = target_PV.log().masked_fill_(target_PV == 0, MASKED_LOGPROB)
            return jsd_of_logprobs(student_PV, target_PV, self.beta)

        rows_P = torch.from_numpy(places.student_P).to(student_logits_NV.device)
        return Parts.apply(student_logits_NV, rows_P, score, max(1, MAX_CELLS // len(student))), {}

    @torch.no_grad()
    def target(
        self,
        student_PV: Tensor,
        teacher_logits_MV: Tensor,
        teacher_ids: Sequence[int],
        rows: Sequence[int],
        offsets: Sequence[int],
        stop_M: Sequence[int],
    ) -> Tensor:
        """q of the docstring above: probabilities (P, V), each row sums to 1. From the student's probabilities at the positions; each
        begins `offsets` bytes inside the real teacher token of its row. `stop_M` is where each teacher token's text ends."""
        prefixes, device = self.prefixes, student_PV.device
        written = [prefixes.teacher.pieces[teacher_ids[row]][:offset] for row, offset in zip(rows, offsets, strict=True)]
        moves = [
            (position, row, *move)
            for position, (row, text) in enumerate(zip(rows, written, strict=True))
            for move in self._moves(teacher_ids[row : stop_M[row]], row, text)
        ]
        first, last = min(rows), max([*rows, *(move[2] for move in moves)])
        teacher_MW = log_probs(teacher_logits_MV[first : last + 1, : len(prefixes.teacher)], self.temperature)
        groups = defaultdict(list)
        for position, text in enumerate(written):
            groups[text].append(position)
        target_PV = student_PV.new_zeros(len(rows), student_PV.shape[1] + 2)
        known_P = target_PV.new_zeros(len(rows), dtype=torch.float64)  # log-probability of the bytes written
        row_P = torch.tensor(rows, device=device) - first
        for text, members in groups.items():
            at_A, column_E = torch.tensor(members, device=device), prefixes.column_W
            mass_AE = teacher_MW[row_P[at_A]]
            if text:
                mass_AE, column_E = mass_AE[:, prefixes.beginning_with(text)], prefixes.continuing(text)
                known_P[at_A] = mass_AE.double().logsumexp(-1)
                mass_AE = mass_AE.log_softmax(-1)
            part_AV = target_PV.new_zeros(len(members), target_PV.shape[1])
            target_PV[at_A] = part_AV.scatter_add_(1, column_E.to(device).expand(len(members), -1), mass_AE.exp_())
        if moves:
            position_C, row_C, last_C, from_C, to_C = torch.tensor([move[:5] for move in moves], device=device).T
            tokens = [prefixes.beginning_with(move[5]) for move in moves]
            candidate_E = torch.arange(len(moves)).repeat_interleave(torch.tensor([len(ids) for ids in tokens])).to(device)
            token_E = torch.from_numpy(np.concatenate(tokens)).to(device)
            real_M = torch.tensor(teacher_ids[first : last + 1], device=device)
            path_M = teacher_MW.gather(1, real_M[:, None])[:, 0].double().cumsum(0)
            before_M = torch.cat([path_M.new_zeros(1), path_M])
            mass_C = known_P.new_zeros(len(moves)).index_add_(
                0, candidate_E, teacher_MW[last_C[candidate_E] - first, token_E].double().exp()
            )
            mass_C *= torch.exp(before_M[last_C - first] - before_M[row_C - first] - known_P[position_C])
            for column_C, sign in ((to_C, 1), (from_C, -1)):
                target_PV.index_put_((position_C, column_C), sign * mass_C.to(target_PV.dtype), accumulate=True)
            target_PV.masked_fill_(target_PV < 4 * torch.finfo(target_PV.dtype).eps, 0.0)  # what lost all of its mass but for a rounding
        return self._divided(target_PV, student_PV)

    def _moves(self, teacher_ids: Sequence[int], row: int, written: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Step 2 of the docstring above: -> (row of the token in which the longer student token ends, the student token that loses mass
        to it, that token, the bytes of it that its last teacher token has to begin with)."""
        pieces, student = self.prefixes.teacher.pieces, self.prefixes.student
        text, starts = pieces[teacher_ids[0]][len(written) :], [0]
        for token in teacher_ids[1:]:  # the real text from the position on, as far as a student token reaches
            if self.prefixes.teacher.special[token] or len(text) >= self.prefixes.longest_student:
                break
            starts.append(len(text))
            text += pieces[token]
        if len(starts) == 1:
            return
        loses = self.prefixes.phi(text[: starts[1]])
        for piece in self.prefixes.longer(text, starts[1]):
            token, k = student.id_of[piece], bisect.bisect_left(starts, len(piece)) - 1
            yield row + k, loses, token, piece[starts[k] :]
            loses = token

    def _divided(self, target_PV: Tensor, student_PV: Tensor) -> Tensor:
        """The masses of the two classes beside the student tokens, divided as the student does: (P, V + 2) -> (P, V)."""
        target_PV, none_P1, stop_P1 = target_PV.split([student_PV.shape[1], 1, 1], dim=1)
        student_PS = student_PV[:, self.prefixes.student_stop_ids] + torch.finfo(student_PV.dtype).tiny
        target_PV[:, self.prefixes.student_stop_ids] = stop_P1 * student_PS / student_PS.sum(-1, keepdim=True)
        open_PV = student_PV.masked_fill(target_PV > 0, 0.0)
        target_PV = target_PV.addcmul(open_PV, none_P1 / open_PV.sum(-1, keepdim=True).clamp_min_(torch.finfo(student_PV.dtype).tiny))
        target_PV /= target_PV.sum(-1, keepdim=True)
        return torch.where(target_PV > 0, target_PV, OPEN_SHARE * student_PV) if self.beta == 1 else target_PV


class Parts(torch.autograd.Function):
    """Losses of independent rows, a few at a time; each part's gradient is computed with its value, so that nothing else is kept."""

    @staticmethod
    def forward(ctx, logits_NV: Tensor, rows_P: Tensor, score: Callable[[Tensor, slice], Tensor], size: int) -> Tensor:
        loss_P = torch.empty(len(rows_P), dtype=torch.promote_types(logits_NV.dtype, torch.float32), device=logits_NV.device)
        gradient_NV = torch.zeros_like(logits_NV) if ctx.needs_input_grad[0] else None
        for first in range(0, len(rows_P), size):
            part = slice(first, first + size)
            with torch.enable_grad():
                logits_PV = logits_NV.detach()[rows_P[part]].requires_grad_(gradient_NV is not None)
                part_P = score(logits_PV, part)
                if gradient_NV is not None:
                    gradient_NV[rows_P[part]] = torch.autograd.grad(part_P.sum(), logits_PV)[0]
            loss_P[part] = part_P.detach()
        ctx.save_for_backward(gradient_NV, rows_P)
        return loss_P

    @staticmethod
    def backward(ctx, factor_P: Tensor) -> tuple[Tensor | None, ...]:
        gradient_NV, rows_P = ctx.saved_tensors
        factor_N1 = gradient_NV.new_zeros(len(gradient_NV), 1)
        factor_N1[rows_P, 0] = factor_P.to(factor_N1.dtype)
        return gradient_NV * factor_N1, None, None, None


def install() -> None:
    """From now on a run that builds `tree` trains with this loss."""
    from gold_style.losses import tree

    tree.Lifting, tree.Tree = Prefixes.between, lambda lifting, **options: BPM(prefixes=lifting, **options)


if __name__ == "__main__":
    import train
    from gold_style.runs.terminal import run_main

    install()
    run_main(train.main)
