"""Checkpoints of a few bytes, written and sealed as a trainer does it."""

from pathlib import Path

from gold_style.runs.checkpoints import PARTIAL, seal_checkpoint


def make_checkpoint(directory: Path, step: int, content: bytes = b"weights") -> Path:
    partial = directory / PARTIAL / f"checkpoint-{step}"
    (partial / "global_step").mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(content)
    (partial / "global_step" / "optimizer.pt").write_bytes(b"state" * step)
    (partial / "empty").touch()
    final = directory / f"checkpoint-{step}"
    seal_checkpoint(partial, final)
    return final
