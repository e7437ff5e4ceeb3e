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
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from gold_style.distil.student_files import write_student
from gold_style.engine.backbone import Backbone
from gold_style.engine.quantization import QuantizedLinear

ADAPTER = "default"  # PEFT's name of the one that is trained


class StudentCopy:
    """Made with the trainer, before its weights are sharded: a copy of them in the compute dtype then takes 2 bytes a parameter on
    every GPU, against a gathering of all layers for every new token."""

    def __init__(self, trainer, compute_dtype: torch.dtype):
        self.trainer, self.accelerator, self.compute_dtype = trainer, trainer.accelerator, compute_dtype
        self._is_sharded = self.accelerator.distributed_type == DistributedType.FSDP
        self._twin = _frozen_copy(trainer.model, compute_dtype, self.accelerator.device) if self._is_sharded else None

    @contextlib.contextmanager
    def for_rollouts(self) -> Iterator[Backbone]:
        """Unwrapped, in the compute dtype, in eval mode. Collective where the weights are sharded."""
        student = self._unwrapped()
        if self._is_sharded or hasattr(student, "get_base_model") or next(student.parameters()).dtype != self.compute_dtype:
            student = self._synced(student)
        was_training = student.training
        student.eval()
        yield Backbone(student, self.trainer.backbone.reading)
        student.train(was_training)

    def for_files(self, dtype: torch.dtype | None = None) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
        """The student, LoRA merged, and its present weights in `dtype` (None: the compute dtype), named as `from_pretrained` reads them.

        With LoRA they are on the CPU, merged tensor by tensor: a device has no room for them once more. Collective: every process has to
        call it.
        """
        student, dtype = self._unwrapped(), dtype or self.compute_dtype
        if self._is_sharded:
            state = (student := self._synced(student)).state_dict()
        elif not hasattr(student, "get_base_model"):
            state = self.accelerator.get_state_dict(self.trainer.model_wrapped) or {}
        elif self.accelerator.is_main_process:
            state = (student := _refreshed(_frozen_copy(student, dtype, torch.device("cpu")), student)).state_dict()
        else:
            state = {}
        cast: dict[int, torch.Tensor] = {}  # tied tensors stay one tensor, which is then stored once
        return student, {name: cast.setdefault(tensor.data_ptr(), tensor.to(dtype)) for name, tensor in state.items()}

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
            self._twin = _frozen_copy(student, self.compute_dtype, self.accelerator.device)
        return _refreshed(self._twin, student)


def _frozen_copy(student: PreTrainedModel, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The student once more without adapters, its linear layers plain, in `dtype` on `device`; `_refreshed` puts in what training changes.

    Frozen weights that are in this form already are the student's own tensors.
    """
    base = _base(student)
    memo = {id(module): _plain(module, dtype, device) for module in _merging(base).values()}
    inside = tuple(f"{name}." for name in _merging(base))
    for name, weight in base.named_parameters(remove_duplicate=False):
        if id(weight) not in memo and not name.startswith(inside):
            memo[id(weight)] = nn.Parameter(weight.detach().to(device, dtype, copy=weight.requires_grad), requires_grad=False)
    twin = copy.deepcopy(base, memo).to(device).requires_grad_(False)
    if twin.get_output_embeddings().weight is not twin.get_input_embeddings().weight:
        twin.config.tie_word_embeddings = False  # an adapter of one of them is none of the other
    return twin


@torch.no_grad()
def _refreshed(twin: PreTrainedModel, student: PreTrainedModel) -> PreTrainedModel:
    """The copy, with the student's present weights. Collective where these are sharded."""
    merging = _merging(base := _base(student))
    for name, module in merging.items():
        twin.get_submodule(name).weight.copy_(_whole(_merged(module)))
    if base is student:
        for own, weight in zip(twin.parameters(), student.parameters(), strict=True):
            if weight.requires_grad:
                own.copy_(_whole(weight))
    return twin


def _base(student: PreTrainedModel) -> PreTrainedModel:
    return student.get_base_model() if hasattr(student, "get_base_model") else student


def _merging(base: nn.Module, prefix: str = "") -> dict[str, nn.Module]:
    """Name -> layer that is plain only once an adapter is merged into it, or its weight restored."""
    found: dict[str, nn.Module] = {}
    for name, child in base.named_children():
        is_one = isinstance(child, QuantizedLinear) or hasattr(child, "get_base_layer")
        found |= {prefix + name: child} if is_one else _merging(child, f"{prefix}{name}.")
    return found


def _plain(module: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """A layer of the kind that an adapter or quantised weights are in the place of; its weight is not filled."""
    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    plain = copy.copy(base)
    if isinstance(base, QuantizedLinear):
        plain = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
    held = {**base._parameters, "weight": torch.empty(plain.weight.shape, dtype=dtype, device=device)}
    plain._parameters = {name: None if own is None else nn.Parameter(own.detach().to(device, dtype)) for name, own in held.items()}
    return plain


def _merged(module: nn.Module) -> torch.Tensor:
    """A layer's weight with its adapter, in float32."""
    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    weight = base.restored(torch.float32) if isinstance(base, QuantizedLinear) else base.weight.float()
    return weight + module.get_delta_weight(ADAPTER).float() if base is not module else weight


def _whole(weight: torch.Tensor) -> torch.Tensor:
    return weight.full_tensor() if isinstance(weight, DTensor) else weight
