"""A causal language model as a decoder and a head, so that logits are computed only where tokens are scored.

    backbone = Backbone(model); hidden = backbone.hidden(input_ids); logits = backbone.logits(hidden[scored])

Shapes: B batch, T tokens, N scored tokens, D hidden, V vocabulary rows of the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast

LARGE_LOGIT = 100.0  # where any soft cap shows


@dataclass
class Reading:
    """Which shortcuts agree with the model's own forward; engine/agreement.py measures it, and all views of one model share it."""

    plain_head: bool | None = None  # logits are exactly `hidden @ head.T (+ bias)`; None: not measured yet
    packed: bool = True  # packed reading and decode step, where the model has the layers for them
    prefix: bool = True  # keys and values of a prefix are kept
    cached: bool = True  # a rollout keeps a cache; else every new token reads the whole row again


class Head:
    """From last hidden states to logits, as `model` does it: a causal LM, LoRA-wrapped or not, whose decoder may be elsewhere."""

    def __init__(self, model: nn.Module, reading: Reading | None = None):
        self.base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.model = model
        decoder = self.base.get_decoder()
        self.decoder = self.base.model if decoder is self.base else decoder
        self.head = self.base.get_output_embeddings()
        self.reading = reading or Reading()

    @property
    def weight(self) -> Tensor:
        """Shape (V, D)."""
        return self.head.weight

    @property
    def bias(self) -> Tensor | None:
        return self.head.bias

    @property
    def is_plain(self) -> bool:
        """Whether the head does all the way to the logits: no scale, soft cap, adapter or quantised weight. Measured once."""
        if self.reading.plain_head is None:
            self.reading.plain_head = isinstance(self.head, nn.Linear) and self._adds_nothing_to_the_head()
        return self.reading.plain_head

    @torch.no_grad()
    def _adds_nothing_to_the_head(self) -> bool:
        """Whether head and model make the same logits of the same states, large ones included."""
        weight, bias = self.head.weight, self.head.bias
        states_2D = torch.randn(2, weight.shape[-1], generator=torch.Generator().manual_seed(0)).to(weight)
        expected_2V = F.linear(states_2D, weight)
        states_2D = states_2D * (LARGE_LOGIT / expected_2V.float().std()).to(weight)
        expected_2V = F.linear(states_2D, weight, bias).float()
        error = (self._own_logits(states_2D).float() - expected_2V).square().mean().sqrt()
        return bool(error <= max(1e-3, 2 * torch.finfo(weight.dtype).eps) * expected_2V.std())

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Logits, shape (N, V); without gradients a GPU does not round them to a half-precision head's dtype."""
        return plain_logits(self.head, hidden_ND) if self.is_plain else self._own_logits(hidden_ND)

    def _own_logits(self, hidden_ND: Tensor) -> Tensor:
        """By the model's own forward around a decoder that hands these states back: scales and caps are known to nobody else."""
        ids_1N = torch.zeros(1, len(hidden_ND), dtype=torch.long, device=hidden_ND.device)
        decoder, before = vars(self.decoder), dict(vars(self.decoder))
        decoder.update(forward=lambda *args, **kwargs: _States(last_hidden_state=hidden_ND[None]), _forward_hooks={}, _forward_pre_hooks={})
        try:
            return type(self.base).forward(self.base, input_ids=ids_1N).logits[0]
        finally:
            decoder.clear()
            decoder.update(before)

    def full_logits(self, hidden_ND: Tensor) -> Tensor:
        """Logits in at least float32, shape (N, V); a float64 model's stay float64."""
        logits_NV = self.logits(hidden_ND)
        return logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))


class Backbone(Head):
    """View of the whole of `model`; holds no weights of its own."""

    @property
    def device(self) -> torch.device:
        return self.decoder.get_input_embeddings().weight.device

    def hidden(
        self, input_ids_BT: Tensor, past: Cache | None = None, attention_mask: Tensor | None = None, position_ids_BT: Tensor | None = None
    ) -> Tensor:
        """Last hidden states, shape (B, T, D). Rows are right-padded: causal attention needs no mask for that."""
        given = {"past_key_values": past, "attention_mask": attention_mask, "position_ids": position_ids_BT}
        given = {name: value for name, value in given.items() if value is not None}  # not every decoder takes each of them
        states_BTD = self.decoder(input_ids=input_ids_BT, use_cache=past is not None, **given).last_hidden_state
        dtype = self.weight.dtype
        return states_BTD.to(dtype) if dtype in (torch.bfloat16, torch.float16) else states_BTD  # Mamba's are float32 whatever the weights


def plain_logits(head: nn.Linear, hidden_ND: Tensor) -> Tensor:
    """What `Backbone.logits` makes of a plain head."""
    is_half = head.weight.dtype in (torch.bfloat16, torch.float16) and hidden_ND.dtype == head.weight.dtype
    if torch.is_grad_enabled() or not is_half or not hidden_ND.is_cuda:
        return head(hidden_ND)
    logits_NV = torch.mm(hidden_ND, head.weight.t(), out_dtype=torch.float32)
    return logits_NV if head.bias is None else logits_NV.add_(head.bias)


class _States(BaseModelOutputWithPast):
    """Hidden states, and None for whatever else a model looks for in its decoder's output."""

    def __getattr__(self, name: str) -> None:
        return None


def padded_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Numbers of the rows that are read together: similar lengths, at most `max_tokens` with padding, one row at least."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[i] > max_tokens:
            batches.append([])
        batches[-1].append(i)
    return batches


def right_pad(rows: list[tuple[int, ...]], pad_id: int, device: torch.device) -> Tensor:
    """Ids, shape (B, T), padded at the end."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *([pad_id] * (width - len(row)))] for row in rows], device=device)
