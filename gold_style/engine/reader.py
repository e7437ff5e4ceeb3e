"""How likely a model finds given texts, and how far two models' next-token distributions are apart.

    reader = Reader(Backbone(model))
    nats = [-logprob for logprob in reader.logprobs([((1,), (5, 7, 9))])]
    right = reader.choices(items, tokenizer)      # as lm-evaluation-harness scores its `acc_bytes`

A text is cut as lm-evaluation-harness does it (https://github.com/EleutherAI/lm-evaluation-harness, lm_eval/api/task.py and
lm_eval/models/huggingface.py): no chat template; in front the tokenizer's beginning-of-sequence token, or without one its end-of-sequence
token; an option is joined to its text by a space, and of both together the tokens after those of the text are scored.

Shapes: N scored tokens of a row, D hidden, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gold_style.chat import encode
from gold_style.engine.backbone import Head
from gold_style.engine.packed_reading import read_states

MAX_TOKENS = 16_384  # of one forward, where rows are padded
Row = tuple[Sequence[int], Sequence[int]]  # context, which is not empty, and the tokens after it that are scored


@dataclass
class Reader:
    """A model in eval mode."""

    head: Head  # a Backbone, where `states` is this one

    def states(self, rows: Sequence[Row]) -> list[Tensor]:
        """The hidden states that predict what a row scores, (N, D), row by row."""
        sequences = [(*context, *scored[:-1]) for context, scored in rows]
        return read_states(self.head, sequences, [len(scored) for _, scored in rows], None, MAX_TOKENS)

    @torch.no_grad()
    def distributions(self, rows: Sequence[Row]) -> Iterator[Tensor]:
        """Log-probabilities of every token at each place that a row scores, (N, V), row by row."""
        for states_ND in self.states(rows):
            yield self.head.full_logits(states_ND).log_softmax(-1)

    def logprobs(self, rows: Sequence[Row]) -> list[float]:
        """Log-probability of each row's scored tokens together, in nats."""
        pairs = zip(rows, self.distributions(rows), strict=True)
        return [float(found_NV[range(len(scored)), list(scored)].double().sum()) for (_, scored), found_NV in pairs]

    def divergences(self, other: "Reader", rows: Sequence[Row]) -> list[tuple[float, int]]:
        """(KL(self || other) in nats, summed over the places that a row scores; number of these) of each row. Both read the same tokens."""
        pairs = zip(self.distributions(rows), other.distributions(rows), strict=True)
        return [(float((own_NV.exp() * (own_NV - other_NV)).double().sum()), len(own_NV)) for own_NV, other_NV in pairs]

    def choices(self, items: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase) -> list[bool]:
        """Whether the right option of each item has the highest log-probability per byte of UTF-8."""
        ends = [(item["text"], option) for item in items for option in item["options"]]
        ids = [[first_id(tokenizer), *encode(tokenizer, f"{text} {option}")] for text, option in ends]
        cuts = [1 + len(encode(tokenizer, text)) for text, _ in ends]
        nats = self.logprobs([(whole[:cut], whole[cut:]) for whole, cut in zip(ids, cuts, strict=True)])
        values = iter([total / len(option.encode()) for total, (_, option) in zip(nats, ends, strict=True)])
        found = [[next(values) for _ in item["options"]] for item in items]
        return [options[item["answer"]] == max(options) for options, item in zip(found, items, strict=True)]


def first_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token in front of a text."""
    return next((i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None), 0)


def windows(text: str, tokenizer: PreTrainedTokenizerBase, most_tokens: int) -> list[tuple[Row, int]]:
    """The text as consecutive rows, each with its bytes of UTF-8: halved, at a space where there is one, until `most_tokens` hold a row."""
    if len(ids := encode(tokenizer, text)) < most_tokens or len(text) < 2:
        return [(((first_id(tokenizer),), ids), len(text.encode()))] if ids else []
    middle = max(text.rfind(" ", 1, len(text) // 2 + 1), 0) or len(text) // 2
    return windows(text[:middle], tokenizer, most_tokens) + windows(text[middle:], tokenizer, most_tokens)
