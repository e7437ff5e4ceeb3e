"""One job of a sweep, or a single run: what train.py does with its settings.

    value = run(settings, sys.argv)

A job is skipped, goes on or starts (gold_style.sweep.directory); it ends by returning its objective or by raising JobFailed,
which Hydra notes without touching the other jobs; and whatever becomes of it, its run.json says so.
"""

import gc
import math
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from hydra.core.hydra_config import HydraConfig

from gold_style.config.launch import is_main_process, world_size
from gold_style.runs.files import plain, read_json, write_json, write_text
from gold_style.runs.naming import in_sweep
from gold_style.runs.provenance import now, provenance
from gold_style.runs.ranks import from_main
from gold_style.runs.redact import redact
from gold_style.runs.run import Pruned
from gold_style.runs.run_directory import CONFIG, STATE, config_hash, status_of
from gold_style.runs.summary_number import summary_number
from gold_style.sweep.directory import CACHE, CONSOLE, SWEEP, JobPlace, place_job
from gold_style.sweep.isolation import JobFailed, can_isolate, run_isolated


def run(settings, argv: Sequence[str]) -> float:
    """Run what `settings` ask for; returns the objective. In a sweep: raises JobFailed, or Interrupted after a signal."""
    if not in_sweep() or settings.dry_run:
        from gold_style.job.training import run_job  # torch and transformers

        return run_job(with_cache(settings, None), argv)
    hydra = HydraConfig.get()
    sweep = Path(hydra.sweep.dir)
    told = from_main(lambda: _placed(sweep, hydra.job.num, settings))
    place = JobPlace(Path(told["directory"]), told["action"])
    if place.action == "skip":
        tell(place.directory)
        return summary_number(read_json(place.directory / "summary.json") or {}, settings.objective)
    preset = next((text.partition("=")[2] for text in hydra.overrides.task if text.startswith("sweep=")), "sweep")
    settings = replace(
        with_cache(settings, sweep),
        tracker=replace(settings.tracker, tags=list(dict.fromkeys([*settings.tracker.tags, preset]))),
        output_dir=str(place.directory),
        resume=str(place.directory) if place.action == "resume" else None,
    )
    script = ((read_json(sweep / SWEEP) or {}).get("argv") or ["train.py"])[0]
    argv = [script, *(text for text in hydra.overrides.task if text.partition("=")[0] not in ("output_dir", "resume"))]
    if settings.sweep.isolate and can_isolate():
        return _recorded(settings, argv, place, lambda: run_isolated(settings, argv, sweep / CONSOLE / f"{place.directory.name}.txt"))
    return _recorded(settings, argv, place, lambda: _run_here(settings, argv))


def with_cache(settings, sweep: Path | None):
    """`cache.dir=auto` as a directory: in the sweep's, none without one."""
    if settings.cache.dir != "auto":
        return settings
    return replace(settings, cache=replace(settings.cache, dir=str(sweep / CACHE) if sweep else None))


def tell(directory: Path) -> None:
    if is_main_process():
        print(f"run directory: {directory}", flush=True)


def _placed(sweep: Path, number: int, settings) -> dict:
    place = place_job(sweep, number, settings)
    return {"directory": str(place.directory), "action": place.action}


def _run_here(settings, argv: Sequence[str]) -> float:
    """In this process, which is left as it was found."""
    import torch

    from gold_style.job.training import run_job

    threads = torch.get_num_threads()
    try:
        return run_job(settings, argv)
    except Pruned:
        return math.nan
    finally:
        torch.set_num_threads(threads)
        gc.collect()  # trainer, callbacks and models refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _recorded(settings, argv: Sequence[str], place: JobPlace, work) -> float:
    """`work()`; where it fails, run.json says so, whether or not the job itself came that far."""
    try:
        value = work()
    except Exception as error:
        reason = redact(str(error) if isinstance(error, JobFailed) else f"{type(error).__name__}: {error}")
        if is_main_process():
            record_end(place.directory, settings, argv, reason)
        raise JobFailed(f"{redact(shlex.join(HydraConfig.get().overrides.task))}: {reason}") from None
    finally:
        if settings.sweep.isolate and can_isolate():
            tell(place.directory)
    return value


def record_end(directory: Path, settings, argv: Sequence[str], reason: str) -> None:
    """Write down how a job ended that could not do it itself: killed, or failed before it had a directory."""
    state = read_json(directory / STATE)
    if state is not None:
        if state.get("status") == "running" and status_of(directory, state) == "interrupted":
            write_json(directory / STATE, state | {"status": "interrupted", "reason": reason, "ended": now()})
        return
    directory.mkdir(parents=True, exist_ok=True)
    config = plain(redact(settings.to_dict()))
    write_text(directory / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1000))
    started = {"started": now(), "ended": now(), "seed": settings.seed, "num_processes": world_size()}
    told = {"status": "failed", "reason": reason, **redact(provenance(argv)), "config_hash": config_hash(settings.to_dict())}
    write_json(directory / STATE, told | started | {"overrides": redact(list(argv[1:])), "tracker": None, "step": 0})
