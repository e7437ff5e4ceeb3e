"""The page that `plan=` prints, and `dry_run=true` after its own: memory by phase and part, work, seconds, disk, downloads, what fits.

print_forecast(settings, refused)       # refused(settings): what speaks against other settings
"""

import math

from hydra.core.hydra_config import HydraConfig
from rich import box
from rich.console import Console
from rich.table import Table

from gold_style.config.launch import is_main_process
from gold_style.config.own_teacher import BYTES, teachers_by_key
from gold_style.config.settings import Settings, find_directory
from gold_style.job.forecast import Forecast, Machine, Refused, read_rows
from gold_style.job.memory import phases
from gold_style.job.shapes import known, table
from gold_style.job.steps import num_steps

CLOSE = 0.95  # of the memory: more is "close"


def print_forecast(settings: Settings, refused: Refused) -> float:
    """Print it to stdout, from one process; returns NaN. Raises ValueError for a model whose sizes are not known here."""
    if is_main_process():
        tokens, num_rows = read_rows(settings)
        machine = Machine.here(settings) if settings.plan in (None, "here") else Machine.named(settings.plan, settings.model.dtype)
        forecast, console = Forecast(settings, machine, tokens), Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        console.print(f"plan for {forecast.work.processes} x {settings.plan or 'here'}: {machine.title}")
        console.print(memory_table(forecast))
        for name, text in (facts(forecast, num_rows) | verdict(forecast, refused)).items():
            console.print(f"  {name:<10} {text}")
    return math.nan


def memory_table(forecast: Forecast) -> Table:
    """Phases as columns, parts as rows, GB."""
    found, drawn = phases(forecast.work), Table("GB a process", box=box.SIMPLE)
    for phase in found:
        drawn.add_column(phase, justify="right")
    for part in dict.fromkeys(part for parts in found.values() for part in parts):
        drawn.add_row(part, *(gigabytes(parts[part]) if parts[part] else "" for parts in found.values()))
    drawn.add_row("in all", *(gigabytes(parts.total()) for parts in found.values()), style="bold")
    return drawn


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f}" if size >= 5e7 else f"{size / 1e9:.4f}"


def facts(forecast: Forecast, num_rows: int | None) -> dict[str, str]:
    """What a run does and takes besides memory."""
    settings, work, train = forecast.settings, forecast.work, forecast.settings.train
    steps = None if num_rows is None and train["max_steps"] < 0 else num_steps(settings, num_rows)  # that of a stream is not known
    flops, seconds = ({name: n * work.processes for name, n in forecast.operations().items()}, forecast.seconds())
    at_most = f"{work.rows * work.processes} rows, at most {work.rows * work.row * work.processes:,} tokens of the student"
    whole = f"; {forecast.all_seconds(steps) / 60:.3g} min in all, {steps} steps and the exams" if steps else ""
    saves = train.get("save_steps") or (settings.evaluation.every_steps if settings.evaluation.keep == "best" else 0)
    kept = train.get("save_total_limit") or (steps or 0) // max(1, saves) or 1
    checkpoint = f"{gigabytes(work.trained * 4 + work.optimizer)} GB"
    student = gigabytes(work.student.shape.parameters * BYTES[settings.model.student_file_dtype or settings.model.dtype])
    found = {
        "a step": f"{at_most}; {sum(flops.values()) / 1e12:.3g} TFLOP: " + ", ".join(f"{name} {n / 1e12:.3g}" for name, n in flops.items()),
        "seconds": f"{sum(seconds.values()):.3g} a step: " + ", ".join(f"{name} {n:.2g}" for name, n in seconds.items()) + whole,
        "disk": f"student/ {student} GB; "
        + (f"at most {kept + 1:g} checkpoints of {checkpoint}" if saves else f"no checkpoints ({checkpoint} each)"),
    }
    if work.teacher_is_elsewhere:
        counted = "nothing" if work.told else "only the head"
        found["elsewhere"] = f"the teacher is at {settings.teacher_backend.address}: of its memory {counted} is counted here"
    names = {key.removeprefix("model."): model.teacher for key, model in teachers_by_key(settings).items()}
    for side, name in (names | {"student": settings.model.student}).items():
        if not find_directory(name).is_dir() and (model := known(name)):
            gated = "; gated: accept it on the hub and log in (hf auth login)" if model.get("gated") else ""
            found[side] = f"{name}: {model['hub_gb']:g} GB from the hub; {model['licence']}{gated}"
    return found


def verdict(forecast: Forecast, refused: Refused) -> dict[str, str]:
    """Whether it fits, and what would."""
    machine, needed = forecast.machine, forecast.needed(forecast.work)
    room = f"{needed / 1e9:.1f} of {machine.memory / 1e9:.1f} GB at the peak, with what allocator and libraries hold besides"
    if forecast.fits:
        return {"fits": ("yes" if needed <= CLOSE * machine.memory else "close") + f": {room}"}
    lacks = "" if machine.bfloat16 or forecast.settings.model.dtype != "bfloat16" else "; this card has no bfloat16"
    found = {"fits": f"no: {room}{lacks}"}
    if nearest := forecast.nearest(refused):
        overrides, other = nearest
        typed = (f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in overrides.items())
        found["nearest"] = f"{' '.join(typed)}   ({other.needed(other.work) / 1e9:.1f} GB)"
    else:
        cards = {name: Machine.named(name, forecast.settings.model.dtype) for name in table("cards")["cards"]}
        larger = [name for name, card in cards.items() if Forecast(forecast.settings, card, forecast.tokens).fits]
        advice = f"plan={larger[0]} does" if larger else "take a smaller teacher, or let it write elsewhere (prompts=jsonl loss.lmbda=0)"
        found["nearest"] = f"no setting known here fits; {advice}"
    task = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    given = [text for text in task if text.partition("=")[0] not in ("plan", "dry_run", "output_dir")]
    if presets := list(forecast.presets(given, refused)):
        found["presets"] = ", ".join(presets)
    return found
