"""StyleGOLDTrainer: TRL's GOLDTrainer with a teacher-only system prompt, and with one optimizer step as the unit of work.

Every override names the upstream fact it mends; the facts, with numbers, are in docs/upstream.md.

| override               | mends                                                                                                   |
|------------------------|---------------------------------------------------------------------------------------------------------|
| `__init__`             | prompt-only rows crash (1); the JSD path resizes the caller's teacher (10); teacher keeps gradients (19) |
| `get_train_dataloader` | streams lose prompts, resume changes the data order (3, 4): a step number is all the loop needs          |
| `training_step`        | scale under accumulation (5), global random draws (11), one generate call per slice (12), seq_kd (2)     |
| `compute_loss`         | no hook for a teacher-only prompt (9), text round trip (7, 8), logits of all positions (14)              |
| `_load_optimizer_and_scheduler` | a longer run resumes at the learning rate of the shorter one                                   |
| `_save_optimizer_and_scheduler`, `_load_from_checkpoint` | only FSDP can resume what FSDP has saved                              |
| `create_optimizer`, `_build_accelerator_args`, `train` | `muon`; bf16 sums of gradients; a traceback where memory runs out   |
| `_save_checkpoint`, `_get_output_dir` | checkpoints appear complete or not at all                                                 |
| `_get_grad_norm`       | a non-finite gradient trains on                                                                          |
| `log`                  | per-slice means of unequal slices; the completions table can kill the run (18)                           |
| `floating_point_ops`, `create_model_card` | the parents' need `input_ids` and a hub                                               |

transformers' loop runs with gradient accumulation 1: its step is our window of `per_device_train_batch_size` x
`gradient_accumulation_steps` rows, which `training_step` cuts into micro-batches itself.
"""

import contextlib
import math
import tempfile
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PrinterCallback
from trl.experimental.gold import GOLDConfig, GOLDTrainer
from trl.trainer.utils import disable_dropout_in_model

from gold_style.distil.callbacks import Totals
from gold_style.distil.meters import Meters
from gold_style.distil.micro_batch import MicroBatch, collate, cut
from gold_style.distil.microbatch_size import CudaMemory, halved, measured
from gold_style.distil.muon import MuonWithAdamW
from gold_style.distil.nonfinite import FiniteWeights, nonfinite
from gold_style.distil.objective import install_scoring
from gold_style.distil.phases import Phases
from gold_style.distil.placement import FOR_THE_PARENT, ExactEmbedding, accelerator_arguments, load_optimizer, load_weights, whole
from gold_style.distil.row_maker import RowMaker
from gold_style.distil.student_copy import StudentCopy
from gold_style.distil.window import Row, Steps
from gold_style.engine.draws import key64
from gold_style.engine.out_of_memory import LESS_TO_TRAIN, is_out_of_memory, memory_advice
from gold_style.engine.teacher import TeacherGone
from gold_style.runs.checkpoints import checkpoints_in, prune, seal_checkpoint, size_bytes
from gold_style.runs.files import full_disk_explained, require_free_space

MEASURED_TOKENS = 32  # scored tokens of a window on which the costly statistics are measured


class StyleGOLDTrainer(GOLDTrainer):
    """Trains `student` to follow `row_maker.teacher` on the rows that `row_maker` makes.

    Args: a GOLDConfig whose `per_device_train_batch_size` is the window of one process; the `Run` that gets every logged row.
    """

    def __init__(self, *, student, row_maker: RowMaker, run, args: GOLDConfig, callbacks=None, peft_config=None):
        if args.disable_dropout:
            disable_dropout_in_model(student)
        wanted = {name: getattr(args, name) for name in (*FOR_THE_PARENT, "teacher_tokenizer_name_or_path")}
        vars(args).update(FOR_THE_PARENT)
        self.options, self.teacher = row_maker.options, row_maker.teacher
        with tempfile.TemporaryDirectory() as directory, memory_advice("while the models were placed on their device", LESS_TO_TRAIN):
            # The parent loads the teacher's tokenizer once more, by name: here the very one that is used, whatever its revision.
            self.teacher.tokenizer.save_pretrained(directory)
            args.teacher_tokenizer_name_or_path = directory
            described = torch.nn.Module()  # a teacher without weights: under FSDP TRL leaves them on the CPU
            described.config = self.teacher.head.base.config
            super().__init__(
                model=student,
                teacher_model=described,
                args=args,
                data_collator=list,
                train_dataset=Dataset.from_dict({"step": [0]}),
                processing_class=row_maker.chat.student_tokenizer,
                callbacks=callbacks,
                peft_config=peft_config,
            )
            self.teacher_model = self.teacher.place(lambda module: self.accelerator.prepare_model(module, True, evaluation_mode=True))
        vars(args).update(wanted)
        self.pad_token_id = row_maker.output_ids.stop_id  # the tokenizer's own may have no row in the embedding
        self.row_maker, self.decisions, self.run = row_maker, row_maker.decisions, run
        is_on_gpu, asked = self.args.device.type == "cuda", self.options.tokens_per_microbatch
        self.decisions.tokens_per_microbatch = run.tokens_per_microbatch if asked == "auto" else asked
        self.backbone = install_scoring(self.model, row_maker.objective)
        self.memory = CudaMemory() if is_on_gpu else None
        self.meters = Meters()
        self._timed = self.phases = Phases(self.meters, partial(torch.cuda.Event, enable_timing=True) if is_on_gpu else None)
        self.totals = Totals(self.meters)
        for callback in (self.totals, FiniteWeights(self), ExactEmbedding()):
            self.add_callback(callback)
        self.window: list[Row] = []  # the rows of the latest step, for messages
        self.student_copy = StudentCopy(self, self.options.compute_dtype)
        self.remove_callback(PrinterCallback)
        Path(args.output_dir).mkdir(parents=True, exist_ok=True)

    def _build_accelerator_args(self, **kwargs) -> dict:
        return super()._build_accelerator_args(**kwargs) | accelerator_arguments(self.options)

    def train(self, *args, **kwargs):
        """As the parent's. Raises ValueError, naming what to lower, where memory runs out in or around an optimizer's step; after a
        checkpoint, where the teacher does not answer any more."""
        with memory_advice("while the optimizer moved the weights, or before its first step", LESS_TO_TRAIN):
            try:
                return super().train(*args, **kwargs)
            except TeacherGone:  # before the step's gradients: weights and optimizer are those of the last step
                if self.state.global_step and not (Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}").exists():
                    self._save_checkpoint(self.model, None)
                raise

    # ---- what the loop reads: step numbers, no data ------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """One item per optimizer step on every process; prompts follow from the step number (upstream facts 3 and 4)."""
        return DataLoader(Steps(self), batch_size=1, collate_fn=list)

    def floating_point_ops(self, inputs) -> int:
        return 0  # the parent counts `input_ids`, which a step number does not have

    def create_optimizer(self, model=None):
        if not self.options.muon_learning_rate:
            return super().create_optimizer(model)
        if self.optimizer is None:
            self.optimizer = MuonWithAdamW(model or self.model, self.args, self.options.muon_learning_rate)
        return self.optimizer

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """With the next step's rate from this run's own schedule: the checkpoint's is that of the run which is extended."""
        if checkpoint is not None and self.is_fsdp_enabled and (path := Path(checkpoint, "optimizer.pt")).exists():
            load_optimizer(self.optimizer, path)
            self.lr_scheduler.load_state_dict(torch.load(path.with_name("scheduler.pt"), weights_only=True))
        else:
            super()._load_optimizer_and_scheduler(checkpoint)
        schedule = getattr(self.lr_scheduler, "scheduler", self.lr_scheduler)
        if checkpoint is not None and isinstance(schedule, LambdaLR):
            schedule.last_epoch -= 1
            schedule.step()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            return super()._save_optimizer_and_scheduler(output_dir)
        state = whole(self.optimizer.state_dict())
        if self.args.should_save:
            torch.save(state, Path(output_dir, "optimizer.pt"))
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, "scheduler.pt"))

    def _load_from_checkpoint(self, checkpoint: str, model=None) -> None:
        if self.is_fsdp_enabled and not Path(checkpoint, "pytorch_model_fsdp.bin").exists():  # older runs have it
            load_weights(model or self.model, Path(checkpoint))
        else:
            super()._load_from_checkpoint(checkpoint, model)

    # ---- one optimizer step ------------------------------------------------------------------------------------------

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Write, score and back-propagate one window. Returns the window's loss in nats per scored token, this process's share
        x the number of processes, so that the mean over processes is the mean over all scored tokens.

        Raises NonFinite, with the step and the rows, when the loss is not finite and `on_nonfinite` is stop.
        """
        lower = "train.per_device_train_batch_size, train.gradient_accumulation_steps or train.max_completion_length"
        with self._timed("rollout"), memory_advice("while the window's completions were written", lower):
            rows = self.row_maker.make(self.state.global_step, self.accelerator, self.student_copy)
        self.window = rows
        model.train()
        if hasattr(self.optimizer, "train") and callable(self.optimizer.train):
            self.optimizer.train()
        with self._timed("teacher"), memory_advice("while the teacher read the window", f"{lower}, or hardware.prefix_cache_bytes"):
            readings = {row.number: reading for row, reading in zip(rows, self.row_maker.read(rows), strict=True)}
        if self.memory and self.options.tokens_per_microbatch == "auto" and not self.decisions.tokens_per_microbatch:
            self._decide_size(model, rows, readings)
        with self._timed("student"), self._seeded_dropout():
            loss = self._train_on(model, rows, readings)
        self.meters.add_rows(rows)
        self._check_loss(loss)
        return loss

    @contextlib.contextmanager
    def _seeded_dropout(self):
        """Dropout draws from (seed, step, process), whatever else has drawn from torch's generator."""
        device = self.args.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(key64(self.options.seed, "dropout", self.state.global_step, self.accelerator.process_index))
            yield

    def _train_on(self, model, rows: list[Row], readings: dict[int, dict[str, torch.Tensor]]) -> torch.Tensor:
        """Forward and backward of the whole window; its loss. Out of memory, the window starts again with half the micro-batch."""
        while True:
            loss = torch.zeros((), device=self.args.device)
            batches = self._micro_batches(rows, readings)
            try:
                for index, batch in enumerate(batches):
                    loss += self._backward(model, batch, is_last=index == len(batches) - 1)
                break
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                size = self.decisions.tokens_per_microbatch
                self.decisions.tokens_per_microbatch = halved(size, rows, self.options, self.accelerator.num_processes)
            model.zero_grad(set_to_none=True)
        counted = [batch for batch in batches if batch.weight]  # the others only keep step with other processes
        for batch in counted:
            self.meters.add_batch(batch, share=1 / len(counted))
        return loss

    def _decide_size(self, model, rows: list[Row], readings: dict[int, dict[str, torch.Tensor]]) -> None:
        """Measure how many tokens fit, once for the run and for all its processes; the gradients are thrown away."""

        def work(few: list[Row]) -> None:
            read = [readings[row.number] for row in few]
            self._backward(model, collate(few, read, 1.0, 0, pad_id=self.pad_token_id, device=self.args.device), is_last=True)

        moments = 0 if self.optimizer.state else 2 * sum(p.nbytes for p in model.parameters() if p.requires_grad)
        with self._seeded_dropout():
            own = torch.tensor([measured(work, rows, self.memory, to_come=moments)], device=self.args.device)
        model.zero_grad(set_to_none=True)
        self.decisions.tokens_per_microbatch = int(self.accelerator.gather(own).min())
        self.run.update(tokens_per_microbatch=self.decisions.tokens_per_microbatch)

    def _micro_batches(self, rows: list[Row], readings: dict[int, dict[str, torch.Tensor]]) -> list[MicroBatch]:
        """The window cut up, into as many on every process, since FSDP synchronises each forward."""
        batches = cut(rows, self.options.rows_per_microbatch, self.decisions.tokens_per_microbatch)
        num_scored = sum(row.num_scored for row in rows)
        counts = torch.tensor([float(num_scored), len(batches)], device=self.args.device)
        if self.accelerator.num_processes > 1:
            gathered = self.accelerator.gather(counts[None])
            counts = torch.stack([gathered[:, 0].sum(), gathered[:, 1].max()])
        num_scored_by_all, num_batches = counts.tolist()
        weight = self.accelerator.num_processes / max(1.0, num_scored_by_all)
        interval = max(1, num_scored // MEASURED_TOKENS) if MEASURED_TOKENS else 0
        padding = [([batches[0][0]], 0.0, 0)] * (int(num_batches) - len(batches))
        return [
            collate(batch, [readings[row.number] for row in batch], batch_weight, every, pad_id=self.pad_token_id, device=self.args.device)
            for batch, batch_weight, every in [*padding, *((batch, weight, interval) for batch in batches)]
        ]

    def _backward(self, model, batch: MicroBatch, is_last: bool) -> torch.Tensor:
        """Loss of one micro-batch; gradients are reduced over processes with the last one only."""
        self.accelerator.gradient_state._set_sync_gradients(is_last)
        with contextlib.nullcontext() if is_last else self.accelerator.no_sync(model):
            with self.accelerator.autocast():  # the parent's wraps no student that FSDP shards
                loss = self.compute_loss(model, batch)
            self.accelerator.backward(loss)
        return loss.detach()

    def compute_loss(self, model, inputs: MicroBatch, return_outputs=False, num_items_in_batch=None) -> torch.Tensor:
        """`inputs.weight` x the sum of the micro-batch's per-token losses, computed inside the wrapped forward."""
        return model(scoring=inputs)

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def _check_loss(self, loss: torch.Tensor) -> None:
        self.meters.add("train/window_loss", float(loss))
        if self.options.on_nonfinite == "stop":
            losses = self.accelerator.gather(loss[None]).tolist()
            if at_fault := [rank for rank, value in enumerate(losses) if not math.isfinite(value)]:  # every process ends, and names these
                windows = gather_object([self.window])
                rows = [row for rank in at_fault for row in windows[rank]]
                raise nonfinite(self, f"the loss is {losses[at_fault[0]]}", rows)

    def _get_grad_norm(self, model, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm)
        if norm is not None and not math.isfinite(float(norm)):
            scaler = getattr(self.accelerator, "scaler", None)  # float16: it passes over such a step and halves its scale
            if self.options.on_nonfinite == "stop" and (scaler is None or scaler.get_scale() < 1):
                rows = [row for window in gather_object([self.window]) for row in window]
                raise nonfinite(self, f"the gradient norm is {float(norm)}", rows)
            self.meters.num_skipped_steps += 1
            if scaler is None:
                model.zero_grad(set_to_none=True)  # optimizers pass over parameters without a gradient
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Turn the loop's row into ours (names under train/ and perf/) and hand it to the run."""
        if "train_runtime" in logs or not self.model.training:
            return
        of_the_loop = {"train/grad_norm": float(logs.get("grad_norm") or 0.0), "train/learning_rate": logs["learning_rate"]}
        self.phases.read()
        row = self.meters.pop(gather_object([self.meters.export()]), of_the_loop)
        self.run.log(row, step=self.state.global_step)
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, row)

    # ---- files -------------------------------------------------------------------------------------------------------

    def _get_output_dir(self, trial) -> str:
        return str(Path(self.args.output_dir) / ".partial")

    def _save_checkpoint(self, model, trial) -> None:
        """Write the checkpoint aside and rename it into place when it is complete and on the disk.

        What it holds: the student's weights (or its adapter), optimizer, schedule, scaler and random states, trainer_state.json with what
        the callbacks of callbacks.py store (`Resumable`: counts and half-filled rows of each process, warm start, live evaluation), and
        complete.json with the size and checksum of each file.
        Raises OSError before anything is written where the disk has no room for one more like the last.
        """
        directory = Path(self.args.output_dir)
        self.phases.read()
        self.totals.collect()
        if self.is_world_process_zero():
            self.run.sync()  # a checkpoint counts on the metrics up to its step
            weights_and_moments = 3 * sum(p.numel() * p.element_size() for p in self.model.parameters() if p.requires_grad)
            previous = checkpoints_in(directory)
            require_free_space(directory, size_bytes(previous[-1]) if previous else weights_and_moments, "the next checkpoint")
        with full_disk_explained(directory, "the checkpoint"):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                name = f"checkpoint-{self.state.global_step}"
                (directory / ".partial" / name / "training_args.bin").unlink(missing_ok=True)  # a pickle
                seal_checkpoint(directory / ".partial" / name, directory / name)
                (directory / ".partial").rmdir()
        if self.is_world_process_zero():
            prune(directory, self.options.save_total_limit, keep=self.decisions.kept_checkpoints)
        self.accelerator.wait_for_everyone()

    def load_weights(self, checkpoint: Path) -> None:
        """Those of one of this run's checkpoints."""
        self._load_from_checkpoint(str(checkpoint))

    def create_model_card(self, *args, **kwargs) -> None:
        """The run writes its own card into student/; the parent's would name hub defaults."""
