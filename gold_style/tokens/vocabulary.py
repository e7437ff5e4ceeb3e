"""Which ids of two vocabularies mean the same, and which are text at all.

    match = VocabularyMatch.between(student_bytes, teacher_bytes, student_stop_id, teacher_stop_id)

Tokens are matched by their bytes, so `Ġa` of one family meets `▁a` of the other; the two stop tokens are a pair
whatever their names. Every other special token and every padding row of either head is left out of both sides.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gold_style.tokens.token_bytes import TokenBytes


@dataclass(frozen=True, eq=False, kw_only=True)
class VocabularyMatch:
    """M matched pairs of ids, U ids that only the student has, W ids that only the teacher has."""

    student_matched_M: Tensor
    teacher_matched_M: Tensor
    student_unmatched_U: Tensor
    teacher_unmatched_W: Tensor
    student_stop_id: int
    teacher_stop_id: int

    @classmethod
    def between(cls, student: TokenBytes, teacher: TokenBytes, student_stop_id: int, teacher_stop_id: int) -> "VocabularyMatch":
        """Each id is matched at most once; of several ids with the same bytes only the ordinary one is."""
        shared = sorted(student.id_of.keys() & teacher.id_of.keys(), key=teacher.id_of.__getitem__)
        student_matched = np.array([student.id_of[piece] for piece in shared] + [student_stop_id])
        teacher_matched = np.array([teacher.id_of[piece] for piece in shared] + [teacher_stop_id])
        return cls(
            student_matched_M=torch.from_numpy(student_matched),
            teacher_matched_M=torch.from_numpy(teacher_matched),
            student_unmatched_U=torch.from_numpy(np.setdiff1d(np.flatnonzero(~student.special), student_matched)),
            teacher_unmatched_W=torch.from_numpy(np.setdiff1d(np.flatnonzero(~teacher.special), teacher_matched)),
            student_stop_id=student_stop_id,
            teacher_stop_id=teacher_stop_id,
        )

    def to(self, device: torch.device) -> "VocabularyMatch":
        moved: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)

    @property
    def matched_share(self) -> float:
        """Matched share of the teacher's usable ids, in [0, 1]: the adaptive weight of the hybrid loss."""
        return len(self.teacher_matched_M) / (len(self.teacher_matched_M) + len(self.teacher_unmatched_W))
