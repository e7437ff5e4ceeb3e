"""Where a run's numbers come from: command, code, packages, machine. No host or user name: run directories get shared.

Example: `write_json(run / "run.json", provenance(sys.argv))`.
"""

import contextlib
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

COMPUTING = ("torch", "transformers", "trl", "accelerate", "datasets", "tokenizers", "safetensors", "numpy", "peft", "vllm")
TOOLS = ("hydra-core", "omegaconf", "wandb", "tensorboard")
RECORDED = ("python", "platform", "num_processes", "device", "template_date", "data", "config_hash")  # beside code and packages


def now() -> str:
    """The time, ISO 8601, UTC, to the microsecond: run.json is ordered by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def git_state(directory: Path = PROJECT) -> dict:
    """{"commit": str | None, "dirty": bool | None} of the project's own checkout; None for an installed copy."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(directory), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if Path(git("rev-parse", "--show-toplevel")).resolve() == directory.resolve():
            return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    return {"commit": None, "dirty": None}


def package_versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on, without importing any of it."""
    found = {"gold_style": __version__}
    for name in (*COMPUTING, *TOOLS):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def device_name(kind: str | None = None) -> str:
    """The name of the accelerator, or of the processor: "NVIDIA H200" or "AMD EPYC, 2 threads". Imports torch.

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


def differences(recorded: dict, device: str | None = None, state: dict | None = None) -> list[str]:
    """What has changed since `recorded` (a run.json) was written, one line each.

    `device` is this run's, as device_name gives it; None leaves the device out. `state`: this run's own run.json, for what
    else was recorded.
    """
    here = (state or {}) | provenance(()) | {"device": device}
    packages_then, git_then = recorded.get("packages") or {}, recorded.get("git") or {}
    pairs = [("git commit", git_then.get("commit"), here["git"]["commit"])]
    for name in sorted(packages_then.keys() | here["packages"].keys()):
        pairs.append((name, packages_then.get(name, "not installed"), here["packages"].get(name, "not installed")))
    for key in RECORDED:
        pairs += [(key, recorded[key], here[key])] if recorded.get(key) and here.get(key) else []
    changed = [f"{name}: {then} then, {now} now" for name, then, now in pairs if then != now]
    dirty = [word for word, state in (("then", git_then), ("now", here["git"])) if state.get("dirty")]
    return changed + ([f"git: uncommitted changes {' and '.join(dirty)}"] if dirty else [])
