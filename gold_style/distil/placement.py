"""How a student is spread over processes, and how the teacher stays whole beside it.

Read in accelerate 1.15 and torch 2.13; tried over gloo in tests/distil/test_processes.py, not on cards.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedDataParallelKwargs, FullyShardedDataParallelPlugin
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map
from transformers import TrainerCallback

from gold_style.distil.options import Options

FOR_THE_PARENT = {  # arguments while its constructor runs
    "use_uld_loss": True,  # else it resizes the teacher's embeddings; its own ULD module is never called by us
    "uld_use_hybrid_loss": False,
    "disable_dropout": False,  # it would silence every dropout, an adapter's own as well: here only what the student came with
}


class ExactEmbedding(TrainerCallback):
    """Has FSDP gather the embedding in float32, whatever `fsdp_gathers`: no product casts it, and its rounding alone moves the gradient's
    norm by up to 3e-3."""

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        if isinstance(embedding := model.get_input_embeddings(), FSDPModule):
            group = embedding._get_fsdp_state()._fsdp_param_group
            group.mp_policy = replace(group.mp_policy, param_dtype=None)


def accelerator_arguments(options: Options) -> dict[str, Any]:
    """DDP: gradients are views of its buckets, not a second set of them; no search for unused weights, as every micro-batch uses all.

    FSDP: accelerate would sum gradients in the compute dtype. Here they are summed in float32, and weights are gathered in float32
    (each then computes under autocast, as with DDP) or, where `fsdp_gathers` says so, in the compute dtype.
    """
    arguments: dict[str, Any] = {"kwargs_handlers": [DistributedDataParallelKwargs(gradient_as_bucket_view=True)]}
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" and os.environ.get("FSDP_VERSION") == "2":
        gathered = None if options.fsdp_gathers == "float32" else options.compute_dtype
        policy = MixedPrecisionPolicy(gathered, reduce_dtype=torch.float32, output_dtype=torch.float32, cast_forward_inputs=False)
        arguments["fsdp_plugin"] = FullyShardedDataParallelPlugin(mixed_precision_policy=policy)
    return arguments


# ---- checkpoints of a sharded student: the files of a whole one, so that any launch resumes from those of any other ------------------


def whole(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state with its sharded tensors in one piece, on the CPU. Collective."""
    return tree_map(lambda value: value.full_tensor().cpu() if isinstance(value, DTensor) else value, state)


def share(value: Any, own: Tensor) -> Any:
    """This process's part of what belongs to all of `own`, where that is sharded; what has another shape (a count of steps), whole."""
    if not isinstance(own, DTensor) or not isinstance(value, Tensor) or value.shape != own.shape:
        return value
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None).clone()


@torch.no_grad()
def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Puts a checkpoint's weights, or its adapter's, into a sharded student."""
    adapters = getattr(model, "peft_config", ())  # PEFT leaves their names out of its files
    weights = model.state_dict()
    for adapter in adapters:
        weights = {name.replace(f".{adapter}.", ".").removesuffix(f".{adapter}"): weight for name, weight in weights.items()}
    for path in sorted(checkpoint.glob("*model*.safetensors")):
        for name, value in load_file(path).items():
            weights[name].copy_(share(value, weights[name]))


def load_optimizer(optimizer, path: Path) -> None:
    """Puts the state of a whole student's optimizer into that of a sharded one."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    parts = getattr(optimizer.optimizer, "optimizers", None)  # of Muon with AdamW
    for saved, part in [(state[name], part) for name, part in parts.items()] if parts else [(state, optimizer)]:
        weights = [weight for group in part.param_groups for weight in group["params"]]
        for number, values in saved["state"].items():
            saved["state"][number] = {name: share(value, weights[number]) for name, value in values.items()}
    optimizer.load_state_dict(state)
