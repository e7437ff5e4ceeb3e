"""The study behind docs/study_beta_lmbda.md: runs what is missing, then writes the tables and figures of that page.

    python benchmarks/study.py                         two jobs at a time, about 35 minutes on two idle cores; goes on where it was
    python benchmarks/study.py --jobs 1 --through "nice -n 10"
    python benchmarks/study.py --only-write            from the runs that are there

Every part is a sweep of its own under multirun/study/, run by train.py with resume=auto; all share one cache. What stands outside the
markers `<!-- study -->` of the page is written by hand and stays.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SHORT = (  # shorter than the default run: at its 160 steps nearly every setting ends at the ceiling, and nothing can be told apart
    "train.max_steps=80",
    "prompts.eval_samples=64",
    "prompts.untagged_share=0",
    "evaluation.untagged=false",
    "evaluation.misspelt=0",
    "evaluation.every_steps=10",
    "evaluation.live_samples=24",
    "tracker=none",
    "hardware=cpu",
    "hardware.threads=1",
)
PARTS = {  # name -> what it varies; the first three are one grid
    **{f"grid-{seed}": ("sweep=beta_lmbda", f"seed={seed}") for seed in (0, 1, 2)},
    "warm_start": ("seed=0,1,2", "loss.warm_start_steps=20"),
    "teacher_prompt": ("seed=0,1,2", "styles.teacher_prompt=per_style"),
    "pairing": ("seed=0,1,2", "prompts.pairing=paired"),
}
INTERRUPTED = (130, 138, 143)  # 128 + signal: asked to end, to go on later


def run_part(root: Path, name: str, through: list[str]) -> int:
    """One sweep, until it ends by itself; returns its exit code."""
    command = [sys.executable, str(ROOT / "train.py"), "-m", *PARTS[name], *SHORT, f"output_dir={root / name}"]
    command += [f"cache.dir={root / '.cache'}", "resume=auto"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    while True:
        start = time.monotonic()
        with open(root / f"{name}.txt", "a") as console:
            code = subprocess.run([*through, *command], cwd=ROOT, env=environment, stdout=console, stderr=console).returncode
        print(f"{name}: exit code {code} after {time.monotonic() - start:.0f} s", flush=True)
        if code not in INTERRUPTED:
            return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=2, help="sweeps that run at a time")
    parser.add_argument("--through", default="", help="command in front of each sweep, for instance 'nice -n 10'")
    parser.add_argument("--root", type=Path, default=ROOT / "multirun" / "study", help="where the runs go")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "study_beta_lmbda.md")
    parser.add_argument("--only-write", action="store_true", help="run nothing")
    given = parser.parse_args()
    given.root.mkdir(parents=True, exist_ok=True)
    codes = []
    if not given.only_write:
        with ThreadPoolExecutor(given.jobs) as pool:
            codes = list(pool.map(lambda name: run_part(given.root, name, shlex.split(given.through)), PARTS))
    from study_page import write_page

    write_page(given.root, given.page, list(PARTS), SHORT)
    print(given.page)
    sys.exit(max(codes, default=0))


if __name__ == "__main__":
    main()
