"""Does a smaller run learn as much? The embedded pair with all weights, LoRA, QLoRA and a quantised teacher, seed by seed.

    python benchmarks/quantization.py [--seeds 0 1 2]    # a minute a row; writes benchmarks/results/quantization_cpu.json
    python benchmarks/quantization.py --errors DIRECTORY # of a model: how far its logits move in each form

Margins are those of the summary: 128 requests that were never trained on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results" / "quantization_cpu.json"
LORA = ("model.lora.enabled=true", "train.optim=adamw_torch_fused", "train.learning_rate=${model.recipe.lora_learning_rate}")
RUNS = {
    "all weights": (),
    "all weights, teacher in 8 bits": ("model.teacher_quantization=int8",),
    "LoRA": LORA,
    "LoRA on 8 bits": (*LORA, "model.student_quantization=int8"),
    "LoRA on 4 bits": (*LORA, "model.student_quantization=int4"),
    "gpu_16gb in float32": ("hardware=gpu_16gb", "hardware.device=cpu", "model.dtype=float32"),
    "all weights, adamw_8bit": ("train.optim=adamw_8bit",),
    "all weights, adamw_torch_fused": ("train.optim=adamw_torch_fused",),
}


def margin(overrides: tuple[str, ...], seed: int, directory: Path) -> dict:
    """A run's margin with its interval."""
    command = [sys.executable, "train.py", "tracker=none", f"seed={seed}", f"output_dir={directory}", "hardware.threads=1", *overrides]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    summary = json.loads((directory / "summary.json").read_text())
    return {"margin": summary["after"]["margin"], "teacher": summary["teacher"]["margin"], "train_seconds": summary["train_seconds"]}


def errors(directory: str) -> None:
    """Prints how far logits and next-token distributions of random ids move in each form."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM

    from gold_style.engine.quantization import quantize

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    ids_BT = torch.randint(5, model.config.vocab_size, (8, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = model(ids_BT).logits
        for form in ("int8", "int4"):
            other = quantize(copy.deepcopy(model), form)(ids_BT).logits
            error = float(((other - own).square().mean() / own.var()).sqrt())
            kl = float((own.softmax(-1) * (own.log_softmax(-1) - other.log_softmax(-1))).sum(-1).mean())
            print(f"{form}: logits off by {error:.3f} of their deviation, KL {kl:.4f} nats")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--errors", metavar="DIRECTORY")
    asked = parser.parse_args()
    if asked.errors:
        return errors(asked.errors)
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in asked.only:
        for seed in asked.seeds:
            with tempfile.TemporaryDirectory() as directory:
                row = found.setdefault(name, {})[str(seed)] = margin(RUNS[name], seed, Path(directory) / "run")
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{name:32} seed {seed}: margin {row['margin']:.3f} of the teacher's {row['teacher']:.3f}", flush=True)


if __name__ == "__main__":
    main()
