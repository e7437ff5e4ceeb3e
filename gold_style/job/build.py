"""settings and inputs -> teacher, objective, trainer.

trainer = build_trainer(settings, Inputs.load(settings), run)
"""

import math
import warnings
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from transformers import PreTrainedModel
from trl.experimental.gold import GOLDConfig

from gold_style.config.launch import is_sharded
from gold_style.config.losses import LOSSES, further_readings, reads
from gold_style.config.own_teacher import student_dtype
from gold_style.config.schedule import at_step
from gold_style.config.settings import Settings, local_model
from gold_style.distil.objective import Objective, Routed, TokenExact
from gold_style.distil.options import Options
from gold_style.distil.row_maker import RowMaker
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.distil.two_tokenizers import CrossTokenizer
from gold_style.engine.models import DTYPES, load_model
from gold_style.engine.rollout import OutputIds, Sampling
from gold_style.engine.teacher import AnyTeacher
from gold_style.engine.vllm import Colocated, Served
from gold_style.job.inputs import Inputs, device_of
from gold_style.job.steps import rows_per_window
from gold_style.job.teacher import build_teacher
from gold_style.losses import Side, applied, skips_stop
from gold_style.tokens.token_bytes import TokenBytes


def gold_config(settings: Settings, checkpoints: Path | str, num_steps: int) -> GOLDConfig:
    """TRL's configuration of this run; one step of its loop is one window of ours (see distil/trainer.py)."""
    train = dict(settings.train)
    if train.get("optim") == "muon":
        train["optim"] = "adamw_torch"
    train.pop("save_total_limit", None)  # ours never deletes the best or the last good one
    train["gradient_accumulation_steps"] = 1
    train["per_device_train_batch_size"] = rows_per_window(settings)
    train["max_steps"] = num_steps
    train.setdefault("gradient_checkpointing", False)
    dtype = settings.model.dtype
    warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)  # TRL's own default sets it
    return GOLDConfig(
        output_dir=str(checkpoints),
        seed=settings.seed,
        beta=at_step(settings.loss.beta, math.inf),  # where a schedule ends; the loss is ours
        lmbda=at_step(settings.loss.lmbda, math.inf),  # the parent holds it against num_generations; of loss and sampling it does nothing
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16",
        use_cpu=settings.hardware.device == "cpu",
        trust_remote_code=settings.model.trust_remote_code,
        max_length=None,
        gradient_checkpointing_kwargs={"use_reentrant": False} if train["gradient_checkpointing"] else None,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        ignore_data_skip=True,
        logging_nan_inf_filter=False,
        eval_strategy="no",
        save_strategy="no" if train.get("save_steps") is None else "steps",
        **train,
    )


def load_student(settings: Settings, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The student as it starts. Trained weights are float32, whatever the compute dtype; the frozen base of LoRA is in that dtype.
    On its device, unless it is to be sharded."""
    model = settings.model
    adapters = [model.student_adapter] if model.student_adapter else []
    device = None if is_sharded() else device_of(settings.hardware.device)
    dtype = dtype or DTYPES[student_dtype(model)]
    return load_model(model.student, dtype, model.student_revision, model, adapters, device, model.student_quantization)


def build_vllm(settings: Settings, run_directory: Path) -> Colocated | Served | None:
    """Who writes the student's completions instead of our own loop. Raises ValueError where it is not there."""
    hardware, model = settings.hardware, settings.model
    if hardware.rollouts == "vllm_server":
        handover = Path(hardware.vllm_handover) if hardware.vllm_handover else run_directory / ".handover"
        return Served(hardware.vllm_server, handover, student=local_model(model.student))
    if hardware.rollouts == "vllm_colocate":
        longest = settings.prompts.max_prompt_tokens  # every row is held against it
        return Colocated(
            model=local_model(model.student),
            dtype=model.dtype,
            gpu_memory_utilization=hardware.vllm_gpu_memory,
            max_model_len=longest and longest + settings.train["max_completion_length"],  # None: what the model was built for
            revision=model.student_revision,
            trust_remote_code=model.trust_remote_code,
        )
    return None


def build_trainer(settings: Settings, inputs: Inputs, run, callbacks=()) -> StyleGOLDTrainer:
    """Loads both models (trained weights in fp32) and puts the trainer together."""
    if settings.hardware.threads:
        torch.set_num_threads(settings.hardware.threads)
    torch.manual_seed(settings.seed)
    args = gold_config(settings, run.checkpoints, inputs.num_steps)
    vllm = build_vllm(settings, run.directory)  # first: a server that is not there costs no loading
    student = load_student(settings)
    row_maker = build_row_maker(settings, inputs, student, vllm)
    return StyleGOLDTrainer(
        student=student, row_maker=row_maker, run=run, args=args, callbacks=list(callbacks), peft_config=lora_config(settings)
    )


def build_row_maker(settings: Settings, inputs: Inputs, student: PreTrainedModel, vllm: Colocated | Served | None = None) -> RowMaker:
    """Everything a step needs besides the student's weights; loads the teacher."""
    teacher = build_teacher(settings, inputs, student)
    output_ids = OutputIds.of(inputs.chat.student_tokenizer, student)
    exact = [teacher.of(tag).output_ids.vocab_size for tag, is_exact in inputs.is_exact.items() if is_exact]
    if exact:  # an id that the teacher lacks could not be scored
        output_ids = replace(output_ids, vocab_size=min(output_ids.vocab_size, *exact))
    return RowMaker(
        options=build_options(settings),
        chat=inputs.chat,
        source=inputs.source,
        teacher=teacher,
        output_ids=output_ids,
        objective=build_objectives(settings, inputs, teacher, output_ids),
        vllm=vllm,
        row_mistakes=inputs.row_mistakes,
    )


def build_options(settings: Settings) -> Options:
    loss, train, hardware = settings.loss, settings.train, settings.hardware
    return Options(
        seed=settings.seed,
        beta=partial(at_step, loss.beta) if reads(loss.kind, "beta") else None,
        lmbda=partial(at_step, loss.lmbda),
        seq_kd=loss.seq_kd,
        sampling=Sampling(temperature=loss.temperature, top_p=loss.top_p, top_k=loss.top_k),
        max_completion_length=train["max_completion_length"],
        rows_per_window=rows_per_window(settings),
        num_generations=train.get("num_generations", 1),
        warm_start_steps=loss.warm_start_steps,
        warm_start_until=loss.warm_start_until,
        rows_per_microbatch=train["per_device_train_batch_size"],
        tokens_per_microbatch=hardware.tokens_per_microbatch,
        auto_microbatch=hardware.auto_microbatch,
        fsdp_gathers=hardware.fsdp_gathers,
        muon_learning_rate=settings.model.recipe.muon_learning_rate if train.get("optim") == "muon" else None,
        compute_dtype=DTYPES[settings.model.dtype],
        file_dtype=DTYPES.get(settings.model.student_file_dtype),
        on_nonfinite=settings.on_nonfinite,
        save_total_limit=train.get("save_total_limit"),
    )


def build_objectives(settings: Settings, inputs: Inputs, teacher: AnyTeacher, output_ids: OutputIds) -> Objective:
    """The objective of the teacher, or where tags have teachers of their own the rows' by tag."""
    tags = {teacher.of(tag): tag for tag in inputs.pack.tags}
    parts = {own: build_objective(settings, inputs, own, output_ids, inputs.is_exact[tag]) for own, tag in tags.items()}
    by_tag = {tag: parts[teacher.of(tag)] for tag in inputs.pack.tags}
    return Routed(by_tag, further_readings(settings.loss)) if len(parts) > 1 else parts[teacher]


def build_objective(settings: Settings, inputs: Inputs, teacher: AnyTeacher, output_ids: OutputIds, is_exact: bool) -> Objective:
    """Token by token where the tokenizers are one, over spans of common bytes where they are two."""
    loss, module = settings.loss, import_module(f"gold_style.losses.{settings.loss.kind}")
    options = getattr(module, "Options", dict)(**{name: getattr(loss, name) for name in LOSSES[loss.kind].keys})
    if is_exact:
        token_loss, unscored_ids = module.build(options), output_ids.stop_ids if skips_stop(options) else ()
        exact = {"vocab_size": output_ids.vocab_size, "token_loss": token_loss, "unscored_ids": unscored_ids, **applied(options)}
        return TokenExact(teacher=teacher, readings=further_readings(loss), **exact)
    models = (inputs.chat.student_tokenizer, output_ids), (teacher.tokenizer, teacher.output_ids)
    sides = tuple(Side(tokenizer, TokenBytes.from_tokenizer(tokenizer), ids.stop_ids, ids.stop_id) for tokenizer, ids in models)
    return CrossTokenizer(teacher=teacher, sides=sides, span_loss=module.build_spans(options, *sides))


def lora_config(settings: Settings):
    """PEFT's configuration when LoRA is on, else None."""
    lora = settings.model.lora
    if not lora.enabled:
        return None
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules)
