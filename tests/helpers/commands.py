"""The project's own commands as a user types them: real processes, real files."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SMALL = ("experiment=smoke", "prompts.eval_samples=2", "prompts.selection_samples=2")  # three steps: does it run, not how well


@dataclass
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def run(self) -> Path:
        """The directory that the last line names."""
        last = self.stdout.rstrip("\n").rsplit("\n", 1)[-1]
        assert last.startswith("run directory: "), f"last line {last!r}; stderr:\n{self.stderr[-3000:]}"
        return Path(last.removeprefix("run directory: "))


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "RANK", "WORLD_SIZE"))}
    return kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "100", **extra}


def start(script: str, *arguments: str, cwd: Path, **extra: str) -> subprocess.Popen:
    """`python <script> <arguments>`, not waited for."""
    command = [sys.executable, str(PROJECT / script), *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(**extra), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen, timeout_s: float = 600) -> Done:
    stdout, stderr = process.communicate(timeout=timeout_s)
    return Done(process.returncode, stdout, stderr)


def python(script: str, *arguments: str, cwd: Path, **extra: str) -> Done:
    return finish(start(script, *arguments, cwd=cwd, **extra))


def door(name: str, *arguments: str, **extra: str) -> Done:
    """`python -m gold_style.<name> <arguments>`, of this checkout whichever is installed; paths have to be absolute."""
    command, streams = [sys.executable, "-m", f"gold_style.{name}", *arguments], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return finish(subprocess.Popen(command, cwd=PROJECT, env=environment(**extra), text=True, stdin=subprocess.DEVNULL, **streams))


def torchrun(num_processes: int, *arguments: str, cwd: Path, launch: tuple[str, ...] = ("--standalone",)) -> Done:
    """`torchrun <launch> --nproc_per_node <n> train.py <arguments>`."""
    command = [sys.executable, "-m", "torch.distributed.run", *launch, "--nproc_per_node", str(num_processes)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return finish(subprocess.Popen([*command, str(PROJECT / "train.py"), *arguments], cwd=cwd, env=environment(), text=True, **streams))


def two_nodes(*arguments: str, cwd: Path) -> list[Done]:
    """The same line of torchrun twice, one process each: two machines that find each other on the loopback device."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        launch = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free.getsockname()[1]}")
    with ThreadPoolExecutor(2) as nodes:
        return [node.result() for node in [nodes.submit(torchrun, 1, *arguments, cwd=cwd, launch=launch) for _ in range(2)]]
