"""Spreads the teacher's probability of a batch over the student's vocabulary, as a TreePlan says (maths in loss.py).

Shapes: P positions, A positions of one part, V student ids, W teacher ids, M teacher tokens; other letters as in
plan.py. Sums that decide how much mass is left are in float64.
"""

import numpy as np
import torch
from torch import Tensor

from gold_style.losses.tree.lifting import AGAINST_CUT
from gold_style.losses.tree.plan import Table, TreePlan
from gold_style.losses.tree.slots import Slots

MAX_LOG_RATIO = 60.0  # of an earlier row's mass to the position's row's: beyond, only the earlier one counts


class Spread:
    """The parts of the target distribution q, each added to a (P, V) tensor."""

    def __init__(self, student_PV: Tensor, teacher_MW: Tensor, student_ids_P: Tensor, teacher_ids_M: Tensor, plan: TreePlan):
        """`student_PV` holds probabilities at the positions, `teacher_MW` log-probabilities of all teacher tokens."""
        self.student_PV, self.teacher_MW, self.tables = student_PV, teacher_MW, plan.tables
        self.plan = dict(zip(plan.arrays, self._tensors(*plan.arrays.values()), strict=True))
        self.row_P, self.offset_P = self._tensors(plan.positions.teacher_P, plan.positions.offset_P)
        # sums of the real tokens' log-probabilities: a path's is the difference of two
        real_M = teacher_MW.gather(1, teacher_ids_M[:, None])[:, 0].double()
        self.before_M = torch.cat([real_M.new_zeros(1), real_M.cumsum(0)])
        real_P = student_PV.gather(1, student_ids_P[:, None])[:, 0].double().clamp_min(1e-300).log()
        self.before_P = torch.cat([real_P.new_zeros(1), real_P.cumsum(0)])

    def static(self, slots: Slots) -> Tensor:
        """(P, V): at positions on a teacher boundary the row's whole distribution, without the tokens that levels resolve."""
        target_PV = torch.zeros_like(self.student_PV)
        at_A = (self.offset_P == 0).nonzero()[:, 0]
        mass_AW = self.teacher_MW[self.row_P[at_A]].exp()
        removed_A1 = self.plan["removed_P"][at_A][:, None]
        resolved_A1 = mass_AW.gather(1, removed_A1.clamp_min(0)).masked_fill_(removed_A1 >= 0, 0.0)
        mass_AW.scatter_(1, removed_A1.clamp_min(0), resolved_A1)
        row_of_P = torch.cumsum(self.offset_P == 0, 0) - 1
        cut_Y = row_of_P[self.plan["cut_position_Y"]], self.plan["cut_token_Y"]
        mass_AW[cut_Y] *= self.plan["cut_weight_Y"].to(mass_AW.dtype)
        target_PV[at_A] = self._over(slots, mass_AW, self.student_PV[at_A])
        return target_PV

    def _over(self, slots: Slots, mass_AE: Tensor, student_AV: Tensor) -> Tensor:
        """Masses of teacher tokens, (A, E), shared among the members of their slots as the student has them: (A, V)."""
        slot_E, member_slot_F, member_F = self._tensors(slots.slot_E, slots.member_slot_F, slots.member_F)
        mass_AG = mass_AE.new_zeros(len(mass_AE), slots.count)
        mass_AG.scatter_add_(1, slot_E.expand(len(mass_AE), -1), mass_AE)
        part_AV = torch.zeros_like(student_AV)
        single_F = torch.bincount(member_slot_F, minlength=slots.count)[member_slot_F] == 1
        slot_F, u_F = member_slot_F[single_F], member_F[single_F]
        part_AV.scatter_add_(1, u_F.expand(len(mass_AE), -1), mass_AG[:, slot_F])
        slot_F, u_F = member_slot_F[~single_F], member_F[~single_F]
        if len(u_F):
            student_AF = student_AV[:, u_F] + torch.finfo(student_AV.dtype).tiny
            total_AG = torch.zeros_like(mass_AG).scatter_add_(1, slot_F.expand(len(mass_AE), -1), student_AF)
            student_AF.div_(total_AG[:, slot_F]).mul_(mass_AG[:, slot_F])
            part_AV.scatter_add_(1, u_F.expand(len(mass_AE), -1), student_AF)
        return part_AV

    def levels(self, target_PV: Tensor) -> None:
        """Add the masses of all levels, relative to the probability of the real text before the position's row."""
        plan = self.plan
        row_L, level_E = plan["level_row_L"], plan["level_E"]
        probs_E = self.teacher_MW[row_L[level_E], plan["token_E"]].double().exp()
        listed_L = probs_E.new_zeros(len(row_L)).index_add_(0, level_E, probs_E)
        for table in self.tables:
            listed_L += self._table(table, target_PV)
        real_L = self.teacher_MW[row_L, plan["level_real_L"].clamp_min(0)].double().exp()
        real_L = torch.where(plan["level_real_L"] >= 0, real_L, 0.0)
        scale_L = self._path(plan["level_position_L"], row_L)
        mass_G = probs_E.new_zeros(len(plan["slot_position_G"]))
        mass_G.index_add_(0, plan["slot_E"], probs_E * plan["weight_E"] * scale_L[level_E])
        has_rest_L = plan["level_rest_L"] >= 0
        rest_L = scale_L * plan["rest_weight_L"] * (1 - listed_L - real_L).clamp_min_(0)
        mass_G.index_add_(0, plan["level_rest_L"][has_rest_L], rest_L[has_rest_L])
        mass_G.index_add_(0, plan["open_slot_O"], self._path(plan["open_position_O"], plan["open_row_O"]))
        self._add(mass_G, target_PV)

    def _table(self, table: Table, target_PV: Tensor) -> Tensor:
        """Add one dense block; -> (L,) the mass that its tokens have on their levels, scale and weight aside."""
        token_E, level_T, real_T, usual_T = self._tensors(table.slots.token_E, *table.levels.read().values())
        row_Y, column_Y, weight_Y = self._tensors(*table.exceptions.read().values())
        position_T, row_T = self.plan["level_position_L"][level_T], self.plan["level_row_L"][level_T]
        mass_TE = self.teacher_MW[row_T][:, token_E].exp()
        at_T = (real_T >= 0).nonzero()[:, 0]
        mass_TE[at_T, real_T[at_T]] = 0.0
        listed_T = mass_TE.sum(-1).double()
        weight_TE = usual_T.to(mass_TE.dtype)[:, None].repeat(1, len(token_E))
        weight_TE[row_Y, column_Y] = weight_Y.to(mass_TE.dtype)
        mass_TE *= weight_TE * self._path(position_T, row_T).to(mass_TE.dtype)[:, None]
        target_PV.index_add_(0, position_T, self._over(table.slots, mass_TE, self.student_PV[position_T]))
        return listed_T.new_zeros(len(self.plan["level_row_L"])).index_add_(0, level_T, listed_T)

    def _path(self, position: Tensor, row: Tensor) -> Tensor:
        """Probability of the real tokens from a position's row up to `row`; its inverse for an earlier `row`."""
        return torch.exp((self.before_M[row] - self.before_M[self.row_P[position]]).clamp_max_(MAX_LOG_RATIO))

    def shorter(self, target_PV: Tensor) -> None:
        """Inside a teacher token, add the mass of shorter tokens: to all student tokens that may follow one, as the
        student has them.

        What such a token leaves of the bytes already written would be the teacher's to write; the student's own
        probability of having written them stands in for the teacher's, which no forward pass has computed.
        """
        plan = self.plan
        position_X = plan["shorter_position_X"]
        rest_X = self.before_P[position_X] - self.before_P[plan["shorter_from_X"]]
        mass_X = torch.exp(self.teacher_MW[self.row_P[position_X], plan["shorter_token_X"]].double() + rest_X)
        mass_P = mass_X.new_zeros(len(self.row_P)).index_add_(0, position_X, mass_X)
        at_A = (mass_P > 0).nonzero()[:, 0]
        if not len(at_A):
            return
        free_PV = self.student_PV.clone()
        free_PV[plan["excluded_position_Z"], plan["excluded_Z"]] = 0.0
        free_AV, student_AV = free_PV[at_A], self.student_PV[at_A]
        free_AV = torch.where(free_AV.sum(-1, keepdim=True) > 0, free_AV, student_AV)  # no token left: all of them
        target_PV[at_A] += free_AV * (mass_P[at_A, None].to(free_AV.dtype) / free_AV.sum(-1, keepdim=True))

    def keeping(self, slots: Slots, target_PV: Tensor) -> None:
        """Add the masses of which it is open what share belongs to the longer tokens that keep the student's cut: the
        student's own share, and no more than the teacher has. Where too little else is left, the remainder counts as if
        nothing had been cut."""
        plan = self.plan
        slot_F = plan["member_slot_F"]
        student_F = self.student_PV[plan["slot_position_G"][slot_F], plan["member_F"]].double()
        student_G = student_F.new_zeros(len(plan["slot_position_G"])).index_add_(0, slot_F, student_F)
        student_U, position_U = student_G[plan["keeping_slot_U"]], plan["keeping_position_U"]
        student_P = student_U.new_zeros(len(target_PV)).index_add_(0, position_U, student_U)
        known_P = target_PV.sum(-1).double()
        share_U = known_P[position_U] * student_U / (1 - student_P[position_U]).clamp_min_(1e-9)
        limit_U = self.teacher_MW[self.row_P[position_U], plan["keeping_token_U"]].double().exp()
        given_U = torch.minimum(share_U, limit_U)
        mass_G = torch.zeros_like(student_G).index_add_(0, plan["keeping_slot_U"], given_U)
        self._add(mass_G, target_PV)
        over_U = limit_U - given_U
        over_P = torch.zeros_like(known_P).index_add_(0, position_U, over_U)
        at_A = (known_P < AGAINST_CUT * over_P).nonzero()[:, 0]
        if not len(at_A):
            return
        row_of_P = at_A.new_full((len(target_PV),), -1)
        row_of_P[at_A] = torch.arange(len(at_A), device=at_A.device)
        chosen_U = row_of_P[position_U] >= 0
        over_AW = torch.zeros(len(at_A), self.teacher_MW.shape[1], dtype=target_PV.dtype, device=target_PV.device)
        over_AW[row_of_P[position_U[chosen_U]], plan["keeping_token_U"][chosen_U]] = over_U[chosen_U].to(target_PV.dtype)
        target_PV[at_A] += self._over(slots, over_AW, self.student_PV[at_A])

    def _add(self, mass_G: Tensor, target_PV: Tensor) -> None:
        """Each slot's mass to its members, shared out as the student has them."""
        slot_F, u_F = self.plan["member_slot_F"], self.plan["member_F"]
        position_F = self.plan["slot_position_G"][slot_F]
        student_F = self.student_PV[position_F, u_F].double() + torch.finfo(self.student_PV.dtype).tiny
        total_G = torch.zeros_like(mass_G).index_add_(0, slot_F, student_F)
        part_F = (mass_G / total_G)[slot_F] * student_F
        target_PV.index_put_((position_F, u_F), part_F.to(target_PV.dtype), accumulate=True)

    def _tensors(self, *arrays: np.ndarray) -> list[Tensor]:
        return [torch.from_numpy(array).to(self.student_PV.device) for array in arrays]
