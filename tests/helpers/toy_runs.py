"""Our trainer on toy parts, and what a test wants to see of it: gradients, logged rows, weights.

gradient, loss, trained = one_step(student, row_maker(tokenizer, teacher, toys.prompts(8)), directory)
"""

import gc
import random
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from transformers import TrainerCallback
from trl.experimental.gold import GOLDConfig

from gold_style.chat import Chat, stop_ids, template_stop_id
from gold_style.distil.objective import TokenExact
from gold_style.distil.options import Options
from gold_style.distil.row_maker import RowMaker
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.distil.two_tokenizers import CrossTokenizer
from gold_style.engine.rollout import OutputIds, Sampling
from gold_style.engine.teacher import Teacher
from gold_style.losses import Side, TokenLoss
from gold_style.losses.jsd import Divergence
from gold_style.losses.sorted_l1 import sorted_l1
from gold_style.losses.tree.lifting import Lifting
from gold_style.losses.tree.loss import Tree
from gold_style.losses.uld import ULD
from gold_style.prompts import Prompt
from gold_style.tokens.token_bytes import TokenBytes
from gold_style.tokens.vocabulary import VocabularyMatch
from tests.helpers import toys

gc.freeze()  # the loop collects garbage as it starts: two thirds of a toy run, were it to look through every library


class Recorder:
    """What a trainer logs, row by row: stands where a run directory would."""

    tokens_per_microbatch = None

    def __init__(self):
        self.rows: list[dict] = []
        self.state: dict = {}

    def update(self, **fields) -> None:
        self.state |= fields

    def log(self, row: dict, step: int) -> None:
        self.rows.append({"step": step, **row})

    def sync(self) -> None:
        """Nothing to make last."""


class GradientRecorder(TrainerCallback):
    """The gradients that each optimizer step was about to use, one dictionary a step."""

    def __init__(self):
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.steps.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})


def scored_positions(model) -> list[list[int]]:
    """Filled, row by row, with the positions whose last hidden state receives a gradient."""
    found: list[list[int]] = []

    def note(module, args, kwargs, output):
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.register_hook(
                lambda grad_BTD: found.extend(row.abs().sum(-1).nonzero()[:, 0].tolist() for row in grad_BTD)
            )

    model.get_decoder().register_forward_hook(note, with_kwargs=True)
    return found


class StrayDraws(TrainerCallback):
    """Draws from every global generator, at every point of the loop."""

    def on_step_begin(self, args, state, control, **kwargs):
        random.random(), torch.rand(3), np.random.rand()

    on_substep_end = on_pre_optimizer_step = on_step_end = on_log = on_train_begin = on_step_begin


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """All of them in one float64 vector, in the order of their names."""
    return torch.cat([tensors[name].detach().double().flatten() for name in sorted(tensors)])


def weights(model) -> torch.Tensor:
    """Every parameter in one float64 vector."""
    return flat(dict(model.named_parameters()))


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| relative to |b|."""
    return float((a - b).norm() / b.norm())


def output_ids_of(tokenizer, student=None) -> OutputIds:
    """Of a student, or of any that has the tokenizer's rows and no stop ids of its own."""
    if student is not None:
        return OutputIds.of(tokenizer, student)
    stops = stop_ids(tokenizer)
    return OutputIds(stops, template_stop_id(tokenizer, stops), len(tokenizer))


def row_maker(
    tokenizer,
    teacher: Teacher,
    asked: list[Prompt],
    *,
    student=None,
    beta: float = 0.3,
    plain_uld: bool = False,
    token_loss: TokenLoss | None = None,
    crossentropy_weight: float = 0.0,
    vocab_size: int | None = None,
    teacher_system_prompt: str | None = None,
    student_system_prompt: str | None = None,
    **changes,
) -> RowMaker:
    """`changes` are fields of Options or of RowMaker. Without an `objective` the tokenizers are identical."""
    options = dict(seed=0, lmbda=0.0, seq_kd=False, sampling=Sampling(), max_completion_length=20, rows_per_window=8, rows_per_microbatch=8)
    for name in changes.keys() & {field.name for field in fields(Options)}:
        options[name] = changes.pop(name)
    lmbda = options.pop("lmbda")
    fields_of_maker = dict(
        options=Options(lmbda=lmbda if callable(lmbda) else lambda step: lmbda, **options),
        chat=Chat(tokenizer, teacher.tokenizer, toys.PACK, student_system_prompt, teacher_system_prompt),
        source=toys.FixedSource(asked),
        teacher=teacher,
        objective=TokenExact(
            teacher=teacher,
            vocab_size=vocab_size or len(tokenizer),
            token_loss=token_loss or (sorted_l1 if plain_uld else Divergence(beta=beta)),
            crossentropy_weight=crossentropy_weight,
        ),
        output_ids=output_ids_of(tokenizer, student),
    )
    return RowMaker(**{**fields_of_maker, **changes})


def training_arguments(directory: Path, **changes) -> GOLDConfig:
    """What gold_style.build gives transformers' loop, for a few steps on the CPU."""
    arguments = dict(
        output_dir=str(directory),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        max_steps=1,
        learning_rate=1e-3,
        max_grad_norm=0.0,
        max_completion_length=20,
        max_length=None,
        use_cpu=True,
        bf16=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        ignore_data_skip=True,
        logging_nan_inf_filter=False,
        logging_steps=1,
        save_strategy="no",
        gradient_checkpointing=False,
    )
    return GOLDConfig(**{**arguments, **changes})


def trainer(student, maker: RowMaker, directory: Path, *, callbacks=(), peft_config=None, **changes) -> StyleGOLDTrainer:
    """Our trainer, not yet started; `changes` are fields of GOLDConfig. Its `run.rows` are the logged rows."""
    return StyleGOLDTrainer(
        student=student,
        row_maker=maker,
        run=Recorder(),
        args=training_arguments(directory, **changes),
        callbacks=list(callbacks),
        peft_config=peft_config,
    )


def train(
    tokenizer, teacher: Teacher, directory: Path, *, student=None, asked=None, callbacks=(), training=None, peft_config=None, **changes
) -> StyleGOLDTrainer:
    """A finished run: four steps of four rows, on- and off-policy mixed, unless `training` (fields of GOLDConfig) or
    `changes` (fields of Options or RowMaker) say otherwise."""
    student = student or toys.model(len(tokenizer))
    changes = {"lmbda": 0.5, "rows_per_window": 4, **changes}
    maker = row_maker(tokenizer, teacher, asked or toys.prompts(8), student=student, **changes)
    arguments = {"max_steps": 4, **(training or {})}
    trained = trainer(student, maker, directory, callbacks=callbacks, peft_config=peft_config, **arguments)
    trained.train()
    return trained


def one_step(student, maker: RowMaker, directory: Path, **changes) -> tuple[torch.Tensor, float, StyleGOLDTrainer]:
    """Gradient (one flat float64 vector) and logged loss of one optimizer step, and the trainer."""
    recorder = GradientRecorder()
    trained = trainer(student, maker, directory, callbacks=[recorder], **changes)
    trained.train()
    return flat(recorder.steps[0]), trained.run.rows[0]["train/loss"], trained


def cross_objective(tokenizer, teacher: Teacher, kind: str = "uld", **changes) -> CrossTokenizer:
    """The objective for two tokenizers: "uld", "uld_hybrid" or "tree"; `changes` are fields of ULD or Tree."""
    models = (tokenizer, output_ids_of(tokenizer)), (teacher.tokenizer, teacher.output_ids)
    sides = student, other = tuple(Side(of, TokenBytes.from_tokenizer(of), ids.stop_ids, ids.stop_id) for of, ids in models)
    match = VocabularyMatch.between(student.bytes, other.bytes, student.stop_id, other.stop_id)
    if kind == "tree":
        span_loss = Tree(lifting=Lifting(tokenizer, teacher.tokenizer, student.stop_ids, other.stop_ids), beta=0.3, **changes)
    else:
        span_loss = ULD(match=match, hybrid=kind == "uld_hybrid", beta=0.3, **changes)
    return CrossTokenizer(teacher=teacher, sides=sides, span_loss=span_loss)
