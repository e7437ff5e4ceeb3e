"""A Ray cluster: one of this machine that starts and ends by itself, or the user's own.

    address = join(settings.teacher_backend)      # Ray's functions in this process then mean that cluster

The local one belongs to a process of its own (`python -m gold_style.runs.ray_cluster DIRECTORY`), which ends it, itself and all that it
wrote once nobody holds the shared lock `DIRECTORY/users`: the operating system frees that lock however a run ends, SIGKILL included.
If that process is killed, the kernel ends Ray's processes with it. It listens on the loopback device only and asks for a token that only
this user can read; Ray's dashboard, usage statistics, autoscaler, log monitor and memory monitor are off.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from gold_style import PACKAGE
from gold_style.config.schema import TeacherBackend
from gold_style.runs.files import FileLock, Locked, lock_is_held, write_text
from gold_style.runs.signals import handled

NAMESPACE = "gold_style"
QUIET = {"log_to_driver": False, "configure_logging": False, "logging_level": "CRITICAL", "namespace": NAMESPACE}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}  # the first: the node's address is 127.0.0.1
OWN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0", "RAY_worker_niceness": "0"}  # 15: slower than its runs
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_", "TORCHELASTIC_")  # of a launcher's workers
NOT_NEEDED = ("autoscaler/_private/monitor.py", "_private/log_monitor.py", "dashboard/dashboard.py")
LOOK_EVERY_S = 1.0
CONNECT_S = 5.0  # to find out whether anybody listens


def check_ray(backend: TeacherBackend) -> None:
    """Raises ValueError where Ray is not installed, or does not answer at its address; asks the network for a few seconds at most."""
    at = f"teacher_backend.address={backend.address}"
    if backend.kind == "ray" and find_spec("ray") is None:
        raise ValueError("teacher_backend=ray: Ray is not installed: pip install 'gold-style[ray]'")
    if backend.kind != "ray" or backend.address is None:
        return
    if not (parts := re.fullmatch(r"([^\s/]+):(\d{1,5})", backend.address)) or not 0 < int(parts[2]) < 65536:
        raise ValueError(f"{at}: must be HOST:PORT, as `ray start --head --port=6379` prints it, or null")
    try:
        with socket.create_connection((parts[1].strip("[]"), int(parts[2])), CONNECT_S) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            if connection.recv(9)[3:4] != b"\4":  # as every gRPC server begins; Ray itself would wait for minutes
                raise OSError("what answers is no Ray")
    except OSError as error:
        advice = f"there, run `ray start --head --port={parts[2]}`, or leave the address out"
        raise ValueError(f"{at}: no Ray cluster ({error.strerror or error}); {advice}") from None


def join(backend: TeacherBackend) -> str:
    """Connect this process to the cluster at `backend.address`, None: that of this machine. Returns the address.

    Raises ValueError where that cannot be done.
    """
    check_ray(backend)
    found, options = (backend.address, {}) if backend.address else local_cluster(backend)
    import ray

    try:
        if not ray.is_initialized():
            with handled({signal.SIGTERM: signal.getsignal(signal.SIGTERM)}):  # Ray sets its own, which would end a run at once
                ray.init(address=found, **QUIET, **options)
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        said = " ".join(str(error.__cause__ or error).split())[:300]
        here = backend.address and f"; this machine has to be a part of it, too: `ray start --address={found}`"
        raise ValueError(f"teacher_backend.address={found}: cannot be joined: {said}{here or ''}") from error
    return found


# ---- the cluster of this machine ---------------------------------------------------------------------------------------


def own_directory() -> Path:
    """Of this user, installation and version of Ray. Raises ValueError where somebody else has it."""
    kind = sha256(f"{sys.prefix} {sys.version} {PACKAGE} {version('ray')}".encode()).hexdigest()[:8]
    place = os.environ.get("GOLD_STYLE_RAY", f"/tmp/gold_style-{os.getuid()}-{kind}")  # not TMPDIR: a socket's path may have 107 bytes
    (directory := Path(place)).mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid() or directory.stat().st_mode & 0o077:
        raise ValueError(f"teacher_backend=ray: {directory} belongs to another user, or others may look into it; remove it")
    return directory


_users: list[FileLock] = []  # held until this process ends


def stay(backend: TeacherBackend) -> None:
    """Count as a user of this machine's cluster from now on, where there will be one: a sweep does, between two jobs."""
    if not _users and backend.kind == "ray" and not backend.address and find_spec("ray"):
        users = FileLock(own_directory() / "users", is_shared=True)
        users.acquire(60.0)  # one that is just ending has it
        _users.append(users)


def local_cluster(backend: TeacherBackend) -> tuple[str, dict[str, Any]]:
    """Address of this machine's cluster, which is started if need be and lives as long as this process does, and options of ray.init."""
    directory = own_directory()
    starting, token = FileLock(directory / "starting"), directory / "token"
    starting.acquire(backend.limit_s)  # a cluster that ends holds it, too
    try:
        stay(backend)
        if not lock_is_held(directory / "keeper"):
            token.write_text(secrets.token_hex(32))
            _start(directory, token.read_text(), backend.limit_s)
    finally:
        starting.release()
    os.environ.update(LOOPBACK, RAY_AUTH_TOKEN=token.read_text())
    return (directory / "address").read_text(), {"_temp_dir": str(directory / "ray")}


def _start(directory: Path, token: str, patience_s: float) -> None:
    """Start the process that the cluster belongs to, and wait for its address."""
    address, log, deadline = directory / "address", directory / "log", time.monotonic() + patience_s
    address.unlink(missing_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith((*LAUNCHED, "RAY_"))} | LOOPBACK | OWN
    env |= {"RAY_AUTH_TOKEN": token, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "gold_style.runs.ray_cluster", str(directory)]
    with log.open("wb") as out:  # a session of its own: Ctrl-C is for the run
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True)
    while not address.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            last = log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise ValueError(f"teacher_backend=ray: no local cluster within {patience_s:g} s; it said: {last}")
        time.sleep(0.05)


def keep(directory: Path) -> None:
    """Start the cluster and end it with its last user."""
    FileLock(directory / "keeper").acquire()
    import ray

    shutil.rmtree(place := directory / "ray", ignore_errors=True)  # of one that was killed
    context = ray.init(num_cpus=0, include_dashboard=False, _temp_dir=str(place), **QUIET)
    for process in psutil.process_iter(["ppid", "cmdline"]):
        if process.info["ppid"] == os.getpid() and any(word.endswith(NOT_NEEDED) for word in process.info["cmdline"] or ()):  # 80 MB each
            process.kill()
    write_text(directory / "address", context.address_info["address"])
    starting, users = FileLock(directory / "starting"), FileLock(directory / "users")
    while True:
        time.sleep(LOOK_EVERY_S)
        try:
            starting.acquire(0)
            users.acquire(0)
            break  # `starting` is held until this process is gone: a new user waits
        except Locked:
            starting.release()
    ray.shutdown()
    shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
