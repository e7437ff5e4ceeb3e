"""What tests/distil/test_processes.py starts with torchrun: one step of each case, gradient and logged row in a file a rank.

    torchrun --standalone --nproc_per_node 2 -m tests.helpers.two_processes DIRECTORY

The same file, imported, runs the cases in one process: `step(case, directory)`.
"""

import math
import os
import sys
from pathlib import Path

import torch
from peft import LoraConfig

import tests.conftest  # noqa: F401 - threads and offline switches before torch is imported
from gold_style.distil.nonfinite import NonFinite
from gold_style.engine.teacher import Teacher
from gold_style.losses.contrast import Contrast
from gold_style.losses.topk_tail import TopkTail
from tests.helpers import toy_runs, toys

CASES = {
    "JSD": {},
    "ULD": {"plain_uld": True},
    "JSD, on- and off-policy": {"lmbda": 0.5, "seq_kd": True},
    "JSD, micro-batches of one row": {"rows_per_microbatch": 1},
    "JSD, unequal numbers of micro-batches": {"rows_per_microbatch": None, "tokens_per_microbatch": 180},
    "LoRA": {"rows_per_microbatch": 1},
    "topk_tail": {"token_loss": TopkTail(beta=0.3, tail_k=5)},
    "contrast": {"token_loss": Contrast(beta=0.3, strength=0.5), "rows_per_microbatch": 1},
}
WINDOW = 8


def step(case: str, directory: Path, num_processes: int = 1):
    """Gradient, logged row and trainer of one step over eight ragged rows, WINDOW / num_processes of them here."""
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer), seed=1), tokenizer)
    changes = {"rows_per_microbatch": WINDOW // num_processes, **CASES[case]}
    maker = toy_runs.row_maker(tokenizer, teacher, toys.prompts(WINDOW), rows_per_window=WINDOW // num_processes, **changes)
    maker.objective.readings = ["bare"] if case == "contrast" else []
    saving = {"save_strategy": "steps", "save_steps": 1} if case == "JSD" else {}
    torch.manual_seed(0)
    adapter = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False) if case == "LoRA" else None
    gradient, _, trained = toy_runs.one_step(toys.model(len(tokenizer)), maker, directory / case, peft_config=adapter, **saving)
    return gradient, trained.run.rows[0], trained


def goes_on(directory: Path, num_processes: int = 1) -> tuple[list[dict], list[dict]]:
    """The rows of three steps, and those of a run that was resumed after the first, rows being logged every second step."""
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer), seed=1), tokenizer)
    rows = []
    for resume in (None, str(directory / "goes-on" / "checkpoint-1")):
        maker = toy_runs.row_maker(tokenizer, teacher, toys.prompts(2 * WINDOW), rows_per_window=WINDOW // num_processes, lmbda=1.0)
        saving = {"max_steps": 3, "logging_steps": 2, "save_strategy": "steps", "save_steps": 1}
        trained = toy_runs.trainer(toys.model(len(tokenizer)), maker, directory / "goes-on", **saving)
        trained.train(resume_from_checkpoint=resume)
        rows.append(trained.run.rows)
    return rows[0], rows[1]


def trouble_in_the_second(directory: Path) -> tuple[dict, str]:
    """The logged row where only the second process has completions that are not aligned, and the error where only its loss is infinite."""
    is_second = os.environ["RANK"] == "1"
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer), seed=1), tokenizer)
    maker = toy_runs.row_maker(tokenizer, teacher, toys.prompts(WINDOW), rows_per_window=WINDOW // 2)
    prepare, loss = maker.objective.prepare, maker.objective.loss

    def prepared(rows) -> None:
        prepare(rows)
        for row in rows:
            row.reason = "normalised" if is_second else "exact"

    maker.objective.prepare = prepared
    _, _, trained = toy_runs.one_step(toys.model(len(tokenizer)), maker, directory / "counts")
    maker.objective.loss = lambda *given: loss(*given) + (math.inf if is_second else 0.0)
    try:
        toy_runs.one_step(toys.model(len(tokenizer)), maker, directory / "infinite")
    except NonFinite as error:
        return trained.run.rows[0], str(error)
    raise AssertionError("an infinite loss was trained on")


def main() -> None:
    directory, rank, world = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    for case in CASES:
        gradient, row, trained = step(case, directory / "two", world)
        assert trained.accelerator.num_processes == world
        assert trained.model_wrapped.gradient_as_bucket_view and not trained.model_wrapped.find_unused_parameters
        torch.save(
            {"gradient": gradient, "row": row, "weights": toy_runs.weights(trained.model)},
            directory / f"{list(CASES).index(case)}-{rank}.pt",
        )
    torch.save(trouble_in_the_second(directory / "two"), directory / f"trouble-{rank}.pt")
    torch.save(goes_on(directory / "two", world), directory / f"goes-on-{rank}.pt")


if __name__ == "__main__":
    main()
