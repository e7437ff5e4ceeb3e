"""Running means of what a step measured, per style and per side, between two logged rows.

Names: `train/<what>`, `train/<what>/<style>`, `train/<what>/on_policy`. Units: nats per scored token; tokens; shares in [0, 1].
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch

from gold_style.distil.window import MicroBatch, Row

LABELS = {
    "loss_N": "loss",
    "forward_kl_N": "forward_kl",
    "reverse_kl_N": "reverse_kl",
    "teacher_entropy_N": "teacher_entropy",
    "student_entropy_N": "student_entropy",
    "top1_agree_N": "top1_agreement",
    "matched_S": "matched_loss",  # two tokenizers: the parts of hybrid ULD, per span
    "unmatched_S": "unmatched_loss",
    "crossentropy_S": "crossentropy",
}


class Meters:
    """Sums and counts by metric name; `pop` merges the exports of all processes and empties its own."""

    def __init__(self):
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, name: str, value: float, count: float = 1.0) -> None:
        """Add a sum over `count` things; the logged value is sum / count."""
        pair = self._sums[name]
        pair[0] += value
        pair[1] += count

    def add_rows(self, rows: list[Row]) -> None:
        """Completion lengths and shares of unfinished answers and of scored tokens, per style and per side."""
        for row in rows:
            for suffix in _suffixes(row):
                self.add(f"train/completion_tokens{suffix}", len(row.completion))
                self.add(f"train/unfinished{suffix}", float(not row.finished))
            self.add("train/matched_tokens", row.num_matched, max(1, len(row.completion)))
            self.add("train/on_policy", float(row.on_policy))

    def add_batch(self, batch: MicroBatch, share: float = 1.0) -> None:
        """Per-token statistics of one micro-batch, `share` of its window; tokens that were not measured (NaN) do not count."""
        if not batch.stats:
            return
        names = list(batch.stats)
        table = torch.stack([batch.stats[name].double() for name in names]).cpu()  # one transfer, (names, N)
        measured = ~table.isnan()
        table = table.nan_to_num()
        row_N = batch.stats_rows_N.cpu() if batch.stats_rows_N is not None else batch.row_N.cpu()
        zeros = torch.zeros(len(names), len(batch.rows), dtype=torch.float64)
        sums = zeros.index_add(1, row_N, table).tolist()
        counts = zeros.index_add(1, row_N, measured.double()).tolist()
        for b, row in enumerate(batch.rows):
            for suffix in _suffixes(row):
                for k, name in enumerate(names):
                    if counts[k][b]:
                        self.add(f"train/{LABELS[name]}{suffix}", sums[k][b], counts[k][b])
        if "forward_kl_N" in names:
            self.add("train/measured_tokens", float(measured[names.index("forward_kl_N")].sum()), share)

    def export(self) -> dict[str, tuple[float, float]]:
        return {name: (total, count) for name, (total, count) in self._sums.items()}

    def restore(self, sums: Mapping[str, Sequence[float]]) -> None:
        """Take back what `export` gave: a resumed run goes on in the middle of a row."""
        self._sums.update({name: list(pair) for name, pair in sums.items()})

    def pop(self, exports: Sequence[dict[str, tuple[float, float]]]) -> dict[str, float]:
        """Means over all processes' exports; this process's sums start anew."""
        self._sums.clear()
        totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for export in exports:
            for name, (total, count) in export.items():
                totals[name][0] += total
                totals[name][1] += count
        return {name: total / count if count else math.nan for name, (total, count) in sorted(totals.items())}


def _suffixes(row: Row) -> tuple[str, ...]:
    return "", f"/{row.prompt.style}", "/on_policy" if row.on_policy else "/off_policy"
