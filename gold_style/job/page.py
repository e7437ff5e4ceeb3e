"""The page that `plan=` prints, and `dry_run=true` after its own: memory by phase and part, work, seconds, disk, downloads, what fits.

print_forecast(settings, refused)       # refused(settings): what speaks against other settings
"""

import math
from collections.abc import Callable, Sequence

from hydra.core.hydra_config import HydraConfig
from rich import box
from rich.console import Console
from rich.table import Table

from gold_style.config.launch import is_main_process
from gold_style.config.own_teacher import BYTES
from gold_style.config.settings import Settings, find_directory
from gold_style.job.forecast import Forecast, Machine, assigned, known, read_rows, table
from gold_style.job.memory import phases, total
from gold_style.job.steps import num_steps

CLOSE = 0.95  # of the memory: more is "close"
Refused = Callable[[Settings], Sequence]


def print_forecast(settings: Settings, refused: Refused, is_measured: bool = True) -> float:
    """Print it to stdout, from one process; returns NaN. Raises ValueError for a model whose sizes are not known here."""
    if not is_main_process():
        return math.nan
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    given = [text for text in given if text.partition("=")[0] not in ("plan", "dry_run", "output_dir")]
    card = settings.plan or "here"
    machine = Machine.here(settings, is_measured) if card == "here" else Machine.named(card, settings.model.dtype)
    tokens, num_rows = read_rows(settings)
    forecast = Forecast(settings, machine, tokens)
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(f"plan for {forecast.work.processes} x {card}: {machine.title}")
    console.print(memory_table(forecast))
    for name, text in (facts(forecast, num_rows) | verdict(forecast, given, refused)).items():
        console.print(f"  {name:<10} {text}")
    return math.nan


def memory_table(forecast: Forecast) -> Table:
    """Phases as columns, parts as rows, GB."""
    found = phases(forecast.work)
    drawn = Table("GB (1e9 bytes) a process", box=box.SIMPLE, title_justify="left")
    for phase in found:
        drawn.add_column(phase, justify="right")
    for part in dict.fromkeys(part for parts in found.values() for part in parts):
        drawn.add_row(part, *(gigabytes(parts[part]) if part in parts else "" for parts in found.values()))
    drawn.add_row("in all", *(gigabytes(total(parts)) for parts in found.values()), style="bold")
    return drawn


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f}" if size >= 5e6 else f"{size / 1e9:.4f}"


def facts(forecast: Forecast, num_rows: int | None) -> dict[str, str]:
    """What a run does and takes besides memory."""
    settings, work, machine, found = forecast.settings, forecast.work, forecast.machine, {}
    try:
        steps = num_steps(settings, num_rows)
    except ValueError:  # the length of a stream
        steps = None
    read, flops = work.rows * work.row * work.processes, {name: n * work.processes for name, n in forecast.operations().items()}
    each = ", ".join(f"{name} {number / 1e12:.3g}" for name, number in flops.items())
    found["a step"] = (
        f"{work.rows * work.processes} rows, at most {read:,} tokens of the student; {sum(flops.values()) / 1e12:.3g} TFLOP: {each}"
    )
    if machine.bandwidth:
        seconds = forecast.seconds()
        each = ", ".join(f"{name} {number:.2g}" for name, number in seconds.items())
        whole = f"; {forecast.all_seconds(steps) / 60:.3g} min in all, {steps} steps and the exams" if steps else ""
        found["seconds"] = f"{sum(seconds.values()):.3g} s a step: {each}{whole}"
    student, saves = work.student.shape.parameters, settings.train.get("save_steps")
    one = work.trained * 4 + work.optimizer
    kept = settings.train.get("save_total_limit") or (steps and saves and saves >= 1 and int(steps // saves)) or 1
    disk = f"student/ {gigabytes(student * BYTES[settings.model.student_file_dtype or settings.model.dtype])} GB"
    found["disk"] = disk + (
        f"; checkpoints {kept + 1} x {gigabytes(one)} GB" if saves else f"; none of checkpoints ({gigabytes(one)} GB each)"
    )
    for side in ("teacher", "student"):
        name = getattr(settings.model, side)
        if not find_directory(name).is_dir() and (model := known(name)):
            gated = "; gated: accept it on the hub and log in (hf auth login)" if model.get("gated") else ""
            found[side] = f"{name}: {model['hub_gb']:g} GB from the hub; {model['licence']}{gated}"
    return found


def verdict(forecast: Forecast, given: Sequence[str], refused: Refused) -> dict[str, str]:
    """Whether it fits, and what would."""
    machine, needed = forecast.machine, forecast.needed(forecast.work)
    room = f"{needed / 1e9:.1f} GB at the peak of {machine.memory / 1e9:.1f} GB, with what allocator and libraries hold besides"
    if forecast.fits:
        return {"fits": ("yes" if needed <= CLOSE * machine.memory else "close") + f": {room}"}
    bare = "" if machine.bfloat16 or forecast.settings.model.dtype != "bfloat16" else "; this card has no bfloat16: model.dtype=float16"
    found = {"fits": f"no: {room}{bare}"}
    if nearest := forecast.nearest(given, refused):
        overrides, other = nearest
        found["nearest"] = f"{' '.join(assigned(overrides))}   ({other.needed(other.work) / 1e9:.1f} GB)"
    else:
        larger = [
            name for name in table("cards")["cards"] if Forecast(forecast.settings, Machine.named(name, "bfloat16"), forecast.tokens).fits
        ]
        advice = f"plan={larger[0]} fits" if larger else "take a smaller teacher, or let it write elsewhere (prompts=jsonl loss.lmbda=0)"
        found["nearest"] = f"no setting of this plan fits; {advice}"
    if presets := list(forecast.presets(given, refused)):
        found["presets"] = ", ".join(presets)
    return found
