"""One job of a sweep: skipped, resumed or started, in a process of its own or in this one.

    value = run_in_sweep(settings, train)

It returns its objective or raises JobFailed, which Hydra notes without touching the other jobs; its run.json says how it ended.
"""

import gc
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from gold_style.config.launch import is_main_process, world_size
from gold_style.config.settings import Settings
from gold_style.runs.files import read_json, write_json
from gold_style.runs.provenance import now
from gold_style.runs.ranks import from_main
from gold_style.runs.ray_cluster import stay
from gold_style.runs.redact import redact
from gold_style.runs.run import Pruned, first_state
from gold_style.runs.run_directory import STATE, status_of, write_config
from gold_style.runs.summary_number import summary_number
from gold_style.sweep.directory import CACHE, CONSOLE, SWEEP, place_job
from gold_style.sweep.isolation import JobFailed, run_isolated

Train = Callable[[Settings, Sequence[str]], float]


def run_in_sweep(settings: Settings, train: Train) -> float:
    """Run the job that `settings` ask for with `train(settings, argv)`, a function of train.py; returns what that returns.

    Raises JobFailed, or Interrupted after a signal.
    """
    if settings.dry_run or settings.plan:
        return train(settings, sys.argv)
    hydra = HydraConfig.get()
    sweep = Path(hydra.sweep.dir)
    place, action = from_main(lambda: list(map(str, place_job(sweep, hydra.job.num, settings))))
    directory = Path(place)
    if action == "skip":
        print_directory(directory)
        return summary_number(read_json(directory / "summary.json") or {}, settings.objective)
    stay(settings.teacher_backend)
    preset = next((text.partition("=")[2] for text in hydra.overrides.task if text.startswith("sweep=")), "sweep")
    settings = replace(
        settings,
        cache=replace(settings.cache, dir=str(sweep / CACHE) if settings.cache.dir == "auto" else settings.cache.dir),
        tracker=replace(settings.tracker, tags=list(dict.fromkeys([*settings.tracker.tags, preset]))),
        output_dir=place,
        resume=place if action == "resume" else None,
    )
    script = ((read_json(sweep / SWEEP) or {}).get("argv") or ["train.py"])[0]
    argv = [script, *(text for text in hydra.overrides.task if text.partition("=")[0] not in ("output_dir", "resume"))]
    isolated = settings.sweep.isolate and world_size() == 1  # processes of one launcher share a rendezvous
    try:
        if isolated:
            return run_isolated(settings, argv, sweep / CONSOLE / f"{directory.name}.txt")
        return _run_here(settings, argv, train)
    except (Exception, SystemExit) as error:  # SystemExit: a repetition with other bits
        reason = redact(str(error) if isinstance(error, JobFailed) else f"{type(error).__name__}: {error}")
        if is_main_process():
            record_end(directory, settings, argv, reason)
        raise JobFailed(f"{redact(shlex.join(hydra.overrides.task))}: {reason}") from None
    finally:
        if isolated:
            print_directory(directory)


def print_directory(directory: Path) -> None:
    if is_main_process():
        print(f"run directory: {directory}", flush=True)


def _run_here(settings: Settings, argv: Sequence[str], train: Train) -> float:
    """In this process, which is left as it was found."""
    import torch

    threads = torch.get_num_threads()
    try:
        return train(settings, argv)
    except Pruned:
        return math.nan
    finally:
        torch.set_num_threads(threads)
        gc.collect()  # trainer, callbacks and models refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def record_end(directory: Path, settings, argv: Sequence[str], reason: str) -> None:
    """Write down the end of a job that could not do it itself: killed, or failed before it had a directory."""
    state = read_json(directory / STATE)
    if state is None:
        directory.mkdir(parents=True, exist_ok=True)
        write_config(directory, settings.to_dict())
        state = first_state(settings, argv, argv[1:]) | {"status": "failed", "tracker": None, "step": 0}
    elif state.get("status") == "running" and status_of(directory, state) == "interrupted":
        state["status"] = "interrupted"
    else:
        return
    write_json(directory / STATE, state | {"reason": reason, "ended": now()})
