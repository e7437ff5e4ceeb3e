"""A model behind an OpenAI-compatible completions endpoint, asked in token ids, as vLLM serves it: what it finds probable, what it writes.

    served = Completions(settings.teacher_backend, "Qwen/Qwen2.5-3B-Instruct")
    told = served.told(ids, echo=True, logprobs=20, max_tokens=1)

Interface: https://platform.openai.com/docs/api-reference/completions/create, with `return_tokens_as_token_ids`, which vLLM added.
"""

import contextlib
import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

from gold_style import did_you_mean
from gold_style.config.schema import TeacherBackend
from gold_style.config.settings import Settings
from gold_style.runs.web import Service, Unanswered

KEYS = ("GOLD_STYLE_TEACHER_API_KEY", "OPENAI_API_KEY")  # the first that is set
LISTED_S, PROBED_S = 3.0, 60.0  # that an answer may take before training: which models are served; what is told of a few tokens
PROBE = (0, 1, 2, 3)  # ids that every vocabulary has
ID = "token_id:"
READ = {"echo": True, "max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}  # whatever its files say


class Told(NamedTuple):
    """Of a prompt with `echo`, and of what was written after it: the token ids, the log-probability of each in nats (None for the first
    of a prompt), and the most probable ids at its place with theirs, best first. The token's own id may come on top of those."""

    ids: list[int]
    own: list[float | None]
    tops: list[list[tuple[int, float]]]


class Completions(Service):
    """The model that is served at `backend.address`: `backend.model`, else the only one, else the one that is called as the `teacher`.

    What is not answered is asked again for `patience_s`. Raises ValueError for an address where that model is not to be had.
    """

    def __init__(self, backend: TeacherBackend, teacher: str, patience_s: float = 0.0):
        super().__init__(backend.address or "", KEYS, "teacher_backend.address", "/completions")
        self.where, self.patience_s = f"teacher_backend.address={self.url}", patience_s
        try:
            served = {model["id"]: model for model in self.ask("/models", least_s=LISTED_S)["data"]}
        except (KeyError, TypeError):
            raise ValueError(f"{self.where}: lists no models; is it an OpenAI-compatible server, and ends its address with /v1?") from None
        self.model = backend.model or (next(iter(served)) if len(served) == 1 else teacher)
        if self.model not in served:
            names, near = ", ".join(served) or "nothing", did_you_mean(self.model, served)
            raise ValueError(f"teacher_backend.model={backend.model or 'null'}: {self.url} serves {names}; give one of these names{near}")
        self.remedy = f"take a server that does as vLLM: `vllm serve {self.model}`"
        self.context_tokens = served[self.model].get("max_model_len") or math.inf

    def told(self, prompt: Sequence[int] | str, **how: Any) -> Told:
        """What is told of a prompt or its completion. Raises as `ask`, and ValueError for an answer without token ids."""
        asked = {"model": self.model, "prompt": prompt, "return_tokens_as_token_ids": True, **how}
        answer = self.ask("/completions", asked, patience_s=self.patience_s, least_s=1.0 if self.patience_s else PROBED_S)
        with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError, ValueError):
            found = answer["choices"][0]["logprobs"]
            tops = ([(int(name.removeprefix(ID)), nats) for name, nats in (top or {}).items()] for top in found["top_logprobs"])
            ranked = [sorted(top, key=lambda pair: -pair[1]) for top in tops]
            return Told([int(name.removeprefix(ID)) for name in found["tokens"]], found["token_logprobs"], ranked)
        raise ValueError(f"{self.where}: tells no log-probabilities of token ids; {self.remedy}")

    def read(self, ids: Sequence[int], tail_k: int) -> Told:
        """Of a prompt's own tokens. Raises as `told`, and ValueError where other tokens were read."""
        told = self.told(list(ids), logprobs=tail_k, **READ)
        if told.ids[: len(ids)] != list(ids):
            what = "tells nothing of a prompt's tokens (echo with logprobs)" if len(told.ids) <= 1 else "reads other tokens than it is sent"
            raise ValueError(f"{self.where}: {what}; {self.remedy}")
        return Told(*(part[: len(ids)] for part in told))

    def check(self, tail_k: int) -> None:
        """Raises ValueError where it does not tell so many log-probabilities of a prompt's tokens, naming how many it does tell."""
        self.warn_of_clear_text()
        if self._tells(tail_k):
            return
        most = bisect_left(range(1, tail_k), True, key=lambda number: not self._tells(number))
        if not most:
            self.read(PROBE, 1)  # says why not
        told = f"tells at most {most} log-probabilities a token; add loss.tail_k={most}, or start vLLM with --max-logprobs {tail_k}"
        raise ValueError(f"loss.tail_k={tail_k}: {self.where} {told}")

    def _tells(self, number: int) -> bool:
        """Whether it tells so many. Raises as `read` for what is no matter of their number."""
        try:
            tops = self.read(PROBE, number).tops[1:]
        except Unanswered:
            return False
        if any(math.fsum(math.exp(nats) for _, nats in top) > 1.001 for top in tops):
            raise ValueError(f"{self.where}: tells numbers that are no log-probabilities (vLLM does with --logprobs-mode raw_logprobs)")
        # the prompt's own token comes on top where it is the least probable one
        return max(len(top) - (top[-1][0] == i) for top, i in zip(tops, PROBE[1:], strict=True)) >= number

    def mistakes(self, text: str, ids: list[int], teacher: str) -> list[str]:
        """What is wrong where it does not cut a text, special tokens included, into these ids, as the teacher's own tokenizer does."""
        found = self.told(text, logprobs=1, add_special_tokens=False, **READ).ids[:-1]
        if found[-len(ids) :] == ids:  # some servers put the token for a text's beginning before it whatever they are asked
            return []
        return [f"model.teacher={teacher}: {self.url} serves {self.model}, which has another tokenizer; name the model that is served"]


def check_served(settings: Settings) -> None:
    """Raises ValueError where no server tells the teacher's most probable tokens at teacher_backend.address as the loss reads them."""
    if settings.teacher_backend.kind == "openai":
        Completions(settings.teacher_backend, settings.model.teacher).check(settings.loss.tail_k)
