"""What the launcher was asked for against the processes that it started.

`accelerate launch --num_processes 2 train.py` starts a single process on a machine without a GPU, and says nothing
(accelerate 1.15); the launcher's own command line still says 2. This runs before torch is imported.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import psutil

from gold_style.config.launch import world_size
from gold_style.config.yaml_file import mapping_in

LAUNCHERS = ("accelerate", "torchrun", "torch.distributed.run", "torch/distributed/run.py")


def launch_mistakes(hardware: str, num_processes: int | None, accelerate_config: str | None) -> list[str]:
    """What is wrong with the way this process was started, for `hardware=<hardware>`; empty where all is well.

    Args: the processes that the settings ask for (None: any number), the accelerate file of that hardware (None: none).
    """
    mistakes, world = [], world_size()
    command = launcher_command()
    if command and (asked := asked_processes(command, sys.argv[0])) and asked[0] != world:
        remedy = "; use `accelerate launch --multi_gpu --num_processes N` (on CPUs too) or torchrun" if world == 1 else ""
        mistakes.append(f"the launcher was asked for {asked[0]} processes ({asked[1]}) and started {world}{remedy}")
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        mistakes.append("DeepSpeed has never been run here; take accelerate_configs/fsdp.yaml and hardware=fsdp, which shard as well")
    if num_processes is not None and num_processes != world:
        mistakes.append(f"hardware.num_processes={num_processes}: this run was started with {world}")
    if accelerate_config is not None and not command and world == 1:
        script = f"{Path(sys.argv[0]).name} hardware={hardware} ..."
        line = f"accelerate launch --config_file {accelerate_config} --num_processes N {script}"
        mistakes.append(f"hardware={hardware} has to be started by a launcher: {line}")
    return mistakes


def launcher_command() -> list[str]:
    """The command line of the accelerate or torchrun process that started this one; empty without one."""
    try:
        command = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return []
    return command if any(name in part for part in command[:4] for name in LAUNCHERS) else []


def asked_processes(command: Sequence[str], script: str) -> tuple[int, str] | None:
    """(processes, where that was said) of a launcher's command line; None where it does not say.

    Args: `command` as in launcher_command; `script` as in sys.argv[0]: what comes after it is not the launcher's.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--nproc_per_node", "--nnodes", "--num_processes", "--config_file"):
        parser.add_argument(option, option[:2] + option[2:].replace("_", "-"))
    given, _ = parser.parse_known_args(_before_script(command, script))
    if any("accelerate" in part for part in command[:4]):
        number, place = given.num_processes, f"--num_processes {given.num_processes}"
        if number is None and (path := _accelerate_config(given.config_file)):
            number = mapping_in(path).get("num_processes")  # JSON is YAML; what is wrong with it, the launcher has said
            place = f"num_processes: {number} in {path}"
        return None if number is None else (int(number) if str(number).isdigit() else 0, place)
    per_node, nodes = given.nproc_per_node, given.nnodes or "1"
    if per_node is None or not per_node.isdigit() or not nodes.isdigit():
        return None  # auto, gpu, or an elastic range: the launcher itself decides
    return int(per_node) * int(nodes), f"--nproc_per_node {per_node}" + (f" --nnodes {nodes}" if nodes != "1" else "")


def _before_script(command: Sequence[str], script: str) -> Sequence[str]:
    name = Path(script).name
    places = (number for number, part in enumerate(command) if number > 1 and Path(part).name == name and not part.startswith("-"))
    return command[: next(places, None)]


def _accelerate_config(given: str | None) -> Path | None:
    """The file that `accelerate launch` read: the one named, else the one `accelerate config` wrote, if any."""
    if given is not None:
        return Path(given)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    candidates = [Path(home, "accelerate", f"default_config.{suffix}").expanduser() for suffix in ("yaml", "json")]
    return next((path for path in candidates if path.is_file()), None)
