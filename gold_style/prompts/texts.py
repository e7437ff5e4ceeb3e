"""Text of a row, checked before any chat template holds it, and the one error that says why a row cannot be used.

Text that spells a control token of a chat template is refused: most tokenizers turn it into the real token, so that a
user turn could open a system turn of its own (https://huggingface.co/docs/transformers/chat_templating).

Example: `checked_text(" 안녕? ", "messages[0].content")` is "안녕?".
"""

import re
import unicodedata
from functools import lru_cache

MAX_CHARACTERS = 100_000  # of one turn; the budget in tokens, `prompts.max_prompt_tokens`, is far below
# str.strip leaves these; a turn of nothing else is empty, and a tag with one of them is none
INVISIBLE = (
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u3164\ufe0e\ufe0f\ufeff"
)


# Markup of public chat templates: ChatML, Llama 2 to 4, Mistral, Gemma, Phi, EXAONE, Nemotron, and DeepSeek, whose bars
# are full-width and become plain ones under NFKC.
CHAT_MARKUP = (
    r"<\|[^\s|<>]{1,64}\|?>",
    r"<[^\s|<>]{1,64}\|>",
    r"\[\|[a-z_]{1,32}\|\]",
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|IMG)\]",
    r"<</?SYS>>",
    r"</?s>",
    r"<(?:bos|eos|start_of_turn|end_of_turn|extra_id_\d+|SPECIAL_\d+)>",
)
UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class RowError(ValueError):
    """Why a row cannot be used: `field` is where in the row, `reason` says what is wrong and what is allowed."""

    def __init__(self, field: str, reason: str):
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason

    def __reduce__(self):
        return RowError, (self.field, self.reason)


def checked_text(text: object, field: str, special_tokens: frozenset[str] = frozenset()) -> str:
    """`text` without white space around it, if a chat template can hold it safely. Raises RowError."""
    if not isinstance(text, str):
        raise RowError(field, f"is {kind(text)}; expected a string")
    if len(text) > MAX_CHARACTERS:
        raise RowError(field, f"has {len(text)} characters; allowed: up to {MAX_CHARACTERS}")
    if found := UNREADABLE.search(text):
        what = "a lone surrogate" if found[0] >= "\ud800" else "a control character"
        raise RowError(field, f"holds {what}, U+{ord(found[0]):04X}, at character {found.start() + 1}")
    if (token := control_token(text, special_tokens)) is not None:
        raise RowError(field, f"holds the chat template's control token {excerpt(token)}, which could forge a turn")
    text = text.strip()
    if not text.strip(INVISIBLE):
        raise RowError(field, "is empty")
    return text


def control_token(text: str, special_tokens: frozenset[str] = frozenset()) -> str | None:
    """The first control token of a chat template that `text` spells, if any; full-width forms count too."""
    pattern = _control_pattern(special_tokens)
    found = pattern.search(text) or pattern.search(unicodedata.normalize("NFKC", text))
    return found and found[0]


@lru_cache(maxsize=8)
def _control_pattern(special_tokens: frozenset[str]) -> re.Pattern[str]:
    own = sorted((re.escape(token) for token in special_tokens if token.strip()), key=len, reverse=True)
    return re.compile("|".join([*own, *CHAT_MARKUP]))


def excerpt(value: object, limit: int = 60) -> str:
    """`value` in one printable line of at most about `limit` characters, for a message."""
    shown = repr(value[: limit + 1] if isinstance(value, str | bytes) else value)
    return shown if len(shown) <= limit else shown[: limit - 4] + "...'"


def kind(value: object) -> str:
    """What a decoded JSON value is, under JSON's name."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")
