"""HTTP for asking a model over it (opinions/endpoint.py, engine/vllm.py): the standard library, no redirects, no proxy for loopback."""

import ipaddress
import json
import urllib.request
from typing import Any
from urllib.parse import urlsplit


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes a redirect an HTTPError: following it would send keys and texts to another address."""

    def redirect_request(self, *_arguments) -> None:
        return None


def opener_for(url: str) -> urllib.request.OpenerDirector:
    """What opens `url`: follows no redirect, and asks no proxy for an address of this machine."""
    handlers: list[Any] = [NoRedirect]
    if is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy does not know our loopback
    return urllib.request.build_opener(*handlers)


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
