"""The teacher behind an OpenAI-compatible server: it tells its most probable tokens, which the loss topk_tail compares, and writes.

Nothing is remembered on the disk: nobody here knows whether the server's weights are those of yesterday.

Shapes: N scored tokens, K most probable ones.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from gold_style.chat import TeacherIds
from gold_style.engine.rollout import GREEDY, Completion, OutputIds
from gold_style.engine.teacher import AnyTeacher, Scored, TeacherGone
from gold_style.engine.vllm import CONNECTIONS, request_fields
from gold_style.runs.completions import Completions, Told
from gold_style.runs.web import NoReply


class OpenAITeacher(AnyTeacher):
    """Args: the teacher's tokenizer; its model without weights; the server; how many tokens are told; ids that the student knows, too;
    where the tensors go. Raises TeacherGone, in training, where the server answers no more."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, shell, served: Completions, tail_k: int, vocab_size: int, device: torch.device):
        self.tokenizer, self.served, self.tail_k, self.device = tokenizer, served, tail_k, device
        # in the place of a head: what is told comes as it is
        self.head: Any = SimpleNamespace(base=shell, weight=None, bias=None, is_plain=True, full_logits=lambda told_N2K: told_N2K)
        self.output_ids, self.vocab_size = OutputIds.of(tokenizer, shell), vocab_size

    def hidden(self, rows: Sequence[Scored]) -> list[Tensor]:
        """For each row what is told of each of its completion's tokens: ids and log-probabilities, (N_row, 2, K), best first. K is
        `tail_k`, or less where the student does not know so many of them."""
        tops = [[[pair for pair in top if pair[0] < self.vocab_size] for top in told.tops] for told in self._read(rows, self.tail_k)]
        width = min([self.tail_k, *(len(top) for row in tops for top in row)])
        told = (torch.tensor([top[:width] for top in row], dtype=torch.float32, device=self.device) for row in tops)
        return [part.reshape(-1, width, 2).transpose(1, 2) for part in told]

    def chosen(self, rows: Sequence[Scored]) -> list[tuple[Tensor, Tensor, Tensor]]:
        told = self._read(rows, 1)
        return [(torch.tensor(own), *(torch.tensor([top[0][i] for top in tops]) for i in (1, 0))) for _, own, tops in told]

    def generate(self, prompts: Sequence[TeacherIds], *, uniforms_BG: Tensor | None = None, **how: Any) -> list[Completion]:
        """As AnyTeacher; the first of a row's uniform numbers is its seed there."""
        num_logits = self.head.base.get_output_embeddings().weight.shape[0]
        fields = request_fields(num_logits, output_ids=self.output_ids, **{"sampling": GREEDY, **how}) | {"logprobs": 1}
        seeds = [0] * len(prompts) if uniforms_BG is None else (uniforms_BG[:, 0] * 2**31).long().tolist()
        asked = [{"prompt": [*ids.prefix, *ids.rest], "seed": seed} for ids, seed in zip(prompts, seeds, strict=True)]
        written = self._each(lambda row: self.served.told(**row, **fields), asked)
        return [Completion.ending(told.ids, self.output_ids.stop_ids) for told in written]

    def check(self, ids: Sequence[int]) -> list[str]:
        template = "gets token ids: the chat template is that of model.teacher"
        again = "reads the system prompt again with every row (vLLM keeps no prefix for the log-probabilities of a prompt)"
        return [f"{self.served.url} {template}; it {again}; no run is repeated bit for bit, since what it writes depends on its other work"]

    def place(self, prepare: Callable[[nn.Module], nn.Module]) -> nn.Module:
        return nn.Module()  # nothing

    def _read(self, rows: Sequence[Scored], tail_k: int) -> list[Told]:
        """What is told of the completions' tokens."""
        whole = [row.prompt.prefix + row.prompt.rest + row.completion for row in rows]
        told = self._each(lambda ids: self.served.read(ids, tail_k), whole)
        return [Told(*(part[len(part) - len(row.completion) :] for part in one)) for row, one in zip(rows, told, strict=True)]

    def _each(self, ask: Callable[[Any], Told], asked: Iterable) -> list[Told]:
        """Answers in the order of the questions, many of which are under way at a time."""
        try:
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                return list(pool.map(ask, asked))
        except ValueError as error:
            after = f"; no answer for teacher_backend.limit_s={self.served.patience_s:g} seconds" if isinstance(error, NoReply) else ""
            raise TeacherGone(f"{error}{after}") from None
