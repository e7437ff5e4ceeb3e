"""TRL's stable DistillationTrainer, for comparison. It cannot do the job: its teacher reads the student's prompt, so here there is no
system prompt and no example at all; what it has to read is 600 tokens a row less than what the others do (440 with real weights).
"""

from pathlib import Path

from datasets import Dataset
from trl import DistillationConfig, DistillationTrainer

from stepping.shapes import Shape, load_tokenizer, same_for_all
from stepping.stock import rows


def build_trainer(shape: Shape, student, teacher, directory: Path, *, steps: int, device: str = "cpu") -> DistillationTrainer:
    args = DistillationConfig(
        **same_for_all(shape, directory, steps, device),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=shape.window,
        logging_strategy="no",
    )
    prompts = Dataset.from_list([{"prompt": row["prompt"]} for row in rows(shape)])
    return DistillationTrainer(
        model=student, teacher_model=teacher, args=args, train_dataset=prompts, processing_class=load_tokenizer(shape)
    )


def set_new_tokens(trainer: DistillationTrainer, new_tokens: int) -> None:
    """Length of the completions from the next step on."""
    trainer.generation_config.max_new_tokens = new_tokens
    trainer.generation_kwargs["max_new_tokens"] = new_tokens
