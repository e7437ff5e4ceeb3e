"""Stock GOLDTrainer beside ours: what one optimizer step weighs, draws and computes.

Facts 3, 4, 5, 11, 12, 13 and 14 of docs/upstream.md.
"""

import random
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
import torch
from datasets import IterableDataset
from transformers import TrainerCallback

from gold_style.config.settings import Settings
from gold_style.engine.teacher import Teacher
from gold_style.job.inputs import Inputs
from tests.helpers import prompt_settings, stock, toy_runs, toys
from tests.helpers.stock import still

pytestmark = pytest.mark.slow

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
LOSSES = {"JSD": ({}, {}), "ULD": ({"use_uld_loss": True}, {"plain_uld": True})}


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def stock_step(directory, asked=None, **changes) -> stock.Run:
    rows = stock.conversations(asked or toys.prompts(8))
    return stock.train(toys.model(VOCAB), toys.model(VOCAB, seed=1), TOKENIZER, rows, directory, **changes)


def our_step(directory, asked=None, **changes):
    maker = toy_runs.row_maker(TOKENIZER, teacher(), asked or toys.prompts(8), **changes)
    return toy_runs.one_step(toys.model(VOCAB), maker, directory)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_accumulation_changes_the_scale(loss, tmp_path):
    """Fact 5: eight rows as 1 x 8 instead of 8 x 1: JSD's gradient shrinks to an eighth, ULD's grows eightfold."""
    theirs, ours = LOSSES[loss]
    whole = stock_step(tmp_path, **theirs)
    split = stock_step(tmp_path, per_device_train_batch_size=1, gradient_accumulation_steps=8, **theirs)
    ratio = float(split.gradients[0].norm() / whole.gradients[0].norm())
    expected = pytest.approx(1 / 8 if loss == "JSD" else 8, rel=0.1)
    still(ratio == expected, 5, f"{loss} gradient of 1 x 8 rows is {ratio} of that of 8 x 1")
    ratio = split.losses[0] / whole.losses[0]
    still(ratio == expected, 5, f"{loss} logged for 1 x 8 rows is {ratio} of that of 8 x 1")

    whole, whole_loss, _ = our_step(tmp_path, **ours)
    split, split_loss, _ = our_step(tmp_path, rows_per_microbatch=1, **ours)
    assert toy_runs.distance(split, whole) < 1e-5 and split_loss == pytest.approx(whole_loss, rel=1e-5)


def test_jsd_is_divided_by_answers_that_nobody_reads(tmp_path):
    """Fact 5: on-policy, the answers of the data set are replaced, yet their length is what the loss is divided by."""
    asked = toys.prompts(8)
    longer = [replace(prompt, reference=prompt.reference * 5) for prompt in asked]

    def norm(rows):
        torch.manual_seed(0)
        changes = {"lmbda": 1.0, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
        changes["max_completion_length"] = 5
        return float(stock_step(tmp_path, rows, **changes).gradients[0].norm())

    ratio = norm(longer) / norm(asked)
    still(ratio < 0.5, 5, f"unused answers made five times as long: JSD gradient x {ratio}")
    assert torch.equal(our_step(tmp_path, longer, lmbda=1.0)[0], our_step(tmp_path, asked, lmbda=1.0)[0])


class Stray(TrainerCallback):
    """One draw from the global generator before each step."""

    def on_step_begin(self, args, state, control, **kwargs):
        random.random()


def test_a_stray_draw_changes_which_rows_are_on_policy(tmp_path):
    """Fact 11: slices are drawn from Python's global `random`."""
    changes = {"lmbda": 0.5, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "max_steps": 3, "max_completion_length": 5}

    def run(callbacks):
        torch.manual_seed(0)
        return stock_step(tmp_path, callbacks=callbacks, **changes).weights

    still(not torch.equal(run([]), run([Stray()])), 11, "a stray random.random() changes nothing")
    still(torch.equal(run([]), run([])), 11, "not even two equal runs agree")

    def ours(callbacks):
        maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), lmbda=0.5, rows_per_window=4)
        trained = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path, callbacks=callbacks, max_steps=3)
        trained.train()
        return toy_runs.weights(trained.model)

    assert torch.equal(ours([]), ours([Stray()]))


def test_printing_completions_changes_the_training(tmp_path):
    """Fact 11: `log_completions` samples what it prints from the same generator."""

    def run(**changes):
        torch.manual_seed(0)
        split = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "max_steps": 4}
        split["max_completion_length"] = 5
        return stock_step(tmp_path, lmbda=0.6, **split, **changes).weights

    shown = run(log_completions=True, log_completions_steps=1, num_completions_to_print=1)
    still(not torch.equal(run(), shown), 11, "log_completions no longer changes the weights")


def decoding_passes(model) -> list[int]:
    """Filled with the batch size of each forward pass in which the model decodes."""
    sizes = []

    def note(module, args, kwargs):
        if not torch.is_grad_enabled() and kwargs.get("past_key_values") is not None:
            sizes.append(len(kwargs["input_ids"]))

    model.get_decoder().register_forward_pre_hook(note, with_kwargs=True)
    return sizes


def test_completions_are_written_one_slice_at_a_time(tmp_path):
    """Fact 12: eight rows as 1 x 8 are eight calls of `generate`, one after the other; ours is one batch."""
    student, calls = toys.model(VOCAB), []
    plain = student.generate
    student.generate = lambda *args, **kwargs: calls.append(1) or plain(*args, **kwargs)
    sizes = decoding_passes(student)
    changes = {"lmbda": 1.0, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    rows = stock.conversations(toys.prompts(8))
    stock.train(student, toys.model(VOCAB, seed=1), TOKENIZER, rows, tmp_path, **changes)
    still(len(calls) == 8 and set(sizes) == {1} and len(sizes) > 100, 12, f"{len(calls)} calls, {len(sizes)} passes")

    student = toys.model(VOCAB)
    sizes = decoding_passes(student)
    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), lmbda=1.0, rows_per_microbatch=1)
    toy_runs.one_step(student, maker, tmp_path)
    assert len(sizes) <= 20 and sizes[0] == 8


def test_alignment_copies_the_whole_tensor_for_every_token(tmp_path):
    """Fact 13: each aligned group is one in-place write into the (T, V) tensor, so that backward is quadratic in T."""

    def copies(loss: torch.Tensor) -> int:
        """(T, V) writes in the graph behind a loss."""
        seen, stack, found = set(), [loss.grad_fn], Counter()
        while stack:
            node = stack.pop()
            if node is not None and node not in seen:
                seen.add(node)
                found[type(node).__name__] += 1
                stack += [parent for parent, _ in node.next_functions]
        return found["CopySlices"]

    asked = toys.prompts(1)
    num_tokens = len(TOKENIZER(asked[0].reference)["input_ids"])
    losses = []

    class Keep(stock.GOLDTrainer):
        def compute_loss(self, *args, **kwargs):
            losses.append(super().compute_loss(*args, **kwargs))
            return losses[-1]

    trainer = stock.build(
        toys.model(VOCAB),
        toys.model(VOCAB, seed=1),
        TOKENIZER,
        stock.conversations(asked),
        tmp_path,
        use_uld_loss=True,
        per_device_train_batch_size=1,
    )
    trainer.__class__ = Keep
    trainer.train()
    still(copies(losses[0]) >= num_tokens, 13, f"{copies(losses[0])} writes for {num_tokens} tokens")

    maker = toy_runs.row_maker(TOKENIZER, teacher(), asked, plain_uld=True, rows_per_window=1)
    ours = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path)
    plain = ours.compute_loss
    kept = []
    ours.compute_loss = lambda *args, **kwargs: kept.append(plain(*args, **kwargs)) or kept[-1]
    ours.train()
    assert copies(kept[0]) == 0


def test_logits_of_every_position_are_computed(tmp_path):
    """Fact 14: the vocabulary is projected at prompt and padding positions, too; ours only where tokens are scored."""
    asked = toys.prompts(8)
    scored = sum(len(TOKENIZER(prompt.reference)["input_ids"]) + 1 for prompt in asked)

    def projected(model) -> list[int]:
        rows = []
        model.lm_head.register_forward_pre_hook(lambda module, args: rows.append(args[0].numel() // args[0].shape[-1]))
        return rows

    student, their_teacher = toys.model(VOCAB), toys.model(VOCAB, seed=1)
    rows = projected(student), projected(their_teacher)
    stock.train(student, their_teacher, TOKENIZER, stock.conversations(asked), tmp_path, use_uld_loss=True)
    still(min(map(sum, rows)) > 1.5 * scored, 14, f"{rows} rows of logits for {scored} scored tokens")

    student, our_teacher = toys.model(VOCAB), toys.model(VOCAB, seed=1)
    rows = projected(student), projected(our_teacher)
    maker = toy_runs.row_maker(TOKENIZER, Teacher(our_teacher, TOKENIZER), asked, plain_uld=True)
    toy_runs.one_step(student, maker, tmp_path)
    probed = 2  # rows on which Backbone measures a head, once a model
    assert list(map(sum, rows)) == [scored + probed] * 2


def test_a_stream_loses_most_of_its_prompts(tmp_path):
    """Fact 3: with an IterableDataset, accumulation 4 throws three of four windows away; ours reads row after row."""
    pulled = []

    def rows():
        for number, row in enumerate(stock.conversations(toys.prompts(8)) * 16):
            pulled.append(number)
            yield row

    used = []

    class Keep(stock.GOLDTrainer):
        def _fill_buffer(self, batch, *args, **kwargs):
            used.append(len(batch["input_ids"]))
            return super()._fill_buffer(batch, *args, **kwargs)

    split = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "max_steps": 4}
    trainer = stock.build(toys.model(VOCAB), toys.model(VOCAB, seed=1), TOKENIZER, IterableDataset.from_generator(rows), tmp_path, **split)
    trainer.__class__ = Keep
    pulled.clear()
    trainer.train()
    still(sum(used) == 16 and len(pulled) >= 60, 3, f"{len(pulled)} rows pulled, {sum(used)} used")

    maker = toy_runs.row_maker(TOKENIZER, teacher(), toys.prompts(8), rows_per_window=4)
    numbers = []
    ours = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path, max_steps=4)
    for step in range(4):
        numbers += [row.number for row in maker.make(step, ours.accelerator, ours.student_copy)]
    assert numbers == list(range(16))


def test_a_small_data_set_trains_for_no_step_at_all(tmp_path):
    """Fact 3: five rows, a window of eight: the run "succeeds". Ours refuses such a set before it loads a model."""
    split = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    run = stock_step(tmp_path, toys.prompts(5), **split, max_steps=2)
    still(not run.gradients and not run.losses, 3, f"{len(run.gradients)} steps were taken")

    path = prompt_settings.write(tmp_path / "rows.jsonl", prompt_settings.rows(5))
    keys = [f"prompts.path={path}", "prompts.eval_samples=0", "tracker=none", f"output_dir={tmp_path / 'run'}"]
    settings = Settings.compose("model=tiny", "prompts=jsonl", *keys, "train.per_device_train_batch_size=16")
    with pytest.raises(ValueError, match="10 training rows are fewer than the 16 of one step"):
        Inputs.load(settings)


def test_a_resumed_run_reads_other_rows(tmp_path):
    """Fact 4: past the first epoch the sampler starts again at its seed, so the resumed run sees another order."""
    training = {"per_device_train_batch_size": 4, "max_steps": 6}
    whole = stock_step(tmp_path / "a", save_strategy="steps", save_steps=3, **training)
    resumed = stock_step(tmp_path / "a", resume=tmp_path / "a" / "checkpoint-3", **training)
    moved = toy_runs.distance(resumed.weights, whole.weights)
    still(moved > 1e-6, 4, f"the resumed run ends {moved} from the whole one")
    # ours: tests/distil/test_trainer.py::test_resumed_run_ends_with_the_same_weights
