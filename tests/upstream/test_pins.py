"""What our subclass relies on in trl, transformers and accelerate: names, parameters, behaviours.

A change here is no defect of upstream's, but it needs a look at the override named in the message.
"""

import inspect
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import transformers
import trl
from accelerate import Accelerator
from accelerate.state import GradientState
from packaging.requirements import Requirement
from transformers import Cache, DynamicCache, GenerationConfig, Trainer, TrainerCallback, TrainerControl
from transformers.cache_utils import DynamicLayer
from transformers.trainer_callback import CallbackHandler, ExportableState
from trl.experimental.gold import GOLDConfig, GOLDTrainer
from trl.trainer.utils import disable_dropout_in_model

from gold_style.distil import trainer as trainer_module
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.engine.teacher import Teacher
from tests.helpers import stock, toy_runs, toys

ROOT = Path(__file__).parents[2]
TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)

# method of the parent -> its parameters after self. Ours overrides or calls each of them.
METHODS = {
    (GOLDTrainer, "__init__"): [
        "model",
        "teacher_model",
        "args",
        "data_collator",
        "train_dataset",
        "eval_dataset",
        "processing_class",
        "compute_metrics",
        "callbacks",
        "optimizers",
        "preprocess_logits_for_metrics",
        "peft_config",
    ],
    (GOLDTrainer, "get_train_dataloader"): [],
    (GOLDTrainer, "training_step"): ["model", "inputs", "num_items_in_batch"],
    (GOLDTrainer, "compute_loss"): ["model", "inputs", "return_outputs", "num_items_in_batch"],
    (GOLDTrainer, "log"): ["logs", "start_time"],
    (GOLDTrainer, "create_model_card"): ["model_name", "dataset_name", "tags"],
    (Trainer, "create_optimizer"): ["model"],
    (Trainer, "floating_point_ops"): ["inputs"],
    (Trainer, "_get_grad_norm"): ["model", "grad_norm"],
    (Trainer, "_get_output_dir"): ["trial"],
    (Trainer, "_save_checkpoint"): ["model", "trial"],
    (Trainer, "_save_optimizer_and_scheduler"): ["output_dir"],
    (Trainer, "_load_from_checkpoint"): ["resume_from_checkpoint", "model"],
    (Trainer, "_build_accelerator_args"): ["kwargs"],
    (Trainer, "train"): ["resume_from_checkpoint", "trial", "ignore_keys_for_eval"],
    (Accelerator, "autocast"): ["autocast_handler"],
    (Accelerator, "prepare_model"): ["model", "device_placement", "evaluation_mode"],
    (Trainer, "_prepare_inputs"): ["inputs"],
    (Trainer, "get_batch_samples"): ["epoch_iterator", "num_batches", "device"],
    (Accelerator, "no_sync"): ["model"],
    (Accelerator, "backward"): ["loss", "kwargs"],
    (Accelerator, "gather"): ["tensor"],
    (Accelerator, "get_state_dict"): ["model", "unwrap"],
    (Accelerator, "unwrap_model"): ["model", "keep_fp32_wrapper", "keep_torch_compile"],
    (GradientState, "_set_sync_gradients"): ["sync_gradients"],
    (DynamicLayer, "update"): ["key_states", "value_states", "args", "kwargs"],
    (DynamicLayer, "lazy_initialization"): ["key_states", "value_states"],
    (DynamicLayer, "reorder_cache"): ["beam_idx"],
    (DynamicLayer, "get_seq_length"): [],
    (ExportableState, "state"): [],
}


@pytest.mark.parametrize(("owner", "name"), METHODS, ids=[f"{owner.__name__}.{name}" for owner, name in METHODS])
def test_signatures(owner, name):
    found = [parameter for parameter in inspect.signature(getattr(owner, name)).parameters if parameter != "self"]
    assert found == METHODS[owner, name], f"{owner.__name__}.{name} takes {found}: look at what gold_style.distil does with it"


def test_every_override_overrides_something():
    """A method that the parent no longer has would never be called."""
    ours = {name for name, value in vars(StyleGOLDTrainer).items() if inspect.isfunction(value)}
    overriding = {name for name in ours if any(hasattr(base, name) for base in StyleGOLDTrainer.__mro__[1:])}
    called_by_the_loop = {
        "__init__",
        "_build_accelerator_args",
        "train",
        "get_train_dataloader",
        "floating_point_ops",
        "create_optimizer",
        "_load_optimizer_and_scheduler",
        "_save_optimizer_and_scheduler",
        "_load_from_checkpoint",
        "training_step",
        "compute_loss",
        "_get_grad_norm",
        "log",
        "_get_output_dir",
        "_save_checkpoint",
        "create_model_card",
    }
    assert overriding == called_by_the_loop, "keep the table in gold_style/distil/trainer.py and METHODS here in step"
    assert not [name for name in overriding if f"`{name}`" not in trainer_module.__doc__]


def test_our_signatures_accept_the_parents_calls():
    for name in ("training_step", "compute_loss", "log", "_get_grad_norm", "_save_checkpoint", "create_optimizer"):
        ours = list(inspect.signature(getattr(StyleGOLDTrainer, name)).parameters)
        theirs = list(inspect.signature(getattr(GOLDTrainer, name)).parameters)
        assert ours == theirs, name


def test_names_that_are_imported_or_read():
    assert list(inspect.signature(disable_dropout_in_model).parameters) == ["model"]
    assert {"layers"} <= set(inspect.signature(Cache.__init__).parameters)
    assert {"config"} <= set(inspect.signature(DynamicCache.__init__).parameters)
    model = toys.model(VOCAB)
    assert model.get_decoder() is model.model and model.get_output_embeddings() is model.lm_head
    assert model.config.get_text_config() is model.config
    assert isinstance(model.generation_config, GenerationConfig)
    for event in ("on_step_begin", "on_pre_optimizer_step", "on_step_end", "on_log", "on_train_begin"):
        assert hasattr(TrainerCallback, event) and hasattr(CallbackHandler, event)
    assert TrainerControl().should_training_stop is False


def test_settings_that_are_passed_on():
    needed = {
        "output_dir",
        "seed",
        "lmbda",
        "use_uld_loss",
        "disable_dropout",
        "uld_use_hybrid_loss",
        "teacher_tokenizer_name_or_path",
        "bf16",
        "fp16",
        "use_cpu",
        "max_length",
        "report_to",
        "disable_tqdm",
        "remove_unused_columns",
        "dataset_kwargs",
        "ignore_data_skip",
        "logging_nan_inf_filter",
        "eval_strategy",
        "num_generations",
        "max_completion_length",
        "per_device_train_batch_size",
        "max_grad_norm",
        "gradient_accumulation_steps",
        "gradient_checkpointing",
        "gradient_checkpointing_kwargs",
        "save_strategy",
    }
    assert needed <= {field.name for field in fields(GOLDConfig)}


def test_dynamic_layer_appends_behind_what_it_holds():
    layer, states = DynamicLayer(), torch.randn(2, 1, 3, 4)
    layer.update(states, states)
    keys, _ = layer.update(states[:, :, :1], states[:, :, :1])
    assert torch.equal(keys, torch.cat([states, states[:, :, :1]], dim=-2)) and layer.get_seq_length() == 4
    assert [type(one) for one in DynamicCache(config=toys.model(VOCAB).config).layers] == [DynamicLayer] * 2


def test_the_loop_calls_us_once_a_step_and_clips_afterwards(tmp_path):
    """One item of the loader is one call of training_step; then the norm, the optimizer, the callbacks, the log."""
    calls = []

    class Watched(StyleGOLDTrainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            calls.append(("step", self.state.global_step, tuple(inputs)))
            return super().training_step(model, inputs, num_items_in_batch)

        def _get_grad_norm(self, model, grad_norm=None):
            calls.append("norm")
            return super()._get_grad_norm(model, grad_norm)

        def log(self, logs, start_time=None):
            calls.append("log")
            return super().log(logs, start_time)

    class Steps(TrainerCallback):
        def on_pre_optimizer_step(self, *args, **kwargs):
            calls.append("optimizer")

        def on_step_end(self, *args, **kwargs):
            calls.append("end")

    maker = toy_runs.row_maker(TOKENIZER, Teacher(toys.model(VOCAB, seed=1), TOKENIZER), toys.prompts(8))
    trained = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path, callbacks=[Steps()], max_steps=2)
    trained.__class__ = Watched
    trained.train()
    one = ["norm", "optimizer", "end", "log"]
    assert calls == [("step", 0, (0,)), *one, ("step", 1, (1,)), *one, "log"]  # the last one: the summary of the run


def test_gradients_are_clipped_to_the_norm_before_the_step(tmp_path):
    maker = toy_runs.row_maker(TOKENIZER, Teacher(toys.model(VOCAB, seed=1), TOKENIZER), toys.prompts(8))
    free, _, trained = toy_runs.one_step(toys.model(VOCAB), maker, tmp_path)
    clipped, _, limited = toy_runs.one_step(toys.model(VOCAB), maker, tmp_path, max_grad_norm=0.01)
    assert trained.run.rows[0]["train/grad_norm"] == pytest.approx(float(free.norm()), rel=1e-4)
    assert limited.run.rows[0]["train/grad_norm"] == pytest.approx(float(free.norm()), rel=1e-4), "the norm before clipping"
    assert float(clipped.norm()) == pytest.approx(0.01, rel=1e-3)


def test_the_parent_reads_no_row_of_our_data(tmp_path):
    """`skip_prepare_dataset` and a one-row data set of step numbers go through the parent's constructor untouched."""
    maker = toy_runs.row_maker(TOKENIZER, Teacher(toys.model(VOCAB, seed=1), TOKENIZER), toys.prompts(8))
    trained = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path, max_steps=3)
    assert trained.train_dataset.column_names == ["step"]
    assert [step for (step,) in trained.get_train_dataloader()] == [0, 1, 2]
    assert trained.teacher_model is maker.teacher.model and trained.uld_loss_fn is not None


def test_the_parent_needs_no_name_for_the_teachers_tokenizer(tmp_path):
    """It loads the tokenizer once more, by name and without revision: ours works for one that has no name at all."""
    tokenizer = toys.byte_tokenizer()
    tokenizer.name_or_path = "no/such-model"
    maker = toy_runs.row_maker(TOKENIZER, Teacher(toys.model(VOCAB, seed=1), tokenizer), toys.prompts(8))
    trained = toy_runs.trainer(toys.model(VOCAB), maker, tmp_path)
    assert trained.teacher_tokenizer.get_vocab() == tokenizer.get_vocab()
    assert trained.teacher.tokenizer is tokenizer and trained.args.teacher_tokenizer_name_or_path is None


def test_installed_versions_are_the_admitted_ones():
    """The facts were measured on these: pyproject.toml must not admit a trl that was never tried."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ranges = {Requirement(line).name: Requirement(line).specifier for line in wanted}
    assert trl.__version__ in ranges["trl"] and "1.17.0" not in ranges["trl"] and "1.15.9" not in ranges["trl"]
    assert transformers.__version__ in ranges["transformers"] and "6.0.0" not in ranges["transformers"]


def test_the_stock_trainer_still_runs(tmp_path):
    """What every comparison stands on: rows with an answer train under the stock trainer, off- and on-policy."""
    for lmbda in (0.0, 1.0):
        rows = stock.conversations(toys.prompts(8))
        arguments = {"lmbda": lmbda, "max_completion_length": 4}
        run = stock.train(toys.model(VOCAB), toys.model(VOCAB, seed=1), TOKENIZER, rows, tmp_path, **arguments)
        assert run.losses[0] > 0 and run.gradients[0].norm() > 0
