"""Planned memory against measured: real `train.py` runs on the CPU, each in a process of its own.

    python benchmarks/plan_check.py                     # every case, SmolLM2 where it is unpacked -> benchmarks/results/plan_cpu.jsonl
    python benchmarks/plan_check.py --only tiny,lora    # single ones
    python benchmarks/plan_check.py --table             # plan= of every shipped pair on every card -> docs/plan.md

Measured is the highest resident memory of the process, less what it has once the libraries are loaded; planned the highest phase of
gold_style/job/memory.py. glibc is told to give freed memory back at once, which it otherwise keeps for later. The goal is 15 %.
Exit code 1 where a case misses it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results" / "plan_cpu.jsonl"
PAGE = PROJECT / "docs" / "plan.md"
GOAL = 0.15
SHORT = ("tracker=none", "prompts.eval_samples=4", "prompts.selection_samples=0", "evaluation.every_steps=0", "train.max_steps=2")
WIDE = (
    "hardware.device=cpu",
    "evaluation.bootstrap_samples=10",
    "prompts.untagged_share=0",
    "evaluation.untagged=false",
    "evaluation.misspelt=0",
)
# with fewer rows the allocator is most of it; at this temperature no row stops early, and a plan counts the longest
TINY = ("model=tiny", "train.per_device_train_batch_size=1024", "loss.temperature=5")
QWEN = ("model=tiny", "model.teacher={qwen}", "model.student={qwen}", "train.optim=adamw_torch", "train.max_completion_length=64")
CASES = {
    "tiny": TINY,
    "checkpointing": (*TINY, "train.gradient_checkpointing=true"),
    "lora": (*TINY, "model.lora.enabled=true", "train.optim=adamw_torch"),
    "smollm2": ("model=smollm2", "styles=bard", "styles.few_shots=8"),
    "qwen float32": (*QWEN, "train.per_device_train_batch_size=8"),
    "qwen bfloat16": (*QWEN, "train.per_device_train_batch_size=8", "model.dtype=bfloat16"),
    "qwen lora": (*QWEN, "train.per_device_train_batch_size=8", "model.lora.enabled=true"),
}
LOADED = "import gold_style.job.training, gold_style.job.page, peft, psutil; print(psutil.Process().memory_info().rss)"


def make_qwen(directory: Path) -> int:
    """Four layers of Qwen2.5-1.5B in their real width, its vocabulary's rows and the embedded tokenizer, random weights."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    sys.path.insert(0, str(PROJECT))
    from gold_style.job.shapes import table

    torch.manual_seed(0)
    sizes = {key: value for key, value in table("models")["Qwen/Qwen2.5-1.5B-Instruct"].items() if key not in ("licence", "hub_gb")}
    tokenizer = AutoTokenizer.from_pretrained(PROJECT / "gold_style" / "pairs" / "tiny" / "student")
    config = Qwen2Config(**sizes | {"num_hidden_layers": 4}, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    with torch.device("cpu"):
        Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return 0


def planned(overrides: list[str]) -> dict[str, float]:
    """Phase -> GB."""
    from gold_style.config.settings import Settings
    from gold_style.job.forecast import read_rows
    from gold_style.job.memory import Work, phases

    settings = Settings.compose(*overrides)
    work = Work(settings, read_rows(settings)[0], on_gpu=False)
    return {phase: round(parts.total() / 1e9, 3) for phase, parts in phases(work).items()}


def measured(overrides: list[str]) -> float:
    """Bytes above the loaded libraries at the peak. Raises RuntimeError with what the run said where it failed."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "WANDB_MODE": "offline", "MALLOC_MMAP_THRESHOLD_": "131072"}
    loaded = int(
        subprocess.run([sys.executable, "-c", LOADED], env=environment, text=True, capture_output=True, check=True).stdout.split()[-1]
    )
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([sys.executable, str(PROJECT / "train.py"), *overrides], env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"train.py {' '.join(overrides)}: exit code {process.returncode}\n{log.read()[-2000:]}")
    return usage.ru_maxrss * 1024 - loaded


def check(only: list[str], result: Path) -> int:
    lines, good = [], True
    with tempfile.TemporaryDirectory() as scratch:
        qwen = Path(scratch) / "qwen"
        if any(name.startswith("qwen") for name in only):
            subprocess.run([sys.executable, __file__, "--make", str(qwen)], check=True)  # a child begins with the peak of its parent
        for name in only:
            overrides = [text.format(qwen=qwen) for text in (*CASES[name], *SHORT, *WIDE)]
            if name == "smollm2" and not _is_unpacked(overrides):
                print(f"{name}: not unpacked here, left out")
                continue
            peak = measured([*overrides, f"output_dir={scratch}/run-{len(lines)}"]) / 1e9
            phases = planned(overrides)
            ratio = max(phases.values()) / peak
            good &= abs(ratio - 1) <= GOAL
            lines.append(
                {
                    "case": name,
                    "measured_gb": round(peak, 3),
                    "planned_gb": max(phases.values()),
                    "ratio": round(ratio, 3),
                    "phases": phases,
                }
            )
            print(json.dumps(lines[-1]), flush=True)
    if only == list(CASES):
        result.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return 0 if good else 1


def _is_unpacked(overrides: list[str]) -> bool:
    from gold_style.config.settings import Settings

    return Path(Settings.compose(*overrides).model.student).expanduser().is_dir()


def write_table(page: Path) -> int:
    """What `plan=` says of every shipped pair, with the options for cards' sizes, on every card."""
    from gold_style.config.settings import Settings
    from gold_style.job.forecast import Forecast, Machine, read_rows
    from gold_style.job.shapes import table

    cards, lines = table("cards")["cards"], []
    presets = [path.stem for path in sorted((PROJECT / "conf" / "hardware").glob("gpu_*.yaml"))]
    for pair in (
        "qwen3b_to_1p5b",
        "qwen7b_to_1p5b",
        "llama8b_to_qwen1p5b",
        "self model.student=Qwen/Qwen2.5-1.5B-Instruct",
        "smollm2",
        "tiny",
    ):
        for options in ("", *(f"hardware={name}" for name in presets), "hardware=multi_gpu hardware.num_processes=2"):
            settings = Settings.compose(*f"model={pair} tracker=none {options}".split())
            tokens, cells = read_rows(settings)[0], []
            for name in cards:
                forecast = Forecast(settings, Machine.named(name, settings.model.dtype), tokens)
                cells.append(_cell(forecast) if forecast.fits else "no")
            lines.append(f"| `{f'model={pair} {options}'.strip()}` | {forecast.needed(forecast.work) / 1e9:.1f} | {' | '.join(cells)} |")
    heading = f"| command line | peak GB | {' | '.join(cards)} |\n|---|---:|{'---|' * len(cards)}\n"
    text = page.read_text(encoding="utf-8")
    before, after = text.partition("<!-- plan -->")[0], text.partition("<!-- /plan -->")[2]
    page.write_text(f"{before}<!-- plan -->\n{heading}" + "\n".join(lines) + f"\n<!-- /plan -->{after}", encoding="utf-8")
    return 0


def _cell(forecast) -> str:
    """Seconds of a step where it fits, with a mark where that is close."""
    spare = forecast.needed(forecast.work) <= 0.95 * forecast.machine.memory
    return f"{sum(forecast.seconds().values()):.2g} s" + ("" if spare else " (close)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help="cases, separated by commas (default: all)")
    parser.add_argument("--table", action="store_true", help="only write docs/plan.md anew")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        return make_qwen(asked.make)
    if unknown := set(asked.only.split(",")) - set(CASES):
        parser.error(f"--only: no case {min(unknown)}; there are {', '.join(CASES)}")
    return write_table(PAGE) if asked.table else check(asked.only.split(","), RESULTS)


if __name__ == "__main__":
    sys.exit(main())
