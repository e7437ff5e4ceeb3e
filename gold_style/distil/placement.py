"""How a student is spread over processes, and how the teacher stays whole beside it.

Read in accelerate 1.15 and torch 2.13; tried over gloo in tests/distil/test_processes.py, not on cards.
"""

import os
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import DistributedDataParallelKwargs, FullyShardedDataParallelPlugin
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
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
