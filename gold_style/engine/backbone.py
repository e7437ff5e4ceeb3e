"""A causal language model as a decoder and a head, so that logits are computed only where tokens are scored.

    backbone = Backbone(model); hidden = backbone.hidden(input_ids); logits = backbone.logits(hidden[scored])

Shapes: B batch, T tokens, N scored tokens, D hidden, V vocabulary rows of the head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import Cache


class Backbone:
    """View of `model` (a transformers causal LM, LoRA-wrapped or not); holds no weights of its own.

    `is_plain` tells whether logits are exactly `hidden @ head.T (+ bias)`: models that cap or scale their logits
    (Gemma 2, Granite, ...) are not plain and keep their own forward.
    """

    def __init__(self, model: nn.Module):
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.model = model
        self.decoder = base.get_decoder()
        self.head = base.get_output_embeddings()
        self.is_plain = isinstance(self.head, nn.Linear) and not _transforms_logits(base.config.get_text_config())

    @property
    def device(self) -> torch.device:
        return self.decoder.get_input_embeddings().weight.device

    def hidden(
        self, input_ids_BT: Tensor, past: Cache | None = None, attention_mask: Tensor | None = None, position_ids_BT: Tensor | None = None
    ) -> Tensor:
        """Last hidden states, shape (B, T, D). Rows are right-padded: causal attention needs no mask for that."""
        return self.decoder(
            input_ids=input_ids_BT,
            past_key_values=past,
            attention_mask=attention_mask,
            position_ids=position_ids_BT,
            use_cache=past is not None,
        ).last_hidden_state

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Logits, shape (N, V)."""
        if self.is_plain:
            return self.head(hidden_ND)
        config = self.model.config.get_text_config()
        logits = self.head(hidden_ND)
        if scale := getattr(config, "logits_scaling", None):
            logits = logits / scale
        if scale := getattr(config, "logit_scale", None):
            logits = logits * scale
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = torch.tanh(logits / cap) * cap
        return logits

    def full_logits(self, hidden_ND: Tensor) -> Tensor:
        """Logits in at least float32, shape (N, V); a float64 model's stay float64."""
        logits_NV = self.logits(hidden_ND)
        return logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))


def _transforms_logits(config) -> bool:
    names = ("final_logit_softcapping", "logits_scaling", "logit_scale")
    return any(getattr(config, name, None) not in (None, 1.0) for name in names)


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
