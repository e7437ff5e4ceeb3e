"""How long `python -m gold_style.compare` takes on 1,000 run directories, made up but of the size that real ones have.

    python benchmarks/compare_1000.py [--runs 1000] [--keep DIR]

120 logged steps of 30 metrics, 128 requests under two tags, a config of the whole default style pack; two settings and
the seed vary, 2 % of the runs failed. Prints seconds of the command and the size of what it wrote.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tests.helpers.run_files import write_run  # noqa: E402

METRICS = [f"train/extra_{number}" for number in range(24)]


def make_runs(root: Path, number: int) -> None:
    """`number` run directories under root/<day>/<sweep>/."""
    config = {"styles": yaml.safe_load((ROOT / "conf/styles/joseon.yaml").read_text(encoding="utf-8"))}
    templates = [
        write_run(root / f"template{seed}", config=config, requests=128, steps=120, seed=seed, after=(0.99 - 0.05 * seed, 0.02))
        for seed in range(6)
    ]
    grid = itertools.product(range(-(-number // 40)), (0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0), (0, 0.25, 0.5, 0.75, 1.0))
    for index, (seed, beta, lmbda) in enumerate(itertools.islice(grid, number)):
        template = templates[(index // 7) % len(templates)]
        directory = root / f"2026-11-{1 + index % 28:02d}" / f"sweep{index % 5}" / str(index)
        directory.mkdir(parents=True)
        settings = {**config, "seed": seed, "output_dir": str(directory), "loss": {"beta": beta, "lmbda": lmbda}}
        text = yaml.dump(settings, allow_unicode=True, sort_keys=False, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
        (directory / "config.yaml").write_text(text, encoding="utf-8")
        rows = [json.loads(line) for line in (template / "metrics.jsonl").read_text().splitlines()]
        rows = [{**row, **{name: 0.123456789 * index for name in METRICS}} for row in rows]
        (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        failed = index % 50 == 49
        state = {"status": "failed" if failed else "completed", "seed": seed, "started": f"2026-11-{1 + index % 28:02d}T10:00"}
        (directory / "run.json").write_text(json.dumps(state | ({"reason": "out of memory"} if failed else {})))
        if not failed:
            for name in ("samples.jsonl", "summary.json"):
                shutil.copy(template / name, directory / name)
    for template in templates:
        shutil.rmtree(template)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="make the runs here and leave them")
    given = parser.parse_args()
    root = given.keep or Path(tempfile.mkdtemp())
    make_runs(root, given.runs)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "gold_style.compare", str(root), "--output", str(root / "out")], cwd=ROOT, check=True)
    seconds = time.perf_counter() - start
    size = (root / "out" / "compare.html").stat().st_size / 1e6
    print(f"{given.runs} runs compared in {seconds:.1f} s; compare.html {size:.1f} MB")
    if not given.keep:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
