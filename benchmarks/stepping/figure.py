"""Draws a result file of benchmarks/step.py: seconds of a step by side, how they grow with the system prompt, peak memory.

    python benchmarks/stepping/figure.py benchmarks/results/step_cpu.json      # writes step_cpu.png beside it

Needs matplotlib: pip install -e '.[bench]'.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SIDES = {
    "stock": ("stock GOLDTrainer", "#b9b3a9"),
    "stable": ("stable DistillationTrainer, no system prompt", "#8fa9bf"),
    "ours": ("ours", "#b3402a"),
}


def draw(path: Path) -> Path:
    """The figure beside the result file. Raises ValueError where the file holds no row."""
    rows = json.loads(path.read_text())
    if not rows:
        raise ValueError(f"{path}: no rows")
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), width_ratios=(1.6, 1, 1), layout="constrained")
    _seconds(axes[0], [row for row in rows if row["system_tokens"] == 600] or rows)
    _growth(axes[1], [row for row in rows if (row["vocab"], row["window"]) == (rows[0]["vocab"], rows[0]["window"])])
    _memory(axes[2], [row for row in rows if row["ours_peak_mb"] is not None and row["stock_peak_mb"] is not None])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    found = path.with_suffix(".png")
    figure.savefig(found, dpi=110)
    plt.close(figure)
    return found


def _seconds(axis, rows: list[dict]) -> None:
    """Bars on a logarithmic scale: rows differ by an order of magnitude, ratios are what counts."""
    for place, (side, (label, colour)) in enumerate(SIDES.items()):
        known = [(i, row[f"{side}_s"]) for i, row in enumerate(rows) if row[f"{side}_s"] is not None]
        axis.bar([i + 0.27 * (place - 1) for i, _ in known], [s for _, s in known], width=0.25, color=colour, label=label)
        for i, seconds in known:
            ratio = rows[i].get(f"ratio_{side}")
            text = f"{seconds:.1f}" + (f"\n{ratio:.1f}x" if ratio else "")
            axis.annotate(text, (i + 0.27 * (place - 1), seconds), ha="center", va="bottom", fontsize=8)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda seconds, _: f"{seconds:g}")
    axis.set_ylim(bottom=1, top=4 * max(row[f"{side}_s"] or 0 for row in rows for side in SIDES))
    axis.set_xticks(range(len(rows)), [f"vocabulary {row['vocab']:,}\n{row['window']} rows a step" for row in rows], fontsize=8)
    axis.set_ylabel("seconds of one training step")
    axis.set_title(f"A step ({rows[0]['system_tokens']} system tokens, {rows[0]['new_tokens']} new tokens; log scale)", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="upper left")


def _growth(axis, rows: list[dict]) -> None:
    rows = sorted(rows, key=lambda row: row["system_tokens"])
    for side in ("stock", "ours"):
        known = [(row["system_tokens"], row[f"{side}_s"]) for row in rows if row[f"{side}_s"] is not None]
        axis.plot(*zip(*known, strict=True), marker="o", color=SIDES[side][1], label=SIDES[side][0])
    axis.set_ylim(bottom=0)
    axis.set_xlabel("tokens of the teacher's system prompt")
    axis.set_ylabel("seconds of one training step")
    axis.set_title(f"Growth with the system prompt (vocabulary {rows[0]['vocab']:,})", fontsize=10)
    axis.legend(fontsize=8, frameon=False)


def _memory(axis, rows: list[dict]) -> None:
    rows = [row for row in rows if row["system_tokens"] == 600] or rows
    for place, side in enumerate(("stock", "ours")):
        peaks = [row[f"{side}_peak_mb"] for row in rows]
        bars = axis.bar([i + 0.38 * (place - 0.5) for i in range(len(rows))], peaks, width=0.36, color=SIDES[side][1])
        axis.bar_label(bars, fmt="%.0f", fontsize=8)
    axis.set_xticks(range(len(rows)), [f"{row['vocab']:,}\n{row['window']} rows" for row in rows], fontsize=8)
    axis.set_ylabel("peak MB besides models, gradients, optimizer")
    axis.set_title("Peak memory (stock: one row, ours: all)", fontsize=10)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(draw(Path(name)))
