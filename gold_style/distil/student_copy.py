"""The student in one piece, whatever precision it is trained in and however its weights are wrapped or sharded.

student_copy = StudentCopy(trainer, torch.bfloat16)
with student_copy.for_rollouts() as backbone: ...      # what the decode loop reads
student, state = student_copy.for_files()              # what vLLM is handed
student_copy.save(run.student)                         # what from_pretrained reads
"""

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from trl.models import unwrap_model_for_generation

from gold_style.distil.student_files import write_student
from gold_style.engine.backbone import Backbone


class StudentCopy:
    """Made with the trainer, before its weights are sharded: a copy of them in the compute dtype then takes 2 bytes a parameter on
    every GPU, against a gathering of all layers for every new token."""

    def __init__(self, trainer, compute_dtype: torch.dtype):
        self.trainer, self.accelerator, self.compute_dtype = trainer, trainer.accelerator, compute_dtype
        self._is_sharded = self.accelerator.distributed_type == DistributedType.FSDP
        self._twin = self._copy(trainer.model) if self._is_sharded else None

    @contextlib.contextmanager
    def for_rollouts(self) -> Iterator[Backbone]:
        """Unwrapped, in the compute dtype, in eval mode. Collective where the weights are sharded."""
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            with unwrap_model_for_generation(self.trainer.model_wrapped, self.accelerator) as unwrapped:
                yield Backbone(unwrapped, self.trainer.backbone.reading)
            return
        student = self._unwrapped()
        if self._is_sharded or next(student.parameters()).dtype != self.compute_dtype:
            student = self._synced(student)
        was_training = student.training
        student.eval()
        yield Backbone(student, self.trainer.backbone.reading)
        student.train(was_training)

    def for_files(self, dtype: torch.dtype | None = None) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
        """The student, LoRA merged, and its present weights in `dtype` (None: the compute dtype), named as `from_pretrained` reads them.

        Collective: every process has to call it; under ZeRO 3 only the main one gets the weights.
        """
        student = self._unwrapped()
        if self._is_sharded:
            student = self._synced(student)
        state = student.state_dict() if self._is_sharded else self.accelerator.get_state_dict(self.trainer.model_wrapped)
        if hasattr(student, "merge_and_unload") and self.accelerator.is_main_process:
            student = copy.deepcopy(student).merge_and_unload()
            state = student.state_dict()
        cast: dict[int, torch.Tensor] = {}  # tied tensors stay one tensor, which is then stored once
        state = {name: cast.setdefault(tensor.data_ptr(), tensor.to(dtype or self.compute_dtype)) for name, tensor in (state or {}).items()}
        return student, state

    def save(self, directory: Path) -> None:
        """The student for plain `from_pretrained`, LoRA merged, with tokenizer and chat template. Collective."""
        student, state = self.for_files(self.trainer.options.file_dtype)
        if self.accelerator.is_main_process:
            write_student(directory, student, state, self.trainer.processing_class, self.trainer.row_maker.output_ids)

    def _unwrapped(self) -> PreTrainedModel:
        return self.accelerator.unwrap_model(self.trainer.model)

    def _synced(self, student: PreTrainedModel) -> PreTrainedModel:
        """The copy with the present weights: autocast would cast each of them again for every new token, and sharded ones be gathered."""
        if self._twin is None:
            self._twin = self._copy(student)
        with torch.no_grad():
            pairs = zip(self._twin.parameters(), student.parameters(), strict=True)
            for own, weight in (pair for pair in pairs if pair[1].requires_grad):
                own.copy_(weight.full_tensor() if isinstance(weight, DTensor) else weight)
        return self._twin

    def _copy(self, student: PreTrainedModel) -> PreTrainedModel:
        """The student once more, frozen, in the compute dtype, on this process's device. Weights under LoRA that the teacher holds bit for
        bit are the teacher's tensors."""
        frozen = [weight for weight in student.parameters() if not weight.requires_grad]
        pairs = zip(frozen, self.trainer.teacher.model.parameters(), strict=False)
        shared = {id(own): theirs for own, theirs in pairs if theirs.dtype == self.compute_dtype and torch.equal(own.to(theirs), theirs)}
        twin = copy.deepcopy(student, shared).requires_grad_(False)
        for parameter in twin.parameters():  # not buffers: rounded rotary frequencies move far positions
            parameter.data = parameter.data.to(self.compute_dtype)
        return twin.to(self.accelerator.device)
