"""Ask a language model at an OpenAI-compatible HTTP endpoint: POST {url}/chat/completions (gold_style/runs/web.py says how).

Interface: https://platform.openai.com/docs/api-reference/chat/create; vLLM, llama.cpp, Ollama and others serve the same.

Example: `Endpoint("http://127.0.0.1:8000/v1", "judge").ask([{"role": "user", "content": "안녕?"}])`.
"""

import contextlib
import json
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from gold_style.runs import web
from gold_style.runs.web import NoReply, Refused, Service, Unanswered

__all__ = ["KEYS", "Endpoint", "Refused", "Unanswered", "api_key"]

KEYS = ("GOLD_STYLE_JUDGE_API_KEY", "OPENAI_API_KEY")  # the first that is set
LONGEST_REPLY = 1 << 20  # bytes
LONGEST_WAIT_S = 30.0
api_key = partial(web.api_key, names=KEYS)


class Endpoint(Service):
    """`body`: further fields of a request; None takes a field out. `stop`: set it and no retry waits any longer. Raises as Service."""

    def __init__(self, url: str, model: str, *, timeout_s=60.0, retries=3, backoff_s=0.5, body: Mapping[str, Any] | None = None):
        super().__init__(url, KEYS, "--url", "/chat/completions", f" for model {model!r}", LONGEST_REPLY)
        self.model, self.timeout_s, self.retries, self.backoff_s = model, timeout_s, retries, backoff_s
        fields = {"model": model, "temperature": 0, "max_tokens": 256, **(body or {})}
        self.body = {name: value for name, value in fields.items() if value is not None}
        self.stop = threading.Event()

    def ask(self, messages: list[dict[str, str]]) -> str:
        """The text of the model's reply. Raises Refused or Unanswered."""
        for attempt in range(self.retries + 1):
            try:
                return completion_text(self.reply("/chat/completions", {**self.body, "messages": messages}, self.timeout_s))
            except NoReply as error:
                said, wait_s = error, max(self.backoff_s * 2**attempt, error.wait_s)
            if attempt < self.retries and self.stop.wait(min(wait_s, LONGEST_WAIT_S)):
                break
        raise Unanswered(f"{self.url}: {said} (asked {attempt + 1} times)") from None


def completion_text(data: bytes | bytearray) -> str:
    """The text in a chat completion; empty where the model said nothing. Raises NoReply."""
    with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
        text = json.loads(data)["choices"][0]["message"]["content"]
        if text is None or isinstance(text, str):
            return text or ""
    raise NoReply("replied with something that is not a chat completion")
