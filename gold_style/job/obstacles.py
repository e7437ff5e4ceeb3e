"""What is against a run on this machine, found in the first seconds: before torch is imported, but for the question for a GPU.

refuse(settings, sys.argv)      # raises ValueError with all of it
"""

import os
from collections.abc import Sequence
from pathlib import Path

from gold_style import PROJECT
from gold_style.config.hub import missing_models
from gold_style.config.own_teacher import teachers_by_key
from gold_style.config.schema import Hardware
from gold_style.config.settings import Settings, find_directory
from gold_style.config.yaml_file import mapping_in
from gold_style.job.steps import too_few_rows
from gold_style.prompts import build_source
from gold_style.runs import trackers
from gold_style.runs.completions import check_served
from gold_style.runs.ranks import from_main
from gold_style.runs.ray_cluster import check_ray
from gold_style.runs.run_directory import choose
from gold_style.styles import StylePack

EARLY_BYTES = 2_000_000  # of a file that is read once more to know soon how many rows it has


def refuse(settings: Settings, argv: Sequence[str]) -> None:
    """Raises ValueError with everything that is against the run on this machine."""
    if found := [*absences(settings, argv), *lacks(settings)]:
        raise ValueError("\n".join(found))


def absences(settings: Settings, argv: Sequence[str]) -> list[str]:
    """What is wrong with the models, where the hub has to be asked for them, the tracker, the run directory and the rows."""
    model = settings.model
    names = {key: (own.teacher, own.teacher_revision) for key, own in teachers_by_key(settings).items()}
    names["model.student"] = model.student, model.student_revision
    return missing_models(names) + _faults((trackers.check, settings), (check_place, settings, argv), (check_rows, settings))


def lacks(settings: Settings) -> list[str]:
    """What this machine lacks: a GPU, vLLM, Ray, a served teacher. Where one of the first two is asked for, torch is imported."""
    teacher = (check_ray, settings.teacher_backend), (check_served, settings)
    return _faults((check_vllm, settings), *teacher, (check_device, settings.hardware.device), (check_float16, settings))


def spread_mistakes(hardware: Hardware) -> list[str]:
    """What is wrong where that option spreads the student over processes in another way than this launch. Once accelerate has begun."""
    from accelerate import PartialState

    file = Path(hardware.accelerate_config or "")
    wanted = mapping_in(file if file.is_file() else PROJECT / file).get("distributed_type")
    found = PartialState().distributed_type.value
    if found.startswith("MULTI_") and found != "MULTI_CPU" and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        found = "FSDP"
    if wanted == found or "FSDP" not in (wanted, found) or wanted is None:
        return []
    launch = f"on GPUs, with `accelerate launch --config_file {hardware.accelerate_config}`, or take another hardware option"
    return [f"hardware={hardware.name} is {wanted}, and this launch is {found}: start it {launch}"]


def _faults(*checks: tuple) -> list[str]:
    """What checks, each a function with its arguments, say in a ValueError."""
    found = []
    for check, *arguments in checks:
        try:
            check(*arguments)
        except ValueError as error:
            found.append(str(error))
    return found


def check_place(settings: Settings, argv: Sequence[str]) -> None:
    """Raises ValueError, in every process, for a run directory that cannot be used, and a run that cannot be resumed."""
    from_main(lambda: {"directory": str(choose(settings, argv).directory)})


def check_rows(settings: Settings) -> None:
    """Raises ValueError for too few or bad rows of a small file; what only tokenizers can see is seen later."""
    path = settings.prompts.path
    if settings.prompts.source == "jsonl" and path and find_directory(path).stat().st_size <= EARLY_BYTES:
        source = build_source(settings, StylePack.from_settings(settings.styles))
        if fault := too_few_rows(settings, source.num_rows):
            raise ValueError(fault)


def check_vllm(settings: Settings) -> None:
    """Raises ValueError where vLLM is not installed, or its server does not answer or takes no weights."""
    if settings.hardware.rollouts != "own":
        from gold_style.engine.vllm import Colocated, Served

        is_served = settings.hardware.rollouts == "vllm_server"
        Served(settings.hardware.vllm_server, Path(), student=settings.model.student) if is_served else Colocated()


def check_float16(settings: Settings) -> None:
    """Raises ValueError where a run in float16 would compute in float32 instead: on a CPU, where accelerate scales no loss."""
    if settings.model.dtype == "float16":
        import torch

        if settings.hardware.device == "cpu" or not torch.cuda.is_available():
            raise ValueError("model.dtype=float16: is trained with loss scaling, which needs a CUDA device; give model.dtype=bfloat16")


def check_device(device: str) -> None:
    """Raises ValueError for hardware.device=cuda where torch sees no such device: on the CPU it would be another run."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("hardware.device=cuda: torch sees no CUDA device here; give hardware=cpu or hardware=auto")
