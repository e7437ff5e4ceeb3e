"""The teacher as a named Ray actor: one process with the weights, asked by any number of runs on this machine or others.

    teacher = RayTeacher(tokenizer, shell, load=load, identify=identify, backend=settings.teacher_backend, ...)   # an AnyTeacher

Hidden states travel, not logits: each run holds the head itself, so nothing is cut off or rounded. The actor answers one request
after the other and never batches two of them, so the bits of a run do not depend on who else asks. Its name is a digest of what its
numbers depend on: another teacher is another actor. It leaves once no run that has asked it is connected any more.

Shapes: N scored tokens, D the teacher's hidden size, V vocabulary.
"""

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gold_style.chat import TeacherIds
from gold_style.config.schema import TeacherBackend
from gold_style.engine.backbone import Head
from gold_style.engine.disk_cache import DiskCache
from gold_style.engine.remembered import remembered_completions, surroundings
from gold_style.engine.rollout import Completion
from gold_style.engine.teacher import AnyTeacher, Scored, Teacher, TeacherGone
from gold_style.runs.files import to_json
from gold_style.runs.ray_cluster import NAMESPACE, join

LOOK_EVERY_S = 1.0  # for an answer, and then whether the actor is still there
LEAVES_AFTER_S = 60.0  # without a run: the next job of a sweep may be starting
DEATHS = 3  # of the actor's process at one request, which is asked again as often


def packed(tensor: Tensor) -> tuple[np.ndarray, torch.dtype]:
    """A tensor on its way: Ray hands the bytes of an array over in shared memory."""
    return tensor.detach().cpu().contiguous().view(torch.uint8).numpy(), tensor.dtype


def unpacked(sent: tuple[np.ndarray, torch.dtype], device: torch.device) -> Tensor:
    """The tensor; on the CPU it has the bytes that were sent, which must not be written to."""
    with warnings.catch_warnings(action="ignore"):  # that they are read-only
        return torch.from_numpy(sent[0]).view(sent[1]).to(device)


class SharedTeacher:
    """What the actor's process runs. Only `ping` is answered beside another request; the first one loads the weights."""

    def __init__(self, load: Callable[[], Teacher], identify: Callable[[], dict], num_threads: int):
        import ray

        self.load, self.identify, self.num_threads = load, identify, num_threads
        self.teacher: Teacher | None = None
        self.runs: set[str] = set()
        threading.Thread(target=self._leave_when_alone, args=[ray.get_runtime_context().current_actor], daemon=True).start()

    def ping(self, run: str) -> None:
        """That it is alive; `run` is the asking run's job in Ray."""
        self.runs.add(run)

    def ask(self, run: str, what: str, *given, **how) -> Any:
        """`what` of the teacher's methods, or its `facts`."""
        self.runs.add(run)
        torch.set_num_threads(self.num_threads)  # of the calling thread; Ray's environment says one
        self.teacher = self.teacher or self.load()
        answer = self.facts() if what == "facts" else getattr(self.teacher, what)(*given, **how)
        return packed(torch.cat(answer)) if what == "hidden" else answer

    def facts(self) -> dict[str, Any]:
        """What a run needs to know of it, and its head, which those of one machine share."""
        import ray

        head = {name: ray.put(packed(part)) for name, part in self.teacher.head.head.named_parameters()}
        depends = {"identity": self.identify(), "surroundings": surroundings(self.teacher.backbone.device)}
        return depends | {"head": head, "output_ids": self.teacher.output_ids, "num_threads": self.num_threads}

    def _leave_when_alone(self, own) -> None:
        import ray
        from ray._private.state import jobs

        last = time.monotonic()
        while time.monotonic() - last < LEAVES_AFTER_S:
            time.sleep(LEAVES_AFTER_S / 6)
            if self.runs & {job["JobID"] for job in jobs() if not job["IsDead"]}:
                last = time.monotonic()
        ray.kill(own)  # for good: a process that just ended would be started again


class RayTeacher(AnyTeacher):
    """What a run holds of it: the head.

    Args: the teacher's tokenizer; its model without weights; what loads it, in the actor, on a GPU or not; what its numbers depend on,
    computed here and there; the settings; where the head goes; what the jobs of a sweep share; how many teachers the run has. Raises
    ValueError where Ray cannot be had, the teacher cannot be loaded, or is another one than here.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        shell: PreTrainedModel,
        load: Callable[[bool], Teacher],
        identify: Callable[[], dict],
        backend: TeacherBackend,
        device: torch.device,
        disk: DiskCache | None = None,
        num_teachers: int = 1,
    ):
        self.tokenizer, self.limit_s, self.device, self.disk = tokenizer, backend.limit_s, device, disk
        address, own = join(backend), identify()
        import ray

        self.run, self.where = ray.get_runtime_context().get_job_id(), f"the teacher {own['model']} on Ray at {address}"
        there = ray.cluster_resources().get("GPU", 0)
        wants_one = backend.address is not None or device.type != "cpu"
        num_gpus = float(min(there / num_teachers, wants_one)) if backend.gpus is None else backend.gpus
        if num_gpus * num_teachers > there:
            raise ValueError(f"teacher_backend.gpus={num_gpus:g}{' each' * (num_teachers > 1)}: the Ray cluster at {address} has {there:g}")
        how = {"name": f"teacher-{sha256(to_json(own)).hexdigest()[:16]}", "namespace": NAMESPACE, "get_if_exists": True}
        how |= {"lifetime": "detached", "num_cpus": 0, "num_gpus": num_gpus, "max_restarts": -1, "max_task_retries": DEATHS}
        actor = ray.remote(concurrency_groups={"beside": 1})(SharedTeacher).options(**how)
        self._start = partial(actor.remote, partial(load, num_gpus > 0), identify, torch.get_num_threads())
        self._actor = self._start()
        self.facts = facts = self._ask("facts")
        if other := differences(own, facts["identity"]):
            raise ValueError(f"{self.where} is another one than here: {other}")
        self.output_ids, self.head = facts["output_ids"], Head(shell.eval())
        for name, part in facts["head"].items():
            setattr(self.head.head, name, nn.Parameter(unpacked(ray.get(part), device), False))

    def hidden(self, rows: Sequence[Scored]) -> list[Tensor]:
        if not rows:
            return []
        return list(unpacked(self._ask("hidden", list(rows)), self.device).split([len(row.completion) for row in rows]))

    def generate(self, prompts: Sequence[TeacherIds], **how) -> list[Completion]:
        compute = partial(self._ask, "generate", list(prompts), **how)
        key = [self.facts["identity"], self.facts["surroundings"]]
        return remembered_completions(self.disk, key, prompts, how, compute) if self.disk else compute()

    def check(self, ids: Sequence[int]) -> list[str]:
        there, here = self.facts["num_threads"], torch.get_num_threads()
        threads = (
            f"{self.where} computes with {there} threads, this run with {here} (hardware.threads): last bits may differ from local ones"
        )
        return [*([threads] if there != here else []), *self._ask("check", list(ids))]

    def is_untrained(self, token: int) -> bool:
        return self._ask("is_untrained", token)

    def place(self, prepare: Callable[[nn.Module], nn.Module]) -> nn.Module:
        return self.head.head  # where it is to be, already; and nothing is freed: others may be asking

    def _ask(self, what: str, *given, **how) -> Any:
        """The actor's answer. Raises what the teacher raised, and TeacherGone where it keeps dying, or is silent for too long."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        for is_last in (False, True):
            try:
                answer, ping, alive = self._actor.ask.remote(self.run, what, *given, **how), None, time.monotonic()
                while not ray.wait([answer], timeout=LOOK_EVERY_S)[0]:
                    ping = ping or self._actor.ping.options(concurrency_group="beside").remote(self.run)
                    if ray.wait([ping], timeout=0)[0]:
                        ping, alive = None, time.monotonic()
                    elif time.monotonic() - alive > self.limit_s:
                        raise TeacherGone(f"{self.where} gave no sign of life for teacher_backend.limit_s={self.limit_s:g} seconds")
                return ray.get(answer)
            except RayTaskError as error:
                raise error.cause from None
            except RayError as error:  # it has left, or died more often than Ray repeats a request
                if is_last:
                    raise TeacherGone(f"{self.where} died again and again: {' '.join(str(error).split())[-300:]}") from error
                self._actor = self._start()


def differences(here: dict, there: dict) -> str:
    """What one teacher's identity says otherwise than another's; weights that are not here say nothing."""
    found = [key for key in here if here[key] != there[key] and (key != "weights" or here[key])]
    return ", ".join(f"{key} {str(there[key])[:80]} there, {str(here[key])[:80]} here" for key in found)
