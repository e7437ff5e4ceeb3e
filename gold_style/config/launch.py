"""How this process was started: what its launcher was asked for against what it did, and one time stamp for all.

`accelerate launch --num_processes 2 train.py` starts a single process on a machine without a GPU, and says nothing
(accelerate 1.15); the launcher's own command line still says 2. This runs before torch is imported.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import psutil
import yaml

LAUNCHERS = ("accelerate", "torchrun", "torch.distributed.run", "torch/distributed/run.py")
PROCESSES_PER_NODE = ("--nproc_per_node", "--nproc-per-node")
NODES = ("--nnodes",)
PROCESSES = ("--num_processes", "--num-processes")
CONFIG_FILE = ("--config_file", "--config-file")


def world_size() -> int:
    """Processes of this launch, as the launcher says; 1 without one."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_main_process() -> bool:
    """Whether this process speaks for the launch."""
    return int(os.environ.get("RANK") or 0) == 0


@cache
def run_stamp() -> str:
    """<date>/<time> of this launch, the same in all its processes: `2026-11-22/15-04-05-123456`.

    Processes of one launcher take the launcher's start time. Several machines have a launcher each and share nothing:
    ValueError asks for `output_dir` there. The environment variable GOLD_STYLE_STAMP wins.
    """
    if stamp := os.environ.get("GOLD_STYLE_STAMP"):
        return stamp
    started = datetime.now()
    if world_size() > 1:
        if int(os.environ.get("LOCAL_WORLD_SIZE") or world_size()) != world_size():
            raise ValueError("must be given when a run spans several machines, on a disk that all of them see")
        started = datetime.fromtimestamp(psutil.Process(os.getppid()).create_time())
    return f"{started:%Y-%m-%d/%H-%M-%S-%f}"


def launcher_command() -> list[str]:
    """The command line of the accelerate or torchrun process that started this one; empty without one."""
    try:
        command = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return []
    return command if any(name in part for part in command[:4] for name in LAUNCHERS) else []


def asked_processes(command: Sequence[str], script: str) -> tuple[int, str] | None:
    """(processes, where that was said) of a launcher's command line; None where it does not say.

    Args: `command` as in launcher_command; `script` as in sys.argv[0]: what stands behind it is not the launcher's.
    """
    own = _before_script(command, script)
    if any("accelerate" in part for part in command[:4]):
        if (number := _option(own, PROCESSES)) is not None:
            return _count(number), f"--num_processes {number}"
        path = _accelerate_config(_option(own, CONFIG_FILE), os.environ)
        number = _read(path).get("num_processes") if path else None
        return None if number is None else (_count(number), f"num_processes: {number} in {path}")
    per_node = _option(own, PROCESSES_PER_NODE)
    nodes = _option(own, NODES) or "1"
    if per_node is None or not per_node.isdigit() or not nodes.isdigit():
        return None  # auto, gpu, or an elastic range: the launcher itself decides
    return int(per_node) * int(nodes), f"--nproc_per_node {per_node}" + (f" --nnodes {nodes}" if nodes != "1" else "")


def _count(number: object) -> int:
    return int(number) if str(number).isdigit() else 0


def _before_script(command: Sequence[str], script: str) -> Sequence[str]:
    names = {script, Path(script).name}
    for number, part in enumerate(command):
        if number > 1 and (part in names or Path(part).name in names and not part.startswith("-")):
            return command[:number]
    return command


def _option(command: Sequence[str], names: Sequence[str]) -> str | None:
    for number, part in enumerate(command):
        name, equals, value = part.partition("=")
        if name in names:
            return value if equals else next(iter(command[number + 1 : number + 2]), None)
    return None


def _accelerate_config(given: str | None, environment: Mapping[str, str]) -> Path | None:
    """The file that `accelerate launch` read: the one named, else the one `accelerate config` wrote, if any."""
    if given is not None:
        return Path(given)
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    candidates = [Path(home, "accelerate", f"default_config.{suffix}").expanduser() for suffix in ("yaml", "json")]
    return next((path for path in candidates if path.is_file()), None)


def _read(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}  # the launcher has read it, so it will have said what is wrong
    return content if isinstance(content, dict) else {}


def launch_mistakes(hardware: str, num_processes: int | None, accelerate_config: str | None) -> list[str]:
    """What is wrong with the way this process was started, for `hardware=<hardware>`; empty where all is well.

    Args: the processes that the settings ask for (None: any number), the accelerate file of that hardware (None: none).
    """
    mistakes, world = [], world_size()
    command = launcher_command()
    if command and (asked := asked_processes(command, sys.argv[0])) and asked[0] != world:
        remedy = "; use `accelerate launch --multi_gpu --num_processes N` (on CPUs too) or torchrun" if world == 1 else ""
        mistakes.append(f"the launcher was asked for {asked[0]} processes ({asked[1]}) and started {world}{remedy}")
    if num_processes is not None and num_processes != world:
        mistakes.append(f"hardware.num_processes={num_processes}: this run was started with {world}")
    if accelerate_config is not None and not command and world == 1:
        script = f"{Path(sys.argv[0]).name} hardware={hardware} ..."
        line = f"accelerate launch --config_file {accelerate_config} --num_processes N {script}"
        mistakes.append(f"hardware={hardware} has to be started by a launcher: {line}")
    return mistakes
