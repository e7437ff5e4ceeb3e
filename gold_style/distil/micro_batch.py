"""A window cut into micro-batches: the rows whose student forward and backward run together, as tensors.

Which rows those are, and which of their tokens are measured, is a pure function of the rows: it changes no gradient.

Shapes: B rows of a micro-batch, T tokens, N scored tokens, D hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gold_style.distil.window import Row
from gold_style.engine.backbone import padded_batches, right_pad
from gold_style.engine.draws import key64


@dataclass
class MicroBatch:
    """Rows whose student forward and backward run together.

    `student_ids_BT` is right-padded; `row_N`, `position_N` say which hidden states predict the N completion tokens.
    `readings` hold the states of each row's scored tokens, (N_row, D), by who has read it: "teacher", and what else the loss reads.
    `weight` multiplies the sum of the per-token losses: 1 / scored tokens of the window over all processes.
    """

    rows: list[Row]
    student_ids_BT: Tensor
    row_N: Tensor
    position_N: Tensor
    completion_N: Tensor
    readings: list[dict[str, Tensor]]
    weight: float
    stats_mask_N: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)  # filled by the objective, detached
    stats_rows_N: Tensor | None = None  # row of each statistic where units are not tokens (None: row_N)

    def reading(self, name: str) -> Tensor:
        """All rows' states, (N, D)."""
        return torch.cat([reading[name] for reading in self.readings])

    def part(self, members: list[int]) -> tuple["MicroBatch", Tensor]:
        """Only those of its rows, and which of the N tokens are theirs."""
        place_B = self.row_N.new_tensor([members.index(b) if b in members else -1 for b in range(len(self.rows))])
        own_N = place_B[self.row_N] >= 0
        rows = {name: [getattr(self, name)[b] for b in members] for name in ("rows", "readings")}
        tokens = {name: getattr(self, name)[own_N] for name in ("position_N", "completion_N", "stats_mask_N")}
        return replace(self, student_ids_BT=self.student_ids_BT[members], row_N=place_B[self.row_N[own_N]], **rows, **tokens), own_N


def cut(rows: Sequence[Row], rows_per_microbatch: int | None, tokens_per_microbatch: int | None) -> list[list[Row]]:
    """Micro-batches of at most so many rows, or of at most so many padded tokens (a longer single row is its own)."""
    if tokens_per_microbatch is None:
        return [list(rows[i : i + rows_per_microbatch]) for i in range(0, len(rows), rows_per_microbatch)]
    lengths = [len(row.student_prompt) + len(row.completion) for row in rows]
    return [[rows[i] for i in batch] for batch in padded_batches(lengths, tokens_per_microbatch)]


def collate(
    rows: list[Row], readings: list[dict[str, Tensor]], weight: float, stats_every: int, *, pad_id: int, device: torch.device
) -> MicroBatch:
    """Tensors of one micro-batch. Every completion token is scored, the first and the stop token included; prompt and padding never.

    Statistics are measured on one token in `stats_every` (0: none): on the same ones however the window is cut.
    """
    # a row without completion (refused by the alignment) still needs one token in the batch
    sequences = [(row.student_prompt + row.completion)[: max(1, len(row.student_prompt) + len(row.completion) - 1)] for row in rows]
    row_N, position_N, completion_N, measured_N = [], [], [], []
    for b, row in enumerate(rows):
        first = len(row.student_prompt) - 1
        row_N += [b] * len(row.completion)
        position_N += range(first, first + len(row.completion))
        completion_N += row.completion
        first_measured = key64("statistics", row.number) % stats_every if stats_every else -1
        measured_N += [i % stats_every == first_measured if stats_every else False for i in range(len(row.completion))]
    return MicroBatch(
        rows=rows,
        student_ids_BT=right_pad(sequences, pad_id, device),
        row_N=torch.tensor(row_N, dtype=torch.long, device=device),
        position_N=torch.tensor(position_N, dtype=torch.long, device=device),
        completion_N=torch.tensor(completion_N, dtype=torch.long, device=device),
        readings=readings,
        weight=weight,
        stats_mask_N=torch.tensor(measured_N, dtype=torch.bool, device=device),
    )
