"""Starts train.py in processes that have torch and transformers loaded already: a start costs a third, and is as real.

A server (`python tests/torture/starter.py`) imports the libraries once and forks for every request; the child becomes
`train.py OVERRIDES` as if it had been started by a shell: own process, own directory, environment and output, killed by real
signals. `Starter.run` is the other side, in the torture's own process; several may run at once.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


class Starter:
    """One server; it serves one process at a time, so every worker thread has its own."""

    own = threading.local()

    def __init__(self, environment: dict[str, str]):
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    @classmethod
    def of_this_thread(cls, environment: dict[str, str]) -> "Starter":
        if getattr(cls.own, "starter", None) is None:
            cls.own.starter = cls(environment)
        return cls.own.starter

    def run(
        self, script: str, arguments: list[str], directory: Path, environment: dict[str, str], plan: Path | None
    ) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of `script ARGUMENTS`, under the probe where there is a plan; -9 for a killed one."""
        with tempfile.TemporaryDirectory() as temporary:
            out, err = Path(temporary, "out"), Path(temporary, "err")
            request = {"script": script, "arguments": arguments, "cwd": str(directory), "environment": environment}
            self.server.stdin.write(json.dumps(request | {"plan": plan and str(plan), "out": str(out), "err": str(err)}) + "\n")
            self.server.stdin.flush()
            code = int(self.server.stdout.readline())
            return code, out.read_text(errors="replace"), err.read_text(errors="replace")


def serve() -> dict | None:
    """Forks for every request and answers with the exit code. Returns the request in the child, None at the end."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return request
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(code, flush=True)
    return None


def become(request: dict) -> None:
    """What is left of this process is the script, with its own output, directory and environment."""
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["out"], os.O_WRONLY | os.O_CREAT),
        (2, request["err"], os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = open(0, closefd=False)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    script = str(PROJECT / request["script"])
    sys.argv, sys.path[0] = [script, *request["arguments"]], str(PROJECT)
    if request["plan"]:
        from tests.torture import probe

        probe.start(json.loads(Path(request["plan"]).read_text()))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    sys.path[:0] = [str(PROJECT)]
    import wandb  # noqa: F401

    import gold_style.job.training  # noqa: F401 - with torch, transformers and trl

    if (asked := serve()) is not None:
        become(asked)
