"""A job in a process of its own: what it leaves in memory goes with it, and what kills it kills nothing else.

Without an NVIDIA or AMD device, processes are forked from a server that has imported torch and transformers once and computed
nothing (`multiprocessing`'s forkserver), so that a job does not pay for imports; with one they are spawned, because CUDA does not
survive a fork. Signals to the sweep are passed on; a job whose sweep dies is asked to end, and saves.
"""

import contextlib
import math
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from gold_style import PROJECT
from gold_style.runs.redact import redact, say
from gold_style.runs.run import Pruned
from gold_style.runs.signals import SIGNALS, Interrupted, handled

DEVICES = ("/dev/nvidiactl", "/dev/kfd")


class JobFailed(RuntimeError):
    """A job of a sweep did not complete; its run.json and its console file say why."""


def context(tracker: str) -> Any:
    """How processes are started here; the tracker's library is imported once, too."""
    method = "spawn" if any(map(os.path.exists, DEVICES)) else "forkserver"
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method(method, force=True)  # joblib's workers say "loky", which a new process does not know
    chosen = multiprocessing.get_context(method)
    chosen.set_forkserver_preload(["gold_style.job.training", *(["wandb"] if tracker == "wandb" else [])])  # no effect on spawn
    return chosen


def run_isolated(settings, argv: Sequence[str], console: Path) -> float:
    """`train(settings, argv)` of train.py in a new process; what it prints goes to `console`.

    Raises JobFailed where the job did not complete, Interrupted where the sweep was asked to end.
    """
    console.parent.mkdir(parents=True, exist_ok=True)
    receiving, sending = multiprocessing.Pipe(duplex=False)
    hydra = OmegaConf.to_container(HydraConfig.instance().cfg, resolve=False)  # plain: launchers' own classes cannot be pickled
    given = settings, list(argv), hydra, dict(os.environ), str(console), sending
    process = context(settings.tracker.name).Process(target=_child, args=given)
    process.start()
    sending.close()
    asked: list[int] = []

    def pass_on(signum: int, _frame) -> None:
        asked.append(signum)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signum)

    with receiving, handled(dict.fromkeys(SIGNALS, pass_on)):
        connection.wait([receiving, process.sentinel])
        try:
            kind, content = receiving.recv() if receiving.poll() else ("gone", None)
        except EOFError:
            kind, content = "gone", None
        process.join()
    if asked:
        raise Interrupted(asked[0])
    if kind == "value":
        return content
    raise JobFailed(content if kind == "error" else death(process.exitcode))


def death(exit_code: int | None) -> str:
    """How a process ended that sent no result."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"killed by {name}" + (" (by somebody, or because the machine ran out of memory)" if name == "SIGKILL" else "")
    return f"its process ended with exit code {exit_code}"


def _child(settings, argv: list[str], hydra: dict, environment: dict[str, str], console: str, sending) -> None:
    """What runs in the new process."""
    _print_to(console)
    os.environ.update(environment)  # the present one; the server was started earlier
    _end_with_the_sweep()
    HydraConfig.instance().cfg = OmegaConf.create(hydra)
    code = 0
    try:
        train = runpy.run_path(str(PROJECT / "train.py"))["train"]  # launchers pickle functions of a script by value, without its file
        sending.send(("value", train(settings, argv)))
    except Pruned as error:
        print(error)
        sending.send(("value", math.nan))
    except Interrupted as error:
        code = error.exit_code
        sending.send(("error", str(error)))
    except BaseException as error:
        code = 1
        say(traceback.format_exc())  # without secrets: what is printed here goes to a file
        sending.send(("error", redact(f"{type(error).__name__}: {error}")))
    sending.close()
    sys.stdout.flush()
    os._exit(code)  # without waiting for threads of libraries: the run is closed


def _print_to(console: str) -> None:
    sys.stdout = sys.stderr = open(console, "a", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    for standard in (1, 2):
        os.dup2(sys.stdout.fileno(), standard)


def _end_with_the_sweep() -> None:
    """Ask this process to end in order once the one that started it is gone."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="sweep").start()
