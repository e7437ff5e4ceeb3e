"""How a student is spread over processes, and how the teacher stays whole beside it.

Read in accelerate 1.15 and torch 2.13; tried over gloo in tests/distil/test_processes.py, not on cards.
"""

import os
from typing import Any

import torch
from accelerate.utils import DistributedDataParallelKwargs, FullyShardedDataParallelPlugin
from torch.distributed.fsdp import MixedPrecisionPolicy

from gold_style.distil.options import Options

FOR_THE_PARENT = {  # arguments while its constructor runs
    "use_uld_loss": True,  # else it resizes the teacher's embeddings; its own ULD module is never called by us
    "uld_use_hybrid_loss": False,
    "disable_dropout": False,  # it would silence every dropout, an adapter's own as well: here only what the student came with
}


class Described(torch.nn.Module):
    """What TRL's constructor gets as the teacher: no weights. It would shard them under ZeRO 3, and leave them on the CPU under FSDP."""

    def __init__(self, config):
        super().__init__()
        self.config = config


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
