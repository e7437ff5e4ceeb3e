"""The stock side: TRL's GOLDTrainer at the best settings that work (docs/upstream.md), with a right wrapper for the system prompt.

Its hybrid ULD loss with the bayesian merge and without skipping stop tokens scores every token; `build_teacher_inputs_from_texts`, the
only function that sees the teacher's text, is wrapped so that it gets the teacher's whole prompt, with its system turn and examples, in
place of the student's.
"""

from pathlib import Path

import trl.experimental.gold.gold_trainer as gold
from datasets import Dataset
from trl.experimental.gold import GOLDConfig, GOLDTrainer

from gold_style.chat import render
from stepping.shapes import Shape, load_tokenizer, same_for_all, texts

_build = gold.build_teacher_inputs_from_texts


def with_teacher_prompts(shape: Shape):
    """TRL's function, handed what the teacher is to read for each prompt of the student's."""
    chat = shape.chat()
    texts_of_teacher = {chat.student_text(prompt): chat.teacher_text(prompt) for prompt in texts(shape).prompts}

    def build(tokenizer, prompt_texts, completion_texts, use_extended_uld=True):
        return _build(tokenizer, [texts_of_teacher[text] for text in prompt_texts], completion_texts, use_extended_uld)

    return build


def rows(shape: Shape) -> list[dict[str, str]]:
    tokenizer = load_tokenizer(shape)
    return [{"prompt": render(tokenizer, prompt.messages()), "completion": prompt.reference} for prompt in texts(shape).prompts]


def build_trainer(
    shape: Shape,
    student,
    teacher,
    directory: Path,
    *,
    steps: int,
    device: str = "cpu",
    given: bool = False,
    window: int | None = None,
    micro: int = 1,
) -> GOLDTrainer:
    """`micro` rows a micro-batch, one as in the origin. `given`: score the rows' own answers; `window` overrides the shape's."""
    tokenizer = load_tokenizer(shape)
    window = window or shape.window
    gold.build_teacher_inputs_from_texts = with_teacher_prompts(shape)
    args = GOLDConfig(
        **same_for_all(shape, directory, steps, device),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=window // micro,
        logging_strategy="no",
        lmbda=0.0 if given else 1.0,
        max_length=2048,
        use_uld_loss=True,
        uld_use_hybrid_loss=True,
        uld_token_merge_strategy="bayesian",
        uld_skip_student_eos=False,
        uld_skip_teacher_eos=False,
        teacher_tokenizer_name_or_path=str(shape.tokenizer_directory()),
    )
    return GOLDTrainer(
        model=student, teacher_model=teacher, args=args, train_dataset=Dataset.from_list(rows(shape)[-window:]), processing_class=tokenizer
    )


def set_new_tokens(trainer: GOLDTrainer, new_tokens: int) -> None:
    """Length of the completions from the next step on."""
    trainer.generation_config.max_new_tokens = new_tokens
