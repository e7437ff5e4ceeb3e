"""Ask a language model at an OpenAI-compatible HTTP endpoint: POST {url}/chat/completions, with the standard library only.

The key is read from the environment for every request, is sent in a header and nowhere else, and is taken out of every
message. Redirects are not followed, since they would carry it elsewhere. Interface:
https://platform.openai.com/docs/api-reference/chat/create; vLLM, llama.cpp, Ollama and others serve the same.

Example: `Endpoint("http://127.0.0.1:8000/v1", "judge").ask([{"role": "user", "content": "안녕?"}])`.
"""

import contextlib
import http.client
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gold_style.runs.redact import REDACTED, redact
from gold_style.runs.web import error_message, is_loopback, opener_for

KEYS = ("GOLD_STYLE_JUDGE_API_KEY", "OPENAI_API_KEY")  # the first that is set
THIS_ONE = (400, 413, 422)  # about one request, a text that is too long or filtered, say: another may do
TRANSIENT = (408, 409, 425, 429)  # and every 5xx: worth another try
LONGEST_REPLY = 1 << 20  # bytes
LONGEST_WAIT_S = 30.0
KEY_LOOKS = re.compile(r"\bsk-[\w*-]+")


class Refused(ValueError):
    """The endpoint will not answer, however often it is asked; the message is one sentence."""


class Unanswered(ValueError):
    """No reply to this request, after every retry that makes sense; the message is one sentence."""


class Endpoint:
    """`body`: further fields of a request; None takes a field out. `stop`: set it and no retry waits any longer.

    Raises ValueError for a URL that is none or holds a password, and for a key that no header can hold.
    """

    def __init__(self, url: str, model: str, *, timeout_s=60.0, retries=3, backoff_s=0.5, body: Mapping[str, Any] | None = None):
        self.url, self.model = checked_url(url), model
        api_key(self.url)  # a broken one shows here
        self.timeout_s, self.retries, self.backoff_s = timeout_s, retries, backoff_s
        fields = {"model": model, "temperature": 0, "max_tokens": 256, **(body or {})}
        self.body = {name: value for name, value in fields.items() if value is not None}
        self.stop = threading.Event()
        self._opener = opener_for(self.url)

    def ask(self, messages: list[dict[str, str]]) -> str:
        """The text of the model's reply. Raises Refused or Unanswered."""
        data = json.dumps({**self.body, "messages": messages}, ensure_ascii=False).encode("utf-8", "replace")
        for attempt in range(self.retries + 1):
            wait_s = self.backoff_s * 2**attempt
            try:
                return self._reply(data)
            except urllib.error.HTTPError as error:
                with error:
                    said = self._said(error)
                    if error.code not in TRANSIENT and error.code < 500:
                        raise (Unanswered if error.code in THIS_ONE else Refused)(f"{self.url}: {said}") from None
                    after = error.headers.get("Retry-After") or ""
                wait_s = max(wait_s, float(after)) if after.isdigit() else wait_s
            except (TimeoutError, urllib.error.URLError) as error:
                reason = getattr(error, "reason", error)
                said = f"no reply within {self.timeout_s:g} s" if isinstance(reason, TimeoutError) else f"cannot be reached: {reason}"
            except (OSError, http.client.HTTPException) as error:
                said = f"the connection broke: {type(error).__name__}"
            except NotACompletion as error:
                said = str(error)
            if attempt < self.retries and self.stop.wait(min(wait_s, LONGEST_WAIT_S)):
                break
        raise Unanswered(self._clean(f"{self.url}: {said} (asked {attempt + 1} times)")) from None

    def _reply(self, data: bytes) -> str:
        request = urllib.request.Request(f"{self.url}/chat/completions", data, {"Content-Type": "application/json"})
        _, key = api_key(self.url)
        if key:
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        reply, deadline = bytearray(), time.monotonic() + self.timeout_s
        with self._opener.open(request, timeout=self.timeout_s) as response:
            while part := response.read1(1 << 16):
                reply += part
                if time.monotonic() > deadline:  # the socket's own limit starts anew with every byte
                    raise TimeoutError
                if len(reply) > LONGEST_REPLY:
                    raise NotACompletion(f"replied with more than {LONGEST_REPLY} bytes")
        return completion_text(reply)

    def _said(self, error: urllib.error.HTTPError) -> str:
        """What an HTTP error means, in a sentence without secrets."""
        status = f"{error.code} {http.client.responses.get(error.code, '')}".rstrip()
        if error.code in (401, 403):  # its text may quote the key
            name, key = api_key(self.url)
            return f"{status}: " + (f"it does not accept the key in {name}" if key else f"it wants a key: set {KEYS[0]}")
        if 300 <= error.code < 400:
            return self._clean(f"{status}: it redirects to {error.headers.get('Location')}; name that address itself")
        text = ""
        with contextlib.suppress(OSError, http.client.HTTPException):
            text = error.read(LONGEST_REPLY).decode("utf-8", "replace")
        reason = " ".join(error_message(text).split())[:200]
        return self._clean(f"{status} for model {self.model!r}" + (f": {reason}" if reason else ""))

    def _clean(self, text: str) -> str:
        _, key = api_key(self.url)
        return KEY_LOOKS.sub(REDACTED, redact(text.replace(key, REDACTED) if key else text))


class NotACompletion(ValueError):
    """A reply of status 200 that is not a chat completion."""


def completion_text(data: bytes | bytearray) -> str:
    """The text in a chat completion; empty where the model said nothing. Raises NotACompletion."""
    with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
        text = json.loads(data)["choices"][0]["message"]["content"]
        if text is None or isinstance(text, str):
            return text or ""
    raise NotACompletion("replied with something that is not a chat completion")


def checked_url(url: str) -> str:
    """`url` without a slash at its end and without /chat/completions. Raises ValueError."""
    parts = urlsplit(url)
    if "@" in parts.netloc:  # the URL itself is not repeated: it holds a secret
        raise ValueError(f"--url: holds a user or password; give the key in {KEYS[0]} instead")
    try:
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or parts.query or parts.fragment or not url.isascii() or re.search(r"\s", url):
        raise ValueError(f"--url {redact(url)}: not an address such as http://127.0.0.1:8000/v1")
    return url.rstrip("/").removesuffix("/chat/completions").rstrip("/")


def api_key(url: str) -> tuple[str | None, str | None]:
    """(variable, key) that goes to `url`; (None, None) without one.

    OPENAI_API_KEY was not set for whatever address is named here: it goes over https and to this machine, not in clear
    through a network. Raises ValueError for a key that no header can hold, without repeating it.
    """
    for name in KEYS:
        key = os.environ.get(name, "").strip()
        if not key or (name != KEYS[0] and not url.startswith("https:") and not is_loopback(url)):
            continue
        if not re.fullmatch(r"[!-~]+", key):
            raise ValueError(f"{name}: holds a space or another character that no API key has")
        return name, key
    return None, None
