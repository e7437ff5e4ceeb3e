"""What a process has measured: totals of its run, and running means per style and per side between two logged rows.

Names: `train/<what>`, `train/<what>/<style>`, `train/<what>/on_policy`. Units: nats per scored token; tokens; shares in [0, 1].
"""

import copy
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gold_style.distil.micro_batch import MicroBatch
from gold_style.distil.window import Row

LABELS = {  # where a metric is not named as the statistic
    "top1_agree": "top1_agreement",
    "matched": "matched_loss",  # two tokenizers: the terms of hybrid ULD, per span
    "unmatched": "unmatched_loss",
}


@dataclass
class Meters:
    """One process's share; its fields travel with a checkpoint."""

    num_tokens: int = 0  # of completions, generated or read
    num_skipped_steps: int = 0  # dropped by on_nonfinite=skip
    not_aligned: dict[str, int] = field(default_factory=dict)  # completions that did not reach the teacher complete, by reason
    seconds: dict[str, float] = field(default_factory=dict)  # of each phase of a step
    pending_numbers: dict[str, float | None] = field(default_factory=dict)  # join the next row
    sums: dict[str, list[float]] = field(default_factory=dict)  # metric: [sum, count] since the last row

    def add(self, name: str, value: float, count: float = 1.0) -> None:
        """Add a sum over `count` things; the logged value is sum / count."""
        pair = self.sums.setdefault(name, [0.0, 0.0])
        pair[0] += value
        pair[1] += count

    def add_rows(self, rows: list[Row]) -> None:
        """Completion lengths and shares of unfinished answers and of scored tokens, per style and per side."""
        for row in rows:
            self.num_tokens += len(row.completion)
            if row.reason != "exact":
                self.not_aligned[row.reason] = self.not_aligned.get(row.reason, 0) + 1
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
        row_N = (batch.row_N if batch.stats_rows_N is None else batch.stats_rows_N).cpu()
        zeros = torch.zeros(len(names), len(batch.rows), dtype=torch.float64)
        sums = zeros.index_add(1, row_N, table).tolist()
        counts = zeros.index_add(1, row_N, measured.double()).tolist()
        for b, row in enumerate(batch.rows):
            for suffix in _suffixes(row):
                for k, name in enumerate(names):
                    if counts[k][b]:
                        what = name[: -len("_N")]
                        self.add(f"train/{LABELS.get(what, what)}{suffix}", sums[k][b], counts[k][b])
        if "forward_kl_N" in names:
            self.add("train/measured_tokens", float(measured[names.index("forward_kl_N")].sum()), share)

    def export(self) -> dict[str, Any]:
        """The fields, for `restore` and for the `pop` of another process."""
        return copy.deepcopy(vars(self))

    def restore(self, shares: Sequence[Mapping[str, Any]]) -> None:
        """Take back what one process or several have exported: a resumed run starts in the middle of a row, maybe in fewer processes."""
        for share in copy.deepcopy(list(shares)):
            share["num_tokens"] += self.num_tokens
            share["not_aligned"] = dict(Counter(self.not_aligned) + Counter(share["not_aligned"]))
            for name, pair in self.sums.items():
                share["sums"][name] = [a + b for a, b in zip(pair, share["sums"].get(name, (0.0, 0.0)), strict=True)]
            vars(self).update(share)

    def pop(self, shares: Sequence[dict[str, Any]], of_the_loop: dict[str, float]) -> dict[str, float | None]:
        """The next logged row, from all processes' exports and the loop's own numbers; this process's sums start anew."""
        totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for share in shares:
            for name, (total, count) in share["sums"].items():
                totals[name][0] += total
                totals[name][1] += count
        means = {name: total / count if count else math.nan for name, (total, count) in sorted(totals.items())}
        loss = means.pop("train/window_loss")
        row = {"train/loss": math.nan} | means | {"train/loss": loss} | of_the_loop
        not_aligned = sum((Counter(share["not_aligned"]) for share in shares), Counter())
        row |= {f"train/not_aligned/{reason}": count for reason, count in not_aligned.items()}
        if self.num_skipped_steps:
            row["train/skipped_steps"] = self.num_skipped_steps
        row |= {f"perf/{name}_s": seconds for name, seconds in self.seconds.items()} | self.pending_numbers
        row["perf/tokens"] = sum(share["num_tokens"] for share in shares)
        self.sums, self.pending_numbers = {}, {}
        return row


def _suffixes(row: Row) -> tuple[str, ...]:
    return "", f"/{row.prompt.style}", "/on_policy" if row.on_policy else "/off_policy"
