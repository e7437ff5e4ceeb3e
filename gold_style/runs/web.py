"""HTTP for asking a model over it: the standard library, no redirects, no proxy for loopback.

The key is read from the environment for every request, is sent in a header and nowhere else, and is taken out of every message.
"""

import contextlib
import http.client
import ipaddress
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from gold_style.runs.redact import REDACTED, redact, say

THIS_ONE = (400, 413, 422)  # about one request, a text that is too long or filtered, say: another may do
TRANSIENT = (408, 409, 425, 429)  # and every 5xx: worth another try
PAUSE_S = 1.0  # between two tries
KEY_LOOKS = re.compile(r"\bsk-[\w*-]+")


class Refused(ValueError):
    """The service will not answer, however often it is asked; the message is one sentence."""


class Unanswered(ValueError):
    """No reply to this request; the message is one sentence."""


class NoReply(ValueError):
    """None yet; another try, after `wait_s` seconds, may get one."""

    def __init__(self, said: str, wait_s: float = 0.0):
        super().__init__(said)
        self.wait_s = wait_s


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes a redirect an HTTPError: following it would send keys and texts to another address."""

    def redirect_request(self, *_arguments) -> None:
        return None


def is_loopback(url: str) -> bool:
    """Whether `url` stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def error_message(text: str) -> str:
    """The message in an error's body, as OpenAI and vLLM write it; the body itself where it is something else."""
    try:
        found = json.loads(text)
        found = found.get("error", found)
        return str(found.get("message") or found.get("detail") or text) if isinstance(found, dict) else str(found)
    except (ValueError, AttributeError):
        return text


class Service:
    """What is at `url`, which messages call `option`; `end` of a pasted address is cut off, as is a reply's rest after `most_bytes`.

    `keys`: the variables of the environment that may hold its key; `about`: what messages say a refusal was about. Raises ValueError
    for a URL that is none or holds a password, and for a key that no header can hold.
    """

    def __init__(self, url: str, keys: Sequence[str], option: str, end: str, about: str = "", most_bytes: int = 1 << 30):
        self.url = self.where = checked_url(url, option, keys[0], end)
        self.keys, self.most_bytes, self.about = keys, most_bytes, about
        api_key(self.url, keys)  # a broken one shows here
        own = [urllib.request.ProxyHandler({})] if is_loopback(url) else []  # a proxy does not know our loopback
        self._opener = urllib.request.build_opener(NoRedirect, *own)

    def ask(self, path: str, body: Any = None, *, patience_s: float = 0.0, least_s: float = 1.0) -> Any:
        """The reply as JSON, None for an empty one; asked again until `patience_s` are over. It may take `least_s`. Raises as `reply`."""
        end = time.monotonic() + patience_s
        while True:
            try:
                text = self.reply(path, body, max(end - time.monotonic(), least_s))
                return json.loads(text) if text else None
            except (NoReply, json.JSONDecodeError) as error:
                said = str(error) if isinstance(error, NoReply) else "replied with something that is no JSON"
                pause_s = max(PAUSE_S, getattr(error, "wait_s", 0.0))
            if time.monotonic() + pause_s > end:
                raise NoReply(f"{self.where}: {said}")
            time.sleep(pause_s)

    def reply(self, path: str, body: Any, timeout_s: float) -> bytearray:
        """To one GET, or to a POST of `body`. Raises Refused, Unanswered, or NoReply, whose message lacks the address."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        _, key = api_key(self.url, self.keys)
        if key:
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        received, deadline = bytearray(), time.monotonic() + timeout_s
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                while part := response.read1(1 << 16):
                    received += part
                    if time.monotonic() > deadline:  # the socket's own limit starts anew with every byte
                        raise TimeoutError
                    if len(received) > self.most_bytes:
                        raise NoReply(f"replied with more than {self.most_bytes} bytes")
            return received
        except urllib.error.HTTPError as error:
            with error:
                said, after = self._said(error), error.headers.get("Retry-After") or ""
            if error.code in TRANSIENT or error.code >= 500:
                raise NoReply(said, float(after) if after.isdigit() else 0.0) from None
            raise (Unanswered if error.code in THIS_ONE else Refused)(f"{self.where}: {said}") from None
        except (TimeoutError, urllib.error.URLError) as error:
            reason = getattr(error, "reason", error)
            said = f"no reply within {timeout_s:g} s" if isinstance(reason, TimeoutError) else f"cannot be reached: {reason}"
        except (OSError, http.client.HTTPException) as error:
            said = f"the connection broke: {type(error).__name__}"
        raise NoReply(self._clean(said)) from None

    def warn_of_clear_text(self) -> None:
        """Say it where a key would be readable on the way."""
        name, key = api_key(self.url, self.keys)
        if key and not self.url.startswith("https:") and not is_loopback(self.url):
            say(f"warning: the key in {name} goes to {urlsplit(self.url).hostname} unencrypted (http)")
        elif not key and os.environ.get(self.keys[-1]):
            say(f"warning: {self.keys[-1]} is not sent over http to another machine; if it is meant to be, set {self.keys[0]}")

    def _said(self, error: urllib.error.HTTPError) -> str:
        """What an HTTP error means, in a sentence without secrets."""
        status = f"{error.code} {http.client.responses.get(error.code, '')}".rstrip()
        if error.code in (401, 403):  # its text may quote the key
            name, key = api_key(self.url, self.keys)
            return f"{status}: " + (f"it does not accept the key in {name}" if key else f"it wants a key: set {self.keys[0]}")
        if 300 <= error.code < 400:
            return self._clean(f"{status}: it redirects to {error.headers.get('Location')}; name that address itself")
        text = ""
        with contextlib.suppress(OSError, http.client.HTTPException):
            text = error.read(1 << 20).decode("utf-8", "replace")
        reason = " ".join(self._clean(error_message(text)).split())[:200]  # a key cut in two would not be found
        return f"{self._clean(status + self.about)}" + (f": {reason}" if reason else "")

    def _clean(self, text: str) -> str:
        _, key = api_key(self.url, self.keys)
        return KEY_LOOKS.sub(REDACTED, redact(text.replace(key, REDACTED) if key else text))


def checked_url(url: str, option: str, key: str, end: str) -> str:
    """`url` without a slash at its end and without `end`. Raises ValueError, which calls it `option`."""
    parts = urlsplit(url)
    if "@" in parts.netloc:  # the URL itself is not repeated: it holds a secret
        raise ValueError(f"{option}: holds a user or password; give the key in {key} instead")
    try:
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or parts.query or parts.fragment or not url.isascii() or re.search(r"\s", url):
        raise ValueError(f"{option} {redact(url)}: not an address such as http://127.0.0.1:8000/v1")
    return url.rstrip("/").removesuffix(end).rstrip("/")


def api_key(url: str, names: Sequence[str]) -> tuple[str | None, str | None]:
    """(variable, key) that goes to `url`; (None, None) without one.

    All but the first of `names` were not set for whatever address is named here: their keys go over https and to this machine, not in
    clear through a network. Raises ValueError for a key that no header can hold, without repeating it.
    """
    for name in names:
        key = os.environ.get(name, "").strip()
        if not key or (name != names[0] and not url.startswith("https:") and not is_loopback(url)):
            continue
        if not re.fullmatch(r"[!-~]+", key):
            raise ValueError(f"{name}: holds a space or another character that no API key has")
        return name, key
    return None, None
