"""Seconds and memory of one training step: ours against stock GOLDTrainer and TRL's stable DistillationTrainer, in turns in one process.

    make bench                                        # all rows: about 55 minutes on two cores, 40 without real weights
    make bench-quick                                  # the first row in one round, into quick_cpu.json: under five minutes
    python benchmarks/step.py --rows 8192/600/8 --rounds 1     # vocabulary / system tokens / window
    python benchmarks/step.py --rows smollm2          # real weights, if they are unpacked; smollm2/8: with 8 rows a step
    python benchmarks/step.py --device cuda           # Qwen2.5 3B and 1.5B in their real shapes, bf16, random weights

All sides have the same shapes, prompts, sampling (temperature 1, whole distribution), optimizer (AdamW) and number of threads, no gradient
checkpointing, and run their own whole training loop (stepping/turns.py). What one row means stands in stepping/shapes.py, the peak
memory in stepping/memory.py, the floor in stepping/floor.py, the files in stepping/results.py.
"""

import argparse
import gc
import os
import statistics
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

JUDGED = ["8192/600/8", "151936/600/8", "8192/600/32"]  # three rounds each
REAL = ["smollm2"]  # three rounds; left out where the weights are not there
FURTHER = ["32768/600/8", "8192/0/8", "8192/300/8", "8192/1200/8"]  # one round each
STABLE_VOCAB = 8192  # the only vocabulary that the stable trainer is measured at, on the CPU
WARM_TOKENS = 4  # new tokens of a first step that is not counted


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", nargs="+", help="vocabulary/system tokens/window of each row, or smollm2[/window] (default: those of make bench)"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each row (default: 3 for judged rows and smollm2, else 1)")
    parser.add_argument("--new-tokens", type=int, help="default: 128; smollm2: 48")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--pair", help="toy (default on the CPU), qwen (default on a GPU) or smallest")
    parser.add_argument("--sides", nargs="+", default=["stock", "stable", "ours"], help="measure only these")
    parser.add_argument("--no-memory", action="store_true", help="leave the peak memory out")
    parser.add_argument("--out", type=Path, help="result file (default: benchmarks/results/step_<device>.json)")
    parser.add_argument("--quick", action="store_true", help="the first judged row in one round, into quick_<device>.json")
    asked = parser.parse_args()
    if asked.quick:
        asked.rows, asked.rounds = asked.rows or JUDGED[:1], asked.rounds or 1
    return asked


def silence() -> None:
    warnings.filterwarnings("ignore")
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


class Row:
    """One shape: its trainers, one round at a time, and its peak memory."""

    def __init__(self, name: str, asked: argparse.Namespace, directory: Path):
        from stepping.shapes import PAIRS, texts
        from stepping.turns import clock

        self.name, self.asked, self.directory = name, asked, directory
        self.shape, self.pair_name = _shape(name, asked)
        self.pair = PAIRS[self.pair_name]
        self.num_rounds = asked.rounds or (3 if name in JUDGED + REAL else 1)
        has_stable = asked.device == "cpu" and (self.shape.vocab == STABLE_VOCAB or self.is_real)
        self.sides = [side for side in asked.sides if side != "stable" or has_stable]
        self.now = clock(asked.device, asked.threads)
        self.prompts = texts(self.shape).prompts
        self.rounds: list[dict[str, float]] = []
        self.flops: list[float] = []  # that each round of ours needed
        self.peaks: dict[str, float] = {}
        self.prefix_mb: float | None = None

    @property
    def is_real(self) -> bool:
        return self.pair_name == "smollm2"

    def measure_memory(self, say) -> None:
        from stepping.memory import measure_in_child

        for side in ("stock", "ours"):
            if side in self.sides and not self.asked.no_memory:
                say(f"{self.name}: memory, {side}")
                found = measure_in_child(side, self.shape, self.pair_name, self.asked.device)
                self.peaks[side] = round(found["peak_mb"], 1)
                self.prefix_mb = found["prefix_mb"]

    def prepare(self) -> None:
        """Build the sides' models and trainers and let them take a short step, so that memory and caches are in place.

        Where three rounds are measured the median passes over the first one: there only ours, whose step is short, takes it.
        """
        import torch
        from stepping import floor, ours, shapes, stable, stock, turns

        device, cuda = self.asked.device, self.asked.device == "cuda"
        compute = torch.bfloat16 if cuda else torch.float32
        self.rate = floor.best_rate(self.now, device, compute)
        self.bandwidth = floor.best_bandwidth(self.now, device) if cuda else None
        teacher = shapes.build_model(self.pair.teacher, self.shape, 2, compute, device).eval().requires_grad_(False)
        modules = {"stock": stock, "stable": stable, "ours": ours}
        self.loops = {}
        for side in self.sides:
            trained = torch.float32 if side == "ours" else compute
            student = shapes.build_model(self.pair.student, self.shape, 1, trained, device)
            where = self.directory / f"{self.name.replace('/', '-')}-{side}"
            warms_up = side == "ours" or self.num_rounds < 3
            trainer = modules[side].build_trainer(self.shape, student, teacher, where, steps=warms_up + self.num_rounds, device=device)
            if warms_up:
                modules[side].set_new_tokens(trainer, WARM_TOKENS)
            self.loops[side] = turns.Loop(trainer, self.now)
            if warms_up:
                self.loops[side].step()
            modules[side].set_new_tokens(trainer, self.shape.new_tokens)

    def round(self, say) -> None:
        self.rate = max(self.rate, self._rate())
        found = {}
        for side in self.sides:
            say(f"{self.name}: round {len(self.rounds) + 1}, {side}")
            before = self._parts() if side == "ours" else {}
            found[side] = round(self.loops[side].step(), 4)
            if side == "ours":
                found["parts"] = {name: round(seconds - before.get(name, 0.0), 4) for name, seconds in self._parts().items()}
                found["new_tokens"] = self._count()
        self.rounds.append(found)

    def _rate(self) -> float:
        import torch
        from stepping import floor

        return floor.best_rate(self.now, self.asked.device, torch.bfloat16 if self.asked.device == "cuda" else torch.float32, tries=3)

    def _count(self) -> int:
        """New tokens of our latest step; what it had to compute joins `flops`."""
        from stepping import floor

        rows = self.loops["ours"].trainer.window
        lengths = [len(row.completion) for row in rows]
        self.flops.append(floor.step_flops(self.pair, self.shape, [len(row.student_prompt) for row in rows], lengths))
        return sum(lengths)

    def _parts(self) -> dict[str, float]:
        return dict(self.loops["ours"].trainer.meters.seconds)

    def write(self, path: Path) -> dict:
        from stepping import floor, results
        from stepping.shapes import load_tokenizer

        chat = self.loops["ours"].trainer.row_maker.chat
        lengths = [len(chat.student_ids(prompt)) for prompt in self.prompts]
        assert len(load_tokenizer(self.shape)) == self.shape.vocab_size
        flops = statistics.median(self.flops)
        floor_s = flops / self.rate
        details = results.provenance(self.asked.device, self.asked.threads) | {"pair": self.pair_name, "rounds": self.rounds}
        details["prefix_cache_mb"] = self.prefix_mb
        if self.bandwidth:
            moved = floor.step_bytes(self.pair, self.shape, lengths)
            floor_s = moved / self.bandwidth
            details |= {"bytes": moved, "bytes_per_second": self.bandwidth}
        row = results.summarise(self.shape, self.asked.threads, self.rounds, self.peaks, floor_s)
        details |= {"flop": flops, "flop_per_second": self.rate, "floor_s": round(floor_s, 4)}
        details["new_tokens_per_second"] = round(self.rounds[-1]["new_tokens"] / self.rounds[-1]["ours"], 1)
        results.write(path, row, details)
        return row


def main() -> None:
    asked = arguments()
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    for name, value in (("TOKENIZERS_PARALLELISM", "false"), ("HF_HUB_OFFLINE", "1"), ("TRL_EXPERIMENTAL_SILENCE", "1")):
        os.environ.setdefault(name, value)
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from stepping import real
    from stepping.results import RESULTS

    torch.set_num_threads(asked.threads)
    silence()
    name = torch.cuda.get_device_name().replace(" ", "_") if asked.device == "cuda" else "cpu"
    path = asked.out or RESULTS / f"{'quick' if asked.quick else 'step'}_{name}.json"
    wanted = asked.rows or ([f"151936/600/{window}" for window in (8, 32)] if asked.device == "cuda" else JUDGED + REAL + FURTHER)
    others = [name for name in wanted if name.split("/")[0] != real.NAME]
    if others != wanted and (why := real.missing()):
        print(why)
        wanted = others
    if not wanted:
        return
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as directory, bar:
        rows = [Row(name, asked, Path(directory)) for name in wanted]
        total = sum((row.num_rounds + 1) * _cost(row) for row in rows)
        task = bar.add_task("models and trainers", total=total)

        def say(text: str) -> None:
            bar.update(task, description=text)

        for row in rows:
            row.measure_memory(say)
            say(f"{row.name}: models and trainers")
            row.prepare()
            bar.advance(task, _cost(row))
            for _ in range(row.num_rounds):
                row.round(say)
                found = row.write(path)
                bar.advance(task, _cost(row))
            bar.console.print(" ".join(f"{key}={value}" for key, value in found.items()), soft_wrap=True)
            row.loops.clear()
            gc.collect()
    print(f"results: {path}")


def _shape(name: str, asked: argparse.Namespace):
    """What is measured, and with which pair."""
    from stepping.real import NAME, NEW_TOKENS, WINDOW, RealShape
    from stepping.shapes import Shape

    kind, *numbers = name.split("/")
    if kind == NAME:
        return RealShape.of(int(numbers[0]) if numbers else WINDOW, asked.new_tokens or NEW_TOKENS), NAME
    vocab, system_tokens, window = map(int, (kind, *numbers))
    shape = Shape(vocab=vocab, system_tokens=system_tokens, window=window, new_tokens=asked.new_tokens or 128)
    return shape, asked.pair or ("qwen" if asked.device == "cuda" else "toy")


def _cost(row: Row) -> float:
    """About how long a round takes, in any unit: what the progress bar advances by."""
    return row.shape.window * (1 + row.shape.vocab / 20_000) * len(row.sides) * (1.5 if row.is_real else 1)


if __name__ == "__main__":
    main()
