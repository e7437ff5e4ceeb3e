"""Where a run's numbers come from: command, code, packages, machine. No host or user name: run directories get shared.

Example: `write_json(run / "run.json", provenance(sys.argv))`.
"""

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gold_style import PACKAGE, PROJECT, __version__
from gold_style.config.launch import world_size

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "numpy",
    "peft",
    "vllm",
    "deepspeed",
    "hydra-core",
    "omegaconf",
    "wandb",
    "tensorboard",
)


def now() -> str:
    """The time, ISO 8601, UTC, to the microsecond: run.json is ordered by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def git_state(directory: Path = PROJECT) -> dict:
    """{"commit": str | None, "dirty": bool | None} of the project's own checkout; None for an installed copy."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(directory), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != directory.resolve():
            return {"commit": None, "dirty": None}
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def package_versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on, without importing any of it."""
    found = {"gold_style": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device_name(kind: str | None = None) -> str:
    """The accelerator, or the processor, in words: "NVIDIA H200" or "AMD EPYC, 2 threads". Imports torch.

    `kind` is "cpu" or "cuda"; None and "auto" take the GPU where there is one.
    """
    import torch

    if kind in (None, "auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def launcher_prefix() -> list[str]:
    """What starts this many processes again: `python`, or torchrun with the number of them."""
    if world_size() == 1:
        return ["python"]
    per_node = os.environ.get("LOCAL_WORLD_SIZE", str(world_size()))
    nodes = world_size() // max(1, int(per_node))
    return ["torchrun", *(["--nnodes", str(nodes)] if nodes > 1 else []), "--nproc_per_node", per_node]


def command_line(argv: Sequence[str], overrides: Sequence[str]) -> str:
    """A line to paste into a shell: the launcher, the script and `overrides`."""
    return shlex.join([*launcher_prefix(), *script_words(argv[0] if argv else ""), *overrides])


def script_words(script: str) -> list[str]:
    """How a command names a script: by its path from here, or as a module where it came in a wheel."""
    if Path(script).is_relative_to(PACKAGE):
        return ["-m", f"{PACKAGE.name}.{Path(script).stem}"]
    return [os.path.relpath(script) if os.path.exists(script) else "train.py"]


def provenance(argv: Sequence[str]) -> dict:
    """What run.json says about the origin of a run. Not redacted: the writer does that."""
    return {
        "command": command_line(argv, argv[1:]),
        "git": git_state(),
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "num_processes": world_size(),
    }


def differences(recorded: dict, device: str | None = None) -> list[str]:
    """What is not as it was when `recorded` (a run.json) was written, one line each; empty where nothing changed.

    `device` is this run's, as device_name gives it; None leaves the device out.
    """
    here = provenance(())
    lines = []
    then, packages = recorded.get("packages") or {}, here["packages"]
    for name in sorted(then.keys() | packages.keys()):
        before, after = (versions.get(name, "not installed") for versions in (then, packages))
        if before != after:
            lines.append(f"{name}: {before} then, {after} now")
    for key in ("python", "platform", "num_processes"):
        if recorded.get(key) not in (None, here[key]):
            lines.append(f"{key}: {recorded[key]} then, {here[key]} now")
    git_then, git_now = recorded.get("git") or {}, here["git"]
    if git_then.get("commit") != git_now["commit"]:
        lines.append(f"git commit: {git_then.get('commit')} then, {git_now['commit']} now")
    if git_then.get("dirty") or git_now["dirty"]:
        which = " and ".join(word for word, state in (("then", git_then), ("now", git_now)) if state.get("dirty"))
        lines.append(f"git: uncommitted changes {which}")
    if device and recorded.get("device") and recorded["device"] != device:
        lines.append(f"device: {recorded['device']} then, {device} now")
    return lines
