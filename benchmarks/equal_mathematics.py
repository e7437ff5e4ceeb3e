"""Writes docs/equal_mathematics.md: twenty steps under every launch, micro-batch and checkpoint, and how far apart their numbers are.

python benchmarks/equal_mathematics.py        # minutes; the row of a teacher behind Ray needs `pip install 'gold-style[ray]'`
"""

import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.helpers.equal_mathematics import BF16_TOLERANCE, CASES, TOLERANCE, compared, run_all  # noqa: E402

PAGE = PROJECT / "docs/equal_mathematics.md"
HEADS = {
    "loss of its first step": "loss, first step",
    "gradient": "gradient, first step",
    "loss of 20": "loss, worst step",
    "weights": "weights at the end",
}
TEXT = f"""# Equal mathematics

The same experiment in every way that the project offers: twenty optimizer steps of eight rows that student and teacher write, small
random models, a CPU. It is spread over processes, cut into micro-batches, and continued from checkpoints of step 10. Each row says how
far its numbers are, relatively, from those of the run that it is held against: at most {TOLERANCE:g} in float32, {BF16_TOLERANCE:g} in
bf16. Same rows: both trained on the same completions, token by token.

```bash
python benchmarks/equal_mathematics.py     # writes this page; `make test-all` holds every row, `make test-ray` that of Ray
```

{{table}}

- Gradient: of the whole vector, |difference| / |gradient|. For a run that continues from a checkpoint, the gradient's norm.
- Two processes use gloo. FSDP2 is torch's; accelerate is told that the CPU is an accelerator, without which it does not shard
  ([what could not be run](how_to/cluster.md#what-could-not-be-run-here)).
- In bf16 the teacher writes all rows, and micro-batches have one row: products of other batches round otherwise, and a sampled token
  can change.
- Dropout draws anew in every process, so a student with dropout has other numbers there.
"""


def table(found: dict[str, dict]) -> str:
    lines = [f"| run | held against | {' | '.join(HEADS.values())} | same rows |", "|---|---|---:|---:|---:|---:|---|"]
    for name, case in CASES.items():
        if case.like != name:
            numbers = compared(found[name], found[case.like])
            figures = " | ".join(f"{numbers[head]:.1e}" if numbers[head] else "0" for head in HEADS)
            lines.append(f"| {name} | {case.like} | {figures} | {'yes' if numbers['same rows'] else 'no'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        PAGE.write_text(TEXT.replace("{table}", table(run_all(Path(directory)))), encoding="utf-8")
