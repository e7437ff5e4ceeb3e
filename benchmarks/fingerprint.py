"""Does a refactoring leave the mathematics alone? Four short runs, and the SHA-256 of the weights each leaves in student/.

    python benchmarks/fingerprint.py                      of this checkout
    git worktree add ../before REVISION && python benchmarks/fingerprint.py ../before ../before/.fingerprints

Hold the two outputs against each other. The runs: the default one, and 20 steps each of two tokenizers, seq_kd and LoRA, on one thread.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = {
    "default": [],
    "two_tokenizers": ["model=tiny_cross_tokenizer", "train.max_steps=20"],
    "seq_kd": ["loss=seq_kd", "train.max_steps=20"],
    "lora": ["model.lora.enabled=true", "train.optim=adamw_torch", "train.max_steps=20"],
}
SAME = ["seed=0", "hardware.threads=1", "tracker=none"]


def fingerprint(student: Path) -> str:
    """SHA-256 over the weight files of a student directory, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(student.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main(checkout: Path, directory: Path) -> None:
    for name, overrides in RUNS.items():
        command = [sys.executable, "train.py", *overrides, *SAME, f"output_dir={directory / name}"]
        subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
        print(f"{name:16} {fingerprint(directory / name / 'student')}", flush=True)


if __name__ == "__main__":
    checkout = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    main(checkout, Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()).resolve())
