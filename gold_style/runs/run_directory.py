"""Which directory a run gets: a new one, or that of a run to resume. Only reads; gold_style.runs.run writes.

`output_dir` is the run directory and has to be empty, unless `resume` names it or is `auto`. Two configs are the same
experiment when they agree on everything except BESIDE. A resumed run may also change what is ADJUSTABLE: how it is
watched, saved and laid out on the machine, but nothing that is meant to enter the numbers.

Example: `choose(settings, ["train.py", "resume=auto"]).directory`.
"""

import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import yaml

from gold_style import did_you_mean
from gold_style.config.as_before import AS_BEFORE, as_before
from gold_style.config.launch import world_size
from gold_style.config.mirror import is_below, nodes
from gold_style.config.schedule import shortened
from gold_style.config.settings import ADJUSTABLE, BESIDE, ROWS
from gold_style.config.yaml_file import read_mapping
from gold_style.runs.checkpoints import newest_valid_checkpoint, step_of
from gold_style.runs.files import lock_is_held, lock_owner, plain, read_json, to_json, write_text
from gold_style.runs.naming import key_of
from gold_style.runs.redact import redact

LOCK, STATE, CONFIG, CHECKPOINTS, SUMMARY = ".lock", "run.json", "config.yaml", "checkpoints", "summary.json"
SEARCH_DEPTH = 3  # multirun/<date>/<time>/<n>


@dataclass(frozen=True)
class RunStart:
    """Where a run starts. `recorded` is the run.json of the run that is resumed, `checkpoint` where it resumes; a run that extends
    another starts from that one's `checkpoint`, and takes over the checkpoints `adopted`."""

    directory: Path
    recorded: dict | None = None
    checkpoint: Path | None = None
    notes: list[str] = field(default_factory=list)  # for the user
    adopted: tuple[Path, ...] = ()

    @property
    def continues(self) -> bool:
        return self.recorded is not None


def experiment(config: dict) -> dict:
    """The part of a settings dict that makes the numbers, as plain JSON values."""
    return plain(redact({key: value for key, value in config.items() if key not in BESIDE}))


def config_hash(config: dict) -> str:
    """16 hex digits that two settings dicts share when they are the same experiment, also one of an older run."""
    items = sorted(flattened(experiment(config)).items(), key=lambda item: item[0].split("."))
    groups = {key.rpartition(".")[0] for key in AS_BEFORE}  # one that is empty says nothing
    flat = {key: value for key, value in items if (key not in AS_BEFORE or value != AS_BEFORE[key]) and (key not in groups or value)}
    return hashlib.sha256(to_json(flat)).hexdigest()[:16]


def flattened(config: dict) -> dict:
    """{"loss.beta": 0.3, ...}; lists and empty mappings are values, a schedule is a text."""
    return {key: value for key, value in nodes(shortened(config)) if not (isinstance(value, dict) and value)}


def read_config(directory: Path) -> dict:
    """A run's config.yaml, read with AS_BEFORE. Raises ValueError where it cannot be read."""
    return as_before(read_mapping(directory / CONFIG))


def write_config(directory: Path, config: dict) -> None:
    """A run's config.yaml, without secrets."""
    write_text(directory / CONFIG, yaml.safe_dump(plain(redact(config)), sort_keys=False, allow_unicode=True, width=1000))


def template_date(run: str | Path | None) -> str:
    """The date (ISO) that a run's chat templates were given; the day that an older run was started; today where there is no run."""
    recorded = (read_json(Path(run) / STATE) if run else None) or {}
    return recorded.get("template_date") or (recorded.get("started") or date.today().isoformat())[:10]


def status_of(directory: Path, recorded: dict | None = None) -> str | None:
    """running, completed, failed or interrupted; None where there is no run.

    A run that says `running` while nobody holds its lock was killed: interrupted.
    """
    recorded = read_json(directory / STATE) if recorded is None else recorded
    if recorded is None:
        return None
    status = recorded.get("status")
    return "interrupted" if status == "running" and not lock_is_held(directory / LOCK) else status


def finished_student(run: Path) -> Path:
    """student/ of a completed run. Raises ValueError where there is none, with what to do about it."""
    if (status := status_of(run)) is None:
        near = [str(path.parent) for folder in (run.parent, run) for pattern in (STATE, f"*/{STATE}") for path in folder.glob(pattern)]
        raise ValueError(f"{run}: no run directory (no readable {STATE} in it){did_you_mean(run, near)}")
    if status != "completed":
        remedy = "" if status == "running" else f"; python train.py resume={run} continues it"
        raise ValueError(f"{run}: this run is {status}; it has a student once it is completed{remedy}")
    if not (run / "student" / "config.json").is_file():
        raise ValueError(f"{run}: its student/ is missing; python train.py reproduce={run} trains it again")
    return run / "student"


def runs_under(root: Path, depth: int = SEARCH_DEPTH) -> Iterator[Path]:
    """Run directories at most `depth` levels below `root`, itself included."""
    if (root / STATE).is_file():
        yield root
    elif depth and root.is_dir():
        for path in sorted(root.iterdir()):
            if path.is_dir() and not path.name.startswith(".") and not path.is_symlink():
                yield from runs_under(path, depth - 1)


def is_empty(directory: Path) -> bool:
    """Whether there is nothing except dot files (a lock, what a kill left of a file being written)."""
    return not directory.exists() or all(path.name.startswith(".") for path in directory.iterdir())


def choose(settings, argv: Sequence[str] = (), excluding: Collection[Path] = (), data: str | None = None) -> RunStart:
    """Where the run starts, by `settings.output_dir` and `settings.resume`; writes nothing.

    Args: the command line, which says whether output_dir was given; directories that proved to be taken; a hash of the rows
    that are trained on.
    Raises ValueError for a directory that is not empty, in use, not a run, completed, or of another experiment or other rows.
    """
    if settings.resume == "auto":
        start = _resume_or_new(settings, any(key_of(word) == "output_dir" for word in argv[1:]), excluding)
    elif settings.resume:
        start = _resume(Path(settings.resume).absolute(), settings)
    else:
        start = _new(Path(settings.output_dir))
    key, recorded = f"resume={start.directory}", start.recorded or {}
    if settings.extend and not start.continues:
        key, recorded = f"extend={settings.extend}", read_json(Path(settings.extend) / STATE) or {}
        start = replace(start, **_extension(Path(settings.extend), recorded, settings))
    if recorded and (number := recorded.get("num_processes", 1)) != world_size():
        rows = _rows(read_config(start.directory if start.continues else Path(settings.extend)), number)
        if rows != _rows(settings.to_dict(), world_size()):
            here = f"this launch has {world_size()}; its steps must have {rows} rows, too: {' x '.join(ROWS)} x processes"
            raise ValueError(f"{key}: ran with {number} processes, {here}")
    then = recorded.get("data")
    if data is not None and then is not None and data != then:
        raise ValueError(
            f"{key}: the rows of the data set have changed since this run started (their hash was {then} and is "
            f"{data}); going on would be another experiment"
        )
    return start


def _new(directory: Path, notes: Sequence[str] = ()) -> RunStart:
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"output_dir={directory}: is a file; name a new or empty directory")
    if is_empty(directory):
        if lock_is_held(directory / LOCK):
            raise ValueError(f"output_dir={directory}: is in use by {lock_owner(directory / LOCK)}")
        return RunStart(directory, notes=list(notes))
    status = status_of(directory)
    held = f"holds a run ({status})" if status else "is not empty"
    remedy = f"resume={directory} to go on with it, or " if status in ("interrupted", "failed") else ""
    raise ValueError(f"output_dir={directory}: {held}; give {remedy}a new or empty directory")


def _resume(directory: Path, settings) -> RunStart:
    """Resume the run in `directory`, if it belongs to this experiment and has not ended for good."""
    recorded = read_json(directory / STATE)
    if recorded is None:
        above = next((path for path in list(directory.parents)[:2] if (path / STATE).is_file()), None)
        hint = f"; resume takes the run directory: resume={above}" if above else ""
        raise ValueError(f"resume={directory}: is not a run directory (no readable {STATE}){hint}")
    status = status_of(directory, recorded)
    if status == "running":
        raise ValueError(f"resume={directory}: is in use by {lock_owner(directory / LOCK)}")
    if status == "completed":
        raise ValueError(
            f"resume={directory}: this run is completed; to repeat it: reproduce={directory}; to train it further: "
            f"extend={directory} train.max_steps=N"
        )
    notes = _judge_changes(directory, recorded, settings)
    checkpoint = newest_valid_checkpoint(directory / CHECKPOINTS, warn=notes.append)
    start = f"from step {step_of(checkpoint)}" if checkpoint else "from the start: it has no usable checkpoint"
    return RunStart(directory, recorded, checkpoint, [*notes, f"resuming {directory} ({status}) {start}"])


def _extension(run: Path, recorded: dict, settings) -> dict:
    """What RunStart says of a new run that trains the completed one in `run` further.

    Raises ValueError for a run that is not completed, has no checkpoint of its last step or has done all steps asked for.
    """
    key, status, notes = f"extend={run}", status_of(run, recorded or None), []
    steps, wanted = (read_json(run / "summary.json") or {}).get("steps") or 0, settings.train.get("max_steps") or -1
    if status != "completed" or not steps:
        remedy = f"; first continue it: resume={run}" if status in ("interrupted", "failed") else ""
        raise ValueError(f"{key}: only a completed run can be trained further, and this one is {status or 'no run'}{remedy}")
    if wanted <= steps:
        raise ValueError(f"train.max_steps={wanted}: {key} has done {steps} steps; give a larger number, for instance {2 * steps}")
    if steps < read_config(run)["train"].get("max_steps", -1) and settings.evaluation.early_stop_margin is not None:
        raise ValueError(f"{key}: was stopped early after step {steps}; to train it further, add evaluation.early_stop_margin=null")
    checkpoint = newest_valid_checkpoint(run / CHECKPOINTS, warn=notes.append)
    if checkpoint is None or step_of(checkpoint) != steps:
        remedy = f"train.save_steps={steps} keeps one. The same run with it: reproduce={run} train.save_steps={steps}"
        raise ValueError(f"{key}: has no good checkpoint of its last step, {steps}; {remedy}")
    best = run / CHECKPOINTS / f"checkpoint-{(recorded.get('student') or {}).get('step')}"
    adopted = (checkpoint, *([best] if best != checkpoint and best.is_dir() else []))
    return {"checkpoint": checkpoint, "adopted": adopted, "notes": [*notes, f"extending {run} from step {steps} to step {wanted}"]}


def _judge_changes(directory: Path, recorded: dict, settings) -> list[str]:
    """A line for each setting that has changed since. Raises ValueError where that makes another experiment."""
    now = settings.to_dict()
    if recorded.get("config_hash") == config_hash(now):
        return []
    then = read_config(directory)
    before, after = (flattened(experiment(config)) for config in (then, as_before(now)))
    changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    lines = {key: f"{key}: {before.get(key)} then, {after.get(key)} now" for key in changed}
    free = ROWS if _rows(then, recorded.get("num_processes", 1)) == _rows(now, world_size()) else ()
    refused = [line for key, line in lines.items() if not is_below(key, ADJUSTABLE) and key not in free]
    if refused:
        command = recorded.get("resume_command")
        raise ValueError(
            f"resume={directory}: the config has changed, and this would be another experiment:\n  "
            + "\n  ".join(refused)
            + (f"\nto go on with the run unchanged: {command}" if command else "")
        )
    return [f"changed since this run started: {line}" for line in lines.values()]


def _rows(config: dict, num_processes: int) -> int | None:
    """Rows of an optimizer step, over all processes; None where a damaged run does not say."""
    factors = [num_processes, *(flattened(config).get(key, 1) for key in ROWS)]
    return math.prod(factors) if all(isinstance(factor, int) for factor in factors) else None


def _resume_or_new(settings, explicit: bool, excluding: Collection[Path]) -> RunStart:
    """For resume=auto. `explicit`: output_dir was given, and is where to look (for a job: in its sweep); else in multirun/."""
    directory = root = Path(settings.output_dir)
    if not explicit:
        root = next((path for path in directory.parents if path.name == "multirun"), directory.parent)
    elif directory.name.isdigit():
        root = directory.parent
    wanted = config_hash(settings.to_dict())
    found = []
    for path in runs_under(root):
        recorded = read_json(path / STATE) or {}
        same = recorded.get("config_hash") == wanted and recorded.get("num_processes", 1) == world_size()
        if same and path not in excluding and status_of(path, recorded) == "interrupted":
            found.append((recorded.get("resumed") or recorded.get("started") or "", path))
    if found:
        return _resume(max(found)[1], settings)
    if explicit and (directory / STATE).exists():
        start = _resume(directory, settings)  # or says why it cannot be resumed: completed, in use, another experiment
        if status_of(directory) == "failed":
            raise ValueError(f"output_dir={directory}: this run failed; to go on all the same: resume={directory}")
        return start
    if explicit and not is_empty(directory) and any(runs_under(directory)):
        directory = next(path for number in range(10**6) if not (path := directory / str(number)).exists())
    return _new(directory, [f"resume=auto: no interrupted run of this config under {root}; starting a new one"])
