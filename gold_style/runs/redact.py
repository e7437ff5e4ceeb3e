"""Keeps keys and tokens out of everything a run writes or prints.

Secrets are known by their place (environment variables and config keys with telling names, .netrc) and by their looks
(the prefixes of Hugging Face and W&B keys, `Authorization` headers, passwords in URLs).

Example: `redact("401 for hf_abcdefghijklmnopqrstuvwxyz")` is `"401 for <redacted>"`.
"""

import netrc
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REDACTED = "<redacted>"
SHORTEST = 8  # characters: shorter values of telling variables are flags and numbers, not secrets

VARIABLE = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|ACCESS_KEY)$", re.IGNORECASE)
CONFIG_KEY = re.compile(
    r"(^|[_.])(api_?key|access_?key|(hub|hf|access|auth|api)_token|secret|password|passwd)$", re.IGNORECASE
)  # not any *_token: pad_token and eos_token are no secrets
LOOKS = re.compile(
    r"""\bhf_[A-Za-z0-9]{16,}
    | \bwandb_v\d+_[A-Za-z0-9_]{16,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)            # user:password of a URL
    | (?<=\bBearer\s)\S+ | (?<=\bBasic\s)\S+
    | (?<=\bAuthorization:\s)\S+(\s\S+)?""",
    re.VERBOSE | re.IGNORECASE,
)
ASSIGNMENT = re.compile(r"(?<![\w.+])(?P<key>[\w.+]*)=(?P<value>\S+)")  # the lookbehind keeps it linear in a long word


def netrc_passwords() -> dict[str, str]:
    """Host -> password, from the .netrc that W&B and requests read; empty where there is none that can be read."""
    names = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    path = next((path for name in names if (path := Path(name).expanduser()).is_file()), None)
    try:
        hosts = netrc.netrc(path).hosts if path else {}
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}
    return {host: password for host, (_, _, password) in hosts.items() if password}


def secret_values() -> list[str]:
    """Values that must not be written, longest first."""
    values = {value for name, value in os.environ.items() if VARIABLE.search(name)} | set(netrc_passwords().values())
    return sorted((value for value in values if len(value) >= SHORTEST), key=len, reverse=True)


def redact(value: Any) -> Any:
    """A copy of text, or of a mapping or list of anything, with secrets replaced by `<redacted>`."""
    return _redact(value, secret_values())


def _redact(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: REDACTED if item and isinstance(item, str) and CONFIG_KEY.search(str(key)) else _redact(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redact(item, secrets) for item in value]
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, REDACTED)
    return ASSIGNMENT.sub(_assignment, LOOKS.sub(REDACTED, value))


def _assignment(match: re.Match) -> str:
    return f"{match['key']}={REDACTED}" if CONFIG_KEY.search(match["key"]) else match[0]


def say(text: str) -> None:
    """A line for the user, without secrets; on stderr, because stdout ends with the run directory."""
    print(redact(text), file=sys.stderr, flush=True)
