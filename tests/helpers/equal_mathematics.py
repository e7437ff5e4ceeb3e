"""Twenty steps of one experiment, spread and cut up in every way: tests/test_equal_mathematics.py compares the numbers, and
benchmarks/equal_mathematics.py writes them into docs/equal_mathematics.md. Two processes:

    torchrun --standalone --nproc_per_node 2 -m tests.helpers.equal_mathematics DIRECTORY
"""

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from peft import LoraConfig
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

import tests.conftest  # noqa: F401 - threads and offline switches before torch is imported
from gold_style.distil.objective import Routed
from gold_style.engine.teacher import AnyTeacher, Teacher, Teachers
from gold_style.job.teacher import untouched_by_lora
from tests.helpers import sharded_processes, toy_runs, toys

WINDOW, STEPS, SAVED = 8, 20, 10
STYLES = ("chosun", "none")
LORA = {"lora": True}
BF16 = {"bf16": True, "rows_per_microbatch": 1, "lmbda": 0.0}  # the teacher writes: a batch of other rows would round, and draw, otherwise
BF16_TOLERANCE = 1e-3
TOLERANCE = 1e-5  # relative; in float32


@dataclass(frozen=True)
class Case:
    """One way to run, and the case whose numbers it has to make."""

    like: str
    how: dict = field(default_factory=dict)
    spread: str | None = None  # over two processes: "ddp" or "fsdp"
    resumes: str | None = None  # the case whose checkpoint of step 10 it starts from

    @property
    def tolerance(self) -> float:
        return BF16_TOLERANCE if "bf16" in self.how else TOLERANCE


ONE, ONE_LORA, OWN, ONE_BF16 = "one process", "LoRA", "LoRA, teacher = the student's start, held twice", "bf16"
RAY = "teacher behind Ray"  # where Ray is installed
CASES = {
    ONE: Case(ONE),
    "micro-batches of 1 row": Case(ONE, {"rows_per_microbatch": 1}),
    "micro-batches of 3 rows": Case(ONE, {"rows_per_microbatch": 3}),
    "micro-batches of 180 tokens": Case(ONE, {"rows_per_microbatch": None, "tokens_per_microbatch": 180}),
    "gradient checkpointing": Case(ONE, {"checkpointing": True}),
    "2 processes, DDP": Case(ONE, spread="ddp"),
    "2 processes, FSDP2": Case(ONE, spread="fsdp"),
    "2 processes, FSDP2, gradient checkpointing": Case(ONE, {"checkpointing": True}, spread="fsdp"),
    "one process, from the checkpoint of DDP": Case(ONE, resumes="2 processes, DDP"),
    "one process, from the checkpoint of FSDP2": Case(ONE, resumes="2 processes, FSDP2"),
    "DDP, from the checkpoint of one process": Case(ONE, spread="ddp", resumes=ONE),
    "DDP, from the checkpoint of FSDP2": Case(ONE, spread="ddp", resumes="2 processes, FSDP2"),
    "FSDP2, from the checkpoint of one process": Case(ONE, spread="fsdp", resumes=ONE),
    "FSDP2, from the checkpoint of DDP": Case(ONE, spread="fsdp", resumes="2 processes, DDP"),
    ONE_LORA: Case(ONE_LORA, LORA),
    "LoRA, gradient checkpointing": Case(ONE_LORA, LORA | {"checkpointing": True}),
    "LoRA, DDP": Case(ONE_LORA, LORA, spread="ddp"),
    "LoRA, FSDP2": Case(ONE_LORA, LORA, spread="fsdp"),
    "LoRA, one process, from the checkpoint of FSDP2": Case(ONE_LORA, LORA, resumes="LoRA, FSDP2"),
    "LoRA, FSDP2, from the checkpoint of one process": Case(ONE_LORA, LORA, spread="fsdp", resumes=ONE_LORA),
    OWN: Case(OWN, LORA | {"teacher": "twice"}),
    "LoRA, teacher = the student's start, held once": Case(OWN, LORA | {"teacher": "once"}),
    "a teacher for each tag": Case(ONE, {"teacher": "per tag"}),
    "a teacher for each tag, DDP": Case(ONE, {"teacher": "per tag"}, spread="ddp"),
    RAY: Case(ONE, {"teacher": "ray"}),
    ONE_BF16: Case(ONE_BF16, BF16),
    "bf16, DDP": Case(ONE_BF16, BF16, spread="ddp"),
    "bf16, FSDP2": Case(ONE_BF16, BF16, spread="fsdp"),
    "bf16, FSDP2, fsdp_gathers=compute": Case(ONE_BF16, BF16 | {"fsdp_gathers": "compute"}, spread="fsdp"),
    "bf16, gradient checkpointing": Case(ONE_BF16, BF16 | {"checkpointing": True}),
}


class Noted(TrainerCallback):
    """The first gradient, in one piece, and the completions of every step."""

    def __init__(self):
        self.gradient, self.rows, self.trainer = None, [], None

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.rows += [(state.global_step, row.number, tuple(row.completion)) for row in self.trainer.window]
        if self.gradient is None:
            self.gradient = toy_runs.flat({name: whole(p.grad) for name, p in model.named_parameters() if p.grad is not None})


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def teacher_of(kind: str | None, student, tokenizer, directory: Path) -> AnyTeacher:
    """None: another model, in this process. A row of the table needs no more than a kind of its own here."""
    if kind == "once":
        return Teacher(untouched_by_lora(student), tokenizer)
    if kind == "ray":
        from tests.helpers.ray_teachers import ray_teacher

        return ray_teacher(toys.saved(tokenizer, toys.model(len(tokenizer), seed=1), directory / "teacher"))
    if kind == "per tag":
        return Teachers({tag: teacher_of(None, student, tokenizer, directory) for tag in STYLES}, STYLES[-1])
    return Teacher(toys.model(len(tokenizer), seed=0 if kind == "twice" else 1), tokenizer)


def run(name: str, directory: Path) -> dict:
    """Losses and norms of each step, the first gradient, the rows of this process and the weights at the end."""
    case = CASES[name]
    how = {"rows_per_microbatch": 2, "lmbda": 0.5} | case.how
    checkpointing, bf16, lora, kind = (how.pop(key, None) for key in ("checkpointing", "bf16", "lora", "teacher"))
    os.environ["ACCELERATE_USE_FSDP"] = str(case.spread == "fsdp").lower()
    tokenizer = toys.byte_tokenizer()
    student = toys.model(len(tokenizer))
    teacher = teacher_of(kind, student, tokenizer, directory)
    options = {"rows_per_window": WINDOW // (2 if case.spread else 1), "seq_kd": True, "max_completion_length": 12, **how}
    if bf16:
        options["compute_dtype"] = torch.bfloat16
    maker = toy_runs.row_maker(tokenizer, teacher, toys.prompts(WINDOW), **options)
    if kind == "per tag":
        maker.objective = Routed({tag: replace(maker.objective, teacher=teacher.of(tag)) for tag in STYLES})
    noted, training = Noted(), {"max_steps": STEPS, "save_strategy": "steps", "save_steps": SAVED, "bf16": bool(bf16)}
    if checkpointing:
        training |= {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    adapter = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False) if lora else None
    torch.manual_seed(0)
    trainer = noted.trainer = toy_runs.trainer(student, maker, directory / name, callbacks=[noted], peft_config=adapter, **training)
    trainer.train(resume_from_checkpoint=case.resumes and str(directory / case.resumes / f"checkpoint-{SAVED}"))
    assert any(isinstance(weight, DTensor) for weight in trainer.model.parameters()) == (case.spread == "fsdp")
    rows = [{key: row[key] for key in ("step", "train/loss", "train/grad_norm")} for row in trainer.run.rows]
    end = toy_runs.flat({key: whole(weight) for key, weight in trainer.model.named_parameters()})
    return {"rows": rows, "gradient": noted.gradient, "completions": noted.rows, "weights": end}


def run_all(directory: Path) -> dict[str, dict]:
    """What each case left. One process goes first, two follow, and then those cases of one process that resume what two have saved."""
    names = [name for name, case in CASES.items() if not case.spread and not case.resumes and (name != RAY or find_spec("ray"))]
    found = {name: run(name, directory) for name in names}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", __name__, str(directory)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-4000:]
    for name, case in CASES.items():
        if case.spread:
            first, second = (torch.load(directory / f"{name}-{rank}.pt") for rank in (0, 1))
            found[name] = first | {"completions": sorted(first["completions"] + second["completions"])}
        elif case.resumes:
            found[name] = run(name, directory)
    return found


def compared(found: dict, expected: dict) -> dict:
    """Relative distances to the run that it is held against, and whether both trained on the same completions."""
    first, steps = found["rows"][0]["step"], {row["step"]: row for row in expected["rows"]}
    away = [{key: abs(row[key] / steps[row["step"]][key] - 1) for key in ("train/loss", "train/grad_norm")} for row in found["rows"]]
    theirs = [row for row in expected["completions"] if row[0] >= first - 1]
    return {
        "loss of its first step": away[0]["train/loss"],
        "gradient": toy_runs.distance(found["gradient"], expected["gradient"]) if first == 1 else away[0]["train/grad_norm"],
        "loss of 20": max(row["train/loss"] for row in away),
        "weights": toy_runs.distance(found["weights"], expected["weights"]),
        "same rows": sorted(found["completions"]) == sorted(theirs),
    }


def main() -> None:
    directory, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    sharded_processes.shard_on_cpus()
    for name in sorted((name for name, case in CASES.items() if case.spread), key=lambda name: bool(CASES[name].resumes)):
        torch.save(run(name, directory), directory / f"{name}-{rank}.pt")


if __name__ == "__main__":
    main()
