"""TRL's own GOLDTrainer on the same toy parts, and the message for the day when upstream has mended a defect.

run = train(student, teacher, tokenizer, conversations(toys.prompts(8)), directory, use_uld_loss=True)
run.gradients[0], run.losses[0]
"""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from trl.experimental.gold import GOLDConfig, GOLDTrainer

from gold_style.prompts import Prompt
from tests.helpers import toy_runs


def still(holds: bool, fact: int, what: str) -> None:
    """Fail with directions when upstream fact number `fact` (docs/upstream.md), `what`, holds no longer."""
    assert holds, (
        f"upstream fact {fact} holds no longer: {what}. TRL or transformers has mended it: if that is so for the whole "
        "range of versions in pyproject.toml, drop our override (docs/upstream.md names it), this test and the fact"
    )


def conversations(asked: list[Prompt], answers: list[str] | None = None) -> list[dict]:
    """Rows in the format that the stock trainer reads: every turn, the answer last."""
    answers = answers or [prompt.reference or "" for prompt in asked]
    return [
        {"messages": [*prompt.messages(), {"role": "assistant", "content": answer}]} for prompt, answer in zip(asked, answers, strict=True)
    ]


@dataclass
class Run:
    """A finished run of the stock trainer."""

    trainer: GOLDTrainer
    gradients: list[torch.Tensor]

    @property
    def losses(self) -> list[float]:
        return [row["loss"] for row in self.trainer.state.log_history if "loss" in row]

    @property
    def weights(self) -> torch.Tensor:
        return toy_runs.weights(self.trainer.model)


def build(student, teacher, tokenizer, rows, directory: Path, *, teacher_tokenizer=None, callbacks=(), **changes):
    """The stock trainer with its own data format, not yet started; `changes` are fields of GOLDConfig."""
    arguments = dict(
        output_dir=str(directory),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        max_steps=1,
        learning_rate=1e-3,
        max_grad_norm=0.0,
        max_completion_length=20,
        lmbda=0.0,
        beta=0.3,
        temperature=1.0,
        top_p=1.0,
        use_cpu=True,
        bf16=False,
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
        save_strategy="no",
        gradient_checkpointing=False,
        use_uld_loss=False,
        teacher_tokenizer_name_or_path=(teacher_tokenizer or tokenizer).name_or_path,
    )
    random.seed(0)
    return GOLDTrainer(
        model=student,
        teacher_model=teacher,
        args=GOLDConfig(**{**arguments, **changes}),
        train_dataset=Dataset.from_list(rows) if isinstance(rows, list) else rows,
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )


def train(*args, callbacks=(), resume: Path | None = None, **changes) -> Run:
    """`build` and run to the end."""
    recorder = toy_runs.GradientRecorder()
    trainer = build(*args, callbacks=[recorder, *callbacks], **changes)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return Run(trainer, [toy_runs.flat(step) for step in recorder.steps])


class Reads:
    """The ids of every forward pass of a model, without padding: what it read."""

    def __init__(self, model):
        self.rows: list[tuple[int, ...]] = []
        self.passes: list[dict] = []
        self._hook = model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, module, args, kwargs):
        ids_BT = kwargs.get("input_ids", args[0] if args else None)
        mask_BT = kwargs.get("attention_mask")
        self.passes.append(kwargs)
        for b, ids in enumerate(ids_BT):
            kept = ids if mask_BT is None or mask_BT.shape != ids_BT.shape else ids[mask_BT[b].bool()]
            self.rows.append(tuple(kept.tolist()))
