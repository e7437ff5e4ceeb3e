"""What tests/distil/test_processes.py starts with torchrun: three steps of a sharded student (FSDP2).

torchrun --standalone --nproc_per_node 2 -m tests.helpers.sharded_processes DIRECTORY
torchrun --standalone --nproc_per_node 2 -m tests.helpers.sharded_processes DIRECTORY whole     # in bf16 with DDP, to compare with
"""

import os
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from peft import LoraConfig

import tests.conftest  # noqa: F401 - threads and offline switches before torch is imported
from gold_style.engine.teacher import Teacher
from tests.helpers import toy_runs, toys

WINDOW = 8
FSDP = {  # what accelerate_configs/fsdp.yaml sets
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_ACTIVATION_CHECKPOINTING": "false",
}
BF16 = {"whole": {}, "float32": {"fsdp_gathers": "float32"}, "compute": {"fsdp_gathers": "compute"}}
CASES = {"all weights": None, "LoRA": LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)}


def train(case: str, directory: Path, num_processes: int = 1, resume: Path | None = None):
    """Three steps over ragged rows, on- and off-policy, WINDOW / num_processes rows of each here; a checkpoint after every step."""
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer), seed=1), tokenizer)
    maker = toy_runs.row_maker(
        tokenizer, teacher, toys.prompts(WINDOW), rows_per_window=WINDOW // num_processes, lmbda=0.5, seq_kd=True, rows_per_microbatch=2
    )
    torch.manual_seed(0)
    saving = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1}
    trainer = toy_runs.trainer(toys.model(len(tokenizer)), maker, directory, peft_config=CASES[case], **saving)
    trainer.train(resume_from_checkpoint=resume and str(resume))
    trainer.student_copy.save(directory / "student")
    return trainer


def bf16_step(case: str, directory: Path) -> dict:
    """The logged row of one step in bf16 on the teacher's completions, four rows of it here, in micro-batches of one."""
    tokenizer = toys.byte_tokenizer()
    teacher = Teacher(toys.model(len(tokenizer), seed=1), tokenizer)
    options = {"rows_per_window": 4, "rows_per_microbatch": 1, "seq_kd": True, "compute_dtype": torch.bfloat16, **BF16[case]}
    trainer = toy_runs.trainer(
        toys.model(len(tokenizer)), toy_runs.row_maker(tokenizer, teacher, toys.prompts(WINDOW), **options), directory / case, bf16=True
    )
    trainer.train()
    assert {type(parameter).__name__ for parameter in teacher.model.parameters()} == {"Parameter"}
    assert {parameter.device.type for parameter in teacher.model.parameters()} == {"cpu"}
    return trainer.run.rows[0]


def shard_on_cpus() -> None:
    """accelerate shards on accelerators alone: tell it that these two processes have one. Sharding itself is torch's, over gloo."""
    os.environ |= FSDP
    plain = PartialState.__init__

    def init(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        sharding = os.environ["ACCELERATE_USE_FSDP"] == "true"
        if sharding and self._shared_state.get("distributed_type") == DistributedType.MULTI_CPU:
            self._shared_state["distributed_type"] = self.__dict__["distributed_type"] = DistributedType.MULTI_GPU

    PartialState.__init__ = init


def main() -> None:
    directory, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    if sys.argv[2:] == ["whole"]:
        torch.save(bf16_step("whole", directory), directory / f"bf16-whole-{rank}.pt")
        return
    shard_on_cpus()
    for case in ("float32", "compute"):
        torch.save(bf16_step(case, directory), directory / f"bf16-{case}-{rank}.pt")
    for case in CASES:
        whole = train(case, directory / case, 2)
        assert {type(parameter).__name__ for parameter in whole.model.parameters()} == {"DTensor"}
        again = train(case, directory / f"{case} again", 2, resume=directory / case / "checkpoint-1")
        torch.save({"whole": whole.run.rows, "resumed": again.run.rows}, directory / f"{case}-{rank}.pt")


if __name__ == "__main__":
    main()
