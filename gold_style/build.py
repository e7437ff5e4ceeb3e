"""settings -> tokenizers, models, trainer. Everything that can be refused without a model is refused before one is loaded.

    parts = Parts.load(settings, run)         # tokenizers, prompts, length checks; no weights yet
    trainer = build_trainer(settings, parts, run)
"""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging
from trl.experimental.gold import GOLDConfig

from gold_style.chat import Chat, stop_ids, template_stop_id
from gold_style.config.settings import Settings, local_model
from gold_style.distil.cross_tokenizer import CrossTokenizer
from gold_style.distil.objective import Objective, TokenExact
from gold_style.distil.remembering import RememberingTeacher
from gold_style.distil.rollout import Sampling
from gold_style.distil.setup import Distillation
from gold_style.distil.teacher import Teacher
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.losses import ULD, Lifting, TokenBytes, Tree, VocabularyMatch, identical_tokenizers
from gold_style.prompts import Prompt, PromptSource, build_source
from gold_style.runs.disk_cache import DiskCache
from gold_style.styles import StylePack
from gold_style.verdicts import Classifier, build_classifier

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_CHECKED_ROWS = 50_000  # prompts whose length is checked before training; later rows are checked when their turn comes
MAX_REPORTED_ROWS = 20

logging.disable_progress_bar()  # one bar at a time: ours
logging.set_verbosity_error()


def load_tokenizer(name: str, revision: str | None, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """Raises ValueError, in one sentence with the local alternative, when the tokenizer cannot be had."""
    with _hub_errors(name):
        tokenizer = AutoTokenizer.from_pretrained(
            local_model(name), revision=revision, trust_remote_code=trust_remote_code
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    name: str, dtype: torch.dtype, *, revision: str | None, trust_remote_code: bool, attn_implementation: str | None
) -> PreTrainedModel:
    """A causal LM from safetensors, on the CPU. Raises ValueError when it cannot be had."""
    with _hub_errors(name):
        return AutoModelForCausalLM.from_pretrained(
            local_model(name),
            dtype=dtype,
            revision=revision,
            trust_remote_code=trust_remote_code,
            attn_implementation=attn_implementation,
            use_safetensors=True,
        )


class _hub_errors:
    """Turns what transformers and the hub raise for a missing model into one sentence."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self):
        # a hub out of reach should be said at once, not after minutes of retries
        os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
        os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "30")

    def __exit__(self, kind, error, traceback):
        if isinstance(error, ValueError) and "trust_remote_code" in str(error):
            raise ValueError(
                f"{self.name!r} comes with Python code of its own, which is not run; read it, and if you trust it, set "
                "model.trust_remote_code=true"
            ) from error
        if isinstance(error, OSError) and "safetensors" in str(error) and Path(local_model(self.name)).is_dir():
            raise ValueError(f"{self.name!r} has no weights in safetensors files, and pickled ones are not opened: {error}") from error
        if isinstance(error, (OSError, RuntimeError)) and not Path(local_model(self.name)).is_dir():
            raise ValueError(
                f"{self.name!r} is neither a local directory nor to be had from the model hub ({type(error).__name__}). Check the "
                "name and the connection, or download it elsewhere and give the directory: model.teacher=PATH model.student=PATH"
            ) from error
        return False


@dataclass(kw_only=True)
class Parts:
    """What a run reads before any weights: also all that a dry run needs."""

    settings: Settings
    pack: StylePack
    classifier: Classifier
    source: PromptSource
    chat: Chat
    same_tokenizer: bool
    student_context: int  # tokens of prompt and completion together
    teacher_context: int

    @classmethod
    def load(cls, settings: Settings) -> "Parts":
        """Raises ValueError for everything that stands against the run: names, rows, lengths, combinations."""
        model = settings.model
        pack = StylePack.from_settings(settings.styles)
        student = load_tokenizer(model.student, model.student_revision, model.trust_remote_code)
        teacher = load_tokenizer(model.teacher, model.teacher_revision, model.trust_remote_code)
        chat = Chat(
            student, teacher, pack, settings.prompts.student_system_prompt, settings.prompts.teacher_system_prompt
        )
        parts = cls(
            settings=settings,
            pack=pack,
            classifier=build_classifier(settings.styles.classifier),
            source=build_source(settings, pack, None, special_tokens(student, teacher)),
            chat=chat,
            same_tokenizer=identical_tokenizers(student, teacher),
            student_context=context_tokens(model.student, model.student_revision, model.trust_remote_code),
            teacher_context=context_tokens(model.teacher, model.teacher_revision, model.trust_remote_code),
        )
        parts.check()
        return parts

    def set_aside(self, run) -> list[str]:
        """What the user should know about the source; with on_bad_row=quarantine the bad rows are written beside the run first."""
        if self.settings.prompts.on_bad_row == "quarantine":
            special = special_tokens(self.chat.student_tokenizer, self.chat.teacher_tokenizer)
            self.source = build_source(self.settings, self.pack, run.directory, special)
        return self.source.notes if run.is_main else []

    def training_prompts(self) -> Iterator[Prompt]:
        """Each distinct training row once, or a sample of an unlimited source."""
        num_rows = self.source.num_rows
        for number in range(256 if num_rows is None else min(num_rows, MAX_CHECKED_ROWS)):
            yield self.source[number]

    def check(self) -> None:
        """Combinations that only the data or the tokenizers can show."""
        settings, num_rows = self.settings, self.source.num_rows
        mistakes = []
        rows_per_step = rows_per_window(settings) * num_processes() // settings.train.get("num_generations", 1)
        if num_rows is not None and num_rows < rows_per_step:
            mistakes.append(
                f"prompts: {num_rows} training rows are fewer than the {rows_per_step} of one step (train.per_device_train_batch_size x "
                "train.gradient_accumulation_steps x processes / train.num_generations): lower those, or hold out less with "
                "prompts.eval_samples"
            )
        if settings.loss.lmbda < 1 and not settings.loss.seq_kd and not self.source.has_references:
            mistakes.append(
                f"loss.lmbda={settings.loss.lmbda}: off-policy rows need an assistant turn, and not every row has one; set "
                "loss.seq_kd=true to let the teacher write them, or loss.lmbda=1"
            )
        if settings.loss.kind == "jsd" and not self.same_tokenizer:
            mistakes.append(
                "loss.kind=jsd compares token by token, but teacher and student have different tokenizers: use loss=uld_hybrid, "
                "loss=uld or loss=tree"
            )
        mistakes += self.length_mistakes()
        if mistakes:
            raise ValueError("\n".join(mistakes))

    def length_mistakes(self) -> list[str]:
        """Rows that do not fit: prompts longer than the models' room, answers longer than train.max_completion_length."""
        room = self.settings.train["max_completion_length"]
        student_limit = self.settings.prompts.max_prompt_tokens or self.student_context - room
        teacher_limit = self.teacher_context - room
        needs_reference = self.settings.loss.lmbda < 1 and not self.settings.loss.seq_kd
        found = []
        for prompt in (*self.training_prompts(), *self.source.evaluation(), *self.source.selection()):
            where = prompt.origin or f"prompts row {prompt.row}"
            teacher_ids = self.chat.teacher_ids(prompt)
            for side, length, limit in (
                ("student's", len(self.chat.student_ids(prompt)), student_limit),
                ("teacher's", len(teacher_ids.prefix) + len(teacher_ids.rest), teacher_limit),
            ):
                if length > limit:
                    found.append(f"{where}: the {side} prompt has {length} tokens, {limit} fit; shorten the request")
            if needs_reference and prompt.reference is not None:
                answer = self.chat.student_tokenizer(prompt.reference, add_special_tokens=False, split_special_tokens=True)
                length = len(answer["input_ids"]) + 1
                if length > room:
                    found.append(f"{where}: the answer has {length} tokens, train.max_completion_length is {room}")
        if len(found) > MAX_REPORTED_ROWS:
            found = [*found[:MAX_REPORTED_ROWS], f"... and {len(found) - MAX_REPORTED_ROWS} more"]
        return found


def context_tokens(name: str, revision: str | None, trust_remote_code: bool) -> int:
    """Longest sequence the model was built for, in tokens: its config's `max_position_embeddings`, else no limit."""
    with _hub_errors(name):
        config = AutoConfig.from_pretrained(local_model(name), revision=revision, trust_remote_code=trust_remote_code)
    return getattr(config.get_text_config(), "max_position_embeddings", None) or 10**9


def special_tokens(*tokenizers: PreTrainedTokenizerBase) -> frozenset[str]:
    """Control tokens of the chat templates: text of a row must not hold them."""
    return frozenset(t.content for tokenizer in tokenizers for t in tokenizer.added_tokens_decoder.values() if t.special)


def num_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rows_per_window(settings: Settings) -> int:
    """Rows of one optimizer step on one process."""
    return settings.train["per_device_train_batch_size"] * settings.train["gradient_accumulation_steps"]


def gold_config(settings: Settings, run) -> GOLDConfig:
    """TRL's configuration of this run; one step of its loop is one window of ours (see distil/trainer.py)."""
    train = dict(settings.train)
    if train.get("optim") == "muon":
        train["optim"] = "adamw_torch"
    saves = train.get("save_steps") is not None
    train.setdefault("save_strategy", "steps" if saves else "no")
    train.pop("save_total_limit", None)  # ours never deletes the best or the last good one
    train["gradient_accumulation_steps"] = 1
    train["per_device_train_batch_size"] = rows_per_window(settings)
    num_rows = None
    if train.get("max_steps", -1) <= 0:
        num_rows = run.num_training_rows
        rows_per_step = rows_per_window(settings) * num_processes() // train.get("num_generations", 1)
        train["max_steps"] = max(1, round(train.get("num_train_epochs", 1) * num_rows / rows_per_step))
    train.setdefault("gradient_checkpointing", False)
    if train["gradient_checkpointing"]:
        train.setdefault("gradient_checkpointing_kwargs", {"use_reentrant": False})
    loss, dtype, hardware = settings.loss, settings.model.dtype, settings.hardware
    warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)  # TRL's own default sets it
    return GOLDConfig(
        output_dir=str(run.checkpoints),
        seed=settings.seed,
        beta=loss.beta,
        lmbda=loss.lmbda,
        seq_kd=loss.seq_kd,
        temperature=loss.temperature,
        top_p=loss.top_p,
        top_k=loss.top_k,
        use_uld_loss=loss.kind != "jsd",
        uld_use_hybrid_loss=loss.kind == "uld_hybrid",
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16",
        use_cpu=hardware.device == "cpu",
        trust_remote_code=settings.model.trust_remote_code,
        max_length=None,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        ignore_data_skip=True,
        logging_nan_inf_filter=False,
        eval_strategy="no",
        **train,
    )


def build_teacher(settings: Settings, parts: Parts) -> Teacher:
    model, hardware = settings.model, settings.hardware
    weights = load_model(
        model.teacher, DTYPES[model.teacher_dtype or model.dtype], revision=model.teacher_revision,
        trust_remote_code=model.trust_remote_code, attn_implementation=model.attn_implementation,
    )  # fmt: skip
    options = {"prefix_cache_bytes": hardware.prefix_cache_bytes}
    if settings.cache.dir in (None, "auto"):
        return Teacher(weights, parts.chat.teacher_tokenizer, **options)
    disk = DiskCache(Path(settings.cache.dir), settings.cache.max_bytes)
    return RememberingTeacher(weights, parts.chat.teacher_tokenizer, disk=disk, **options)


def load_student(settings: Settings) -> PreTrainedModel:
    """The student with float32 weights, whatever the compute dtype."""
    model = settings.model
    return load_model(
        model.student, torch.float32, revision=model.student_revision, trust_remote_code=model.trust_remote_code,
        attn_implementation=model.attn_implementation,
    )  # fmt: skip


def build_trainer(settings: Settings, parts: Parts, run, callbacks=()) -> StyleGOLDTrainer:
    """Loads both models (trained weights in fp32) and puts the trainer together."""
    if settings.hardware.threads:
        torch.set_num_threads(settings.hardware.threads)
    torch.manual_seed(settings.seed)
    run.num_training_rows = parts.source.num_rows
    args = gold_config(settings, run)
    student = load_student(settings)
    distillation = build_distillation(settings, parts, student)
    return StyleGOLDTrainer(
        student=student, distillation=distillation, run=run, args=args, callbacks=list(callbacks), peft_config=lora_config(settings)
    )


def build_distillation(settings: Settings, parts: Parts, student: PreTrainedModel) -> Distillation:
    """Everything a step needs besides the student's weights; loads the teacher."""
    model, loss = settings.model, settings.loss
    teacher = build_teacher(settings, parts)
    stops = stop_ids(parts.chat.student_tokenizer, student)
    stop_id = template_stop_id(parts.chat.student_tokenizer, stops)
    vocab_size = min(len(parts.chat.student_tokenizer), student.get_output_embeddings().weight.shape[0])
    objective = build_objective(settings, parts, teacher, stops, stop_id, vocab_size)
    return Distillation(
        chat=parts.chat,
        source=parts.source,
        teacher=teacher,
        objective=objective,
        seed=settings.seed,
        lmbda=loss.lmbda,
        seq_kd=loss.seq_kd,
        sampling=Sampling(temperature=loss.temperature, top_p=loss.top_p, top_k=loss.top_k),
        max_completion_length=settings.train["max_completion_length"],
        rows_per_window=rows_per_window(settings),
        student_stop_ids=stops,
        student_stop_id=stop_id,
        student_vocab_size=min(vocab_size, teacher.vocab_size) if parts.same_tokenizer else vocab_size,
        to_student_ids=(lambda completion: completion) if parts.same_tokenizer else objective.to_student_ids,
        num_generations=settings.train.get("num_generations", 1),
        warm_start_steps=loss.warm_start_steps,
        warm_start_until=loss.warm_start_until,
        rows_per_microbatch=settings.train["per_device_train_batch_size"],
        tokens_per_microbatch=settings.hardware.tokens_per_microbatch,
        auto_microbatch=settings.hardware.auto_microbatch,
        muon_learning_rate=model.recipe.muon_learning_rate if settings.train.get("optim") == "muon" else None,
        compute_dtype=DTYPES[model.dtype],
        on_nonfinite=settings.on_nonfinite,
        save_total_limit=settings.train.get("save_total_limit"),
    )


def build_objective(
    settings: Settings, parts: Parts, teacher: Teacher, stops: tuple[int, ...], stop_id: int, vocab_size: int
) -> Objective:
    """Token by token where the tokenizers are one, over spans of common bytes where they are two."""
    loss = settings.loss
    is_jsd = loss.kind == "jsd"
    crossentropy_weight = 0.0 if is_jsd else loss.uld_crossentropy_weight
    distillation_weight = 1.0 if is_jsd else loss.uld_distillation_weight
    skip_stop = not is_jsd and (loss.uld_skip_student_eos or loss.uld_skip_teacher_eos)
    student_temperature, teacher_temperature = divergence_temperatures(settings)
    if parts.same_tokenizer:
        return TokenExact(
            teacher=teacher,
            vocab_size=min(vocab_size, teacher.vocab_size),
            beta=loss.beta,
            plain_uld=loss.kind == "uld",
            unscored_ids=stops if skip_stop else (),
            temperatures=(student_temperature, teacher_temperature),
            crossentropy_weight=crossentropy_weight,
            distillation_weight=distillation_weight,
        )
    student_bytes = TokenBytes.from_tokenizer(parts.chat.student_tokenizer)
    teacher_bytes = TokenBytes.from_tokenizer(teacher.tokenizer)
    if loss.kind == "tree":
        lifting = Lifting.between(parts.chat.student_tokenizer, teacher.tokenizer, stops, teacher.stop_ids)
        span_loss = Tree(lifting=lifting, beta=loss.beta, temperature=student_temperature, skip_stop=skip_stop)
    else:
        span_loss = ULD(
            match=VocabularyMatch.between(student_bytes, teacher_bytes, stop_id, teacher.stop_id),
            hybrid=loss.kind == "uld_hybrid",
            beta=loss.beta,
            matched_weight=loss.uld_hybrid_matched_weight,
            unmatched_weight=loss.uld_hybrid_unmatched_weight,
            crossentropy_weight=crossentropy_weight,
            distillation_weight=distillation_weight,
            student_temperature=student_temperature,
            teacher_temperature=teacher_temperature,
            skip_student_eos=skip_stop,
        )
    return CrossTokenizer(
        teacher=teacher,
        student_tokenizer=parts.chat.student_tokenizer,
        student_stop_ids=stops,
        student_stop_id=stop_id,
        student_bytes=student_bytes,
        teacher_bytes=teacher_bytes,
        span_loss=span_loss,
    )


def divergence_temperatures(settings: Settings) -> tuple[float, float]:
    """What divides the student's and the teacher's logits in the loss: as TRL, the sampling temperature for jsd, ULD's own else."""
    loss = settings.loss
    if loss.kind == "jsd":
        return loss.temperature, loss.temperature
    return loss.uld_student_temperature, loss.uld_teacher_temperature


def lora_config(settings: Settings):
    """PEFT's configuration when LoRA is on, else None. Raises ValueError when PEFT is not installed."""
    lora = settings.model.lora
    if not lora.enabled:
        return None
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ValueError("model.lora.enabled=true needs PEFT: pip install 'gold-style[lora]'") from error
    return LoraConfig(
        task_type="CAUSAL_LM", r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules
    )
