"""Our side: StyleGOLDTrainer, put together from the same parts as by gold_style.build, on the benchmark's models and prompts."""

from dataclasses import replace
from pathlib import Path

import torch
from trl.experimental.gold import GOLDConfig

from gold_style.distil.objective import TokenExact
from gold_style.distil.options import Options
from gold_style.distil.row_maker import RowMaker
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.engine.rollout import OutputIds, Sampling
from gold_style.engine.teacher import Teacher
from gold_style.losses.jsd import Divergence
from gold_style.prompts import Prompt
from stepping.shapes import BETA, Shape, load_tokenizer, same_for_all, texts

TOKENS_PER_MICROBATCH = {"cpu": 600, "cuda": 4096}  # hardware.tokens_per_microbatch; on the CPU three rows


class Window:
    """The same prompts in every step."""

    has_references, notes = True, ()

    def __init__(self, prompts: list[Prompt]):
        self.prompts, self.num_rows = prompts, len(prompts)

    def __getitem__(self, number: int) -> Prompt:
        return self.prompts[number % self.num_rows]

    def evaluation(self) -> list[Prompt]:
        return []

    selection = evaluation


class Log:
    """Where the trainer's rows go."""

    def __init__(self):
        self.rows: list[dict] = []

    def log(self, row: dict, step: int) -> None:
        self.rows.append(row)

    def sync(self) -> None:
        """Rows are kept in memory."""


def build_trainer(
    shape: Shape,
    student,
    teacher,
    directory: Path,
    *,
    steps: int,
    device: str = "cpu",
    given: bool = False,
    compute: torch.dtype | None = None,
    peft_config=None,
) -> StyleGOLDTrainer:
    """`given`: score the rows' own answers instead of sampled ones. `compute` None: bf16 on a GPU, else fp32."""
    compute = compute or (torch.bfloat16 if device == "cuda" else torch.float32)
    tokenizer = load_tokenizer(shape)
    scorer = Teacher(teacher, tokenizer)
    options = Options(
        seed=0,
        lmbda=lambda step: 0.0 if given else 1.0,
        seq_kd=False,
        sampling=Sampling(temperature=1.0, top_p=1.0),
        max_completion_length=shape.new_tokens,
        rows_per_window=shape.window,
        rows_per_microbatch=1,
        tokens_per_microbatch=TOKENS_PER_MICROBATCH[device],
        compute_dtype=compute,
    )
    row_maker = RowMaker(
        options=options,
        chat=shape.chat(),
        source=Window(texts(shape).prompts),
        teacher=scorer,
        output_ids=OutputIds.of(tokenizer, student),
        objective=TokenExact(teacher=scorer, vocab_size=len(tokenizer), token_loss=Divergence(beta=BETA)),
    )
    args = GOLDConfig(
        **same_for_all(shape, directory, steps, device, bf16=compute == torch.bfloat16),
        per_device_train_batch_size=shape.window,
        gradient_accumulation_steps=1,
        logging_strategy="steps",
        logging_steps=1,
        lmbda=options.lmbda(0),
        max_length=None,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        ignore_data_skip=True,
    )
    return StyleGOLDTrainer(student=student, row_maker=row_maker, run=Log(), args=args, peft_config=peft_config)


def set_new_tokens(trainer: StyleGOLDTrainer, new_tokens: int) -> None:
    """Length of the completions from the next step on."""
    trainer.row_maker.options = replace(trainer.row_maker.options, max_completion_length=new_tokens)
