"""One row of a data set, checked, -> Prompt.

A row is `{"messages": [{"role": ..., "content": ...}, ...]}`: at most one system turn, first; then user and assistant
turns in alternation, user first. A last assistant turn is the row's own answer (`Prompt.reference`). The style is a tag
at the start of one user turn, `<style:NAME>`; a row without a tag follows `styles.untagged`. Of the other top-level
keys, `topic`, `direction` and `era` are read where they are given as strings; the rest are ignored.

Text that spells a control token of a chat template is refused: most tokenizers turn it into the real token, so that a
user turn could open a system turn of its own (https://huggingface.co/docs/transformers/chat_templating).

Example: `parse_row({"messages": [{"role": "user", "content": "<style:none> 안녕?"}]}, pack, "rows.jsonl:1", 0)` is a
Prompt with the request "안녕?" and the tag "none".
"""

import re
import unicodedata
from functools import lru_cache
from typing import Any

from gold_style import did_you_mean
from gold_style.prompts import Prompt
from gold_style.styles import DIRECTIONS, StylePack

ROLES = ("system", "user", "assistant")
MAX_CHARACTERS = 100_000  # of one turn; the budget in tokens, `prompts.max_prompt_tokens`, is far below
MAX_TURNS = 256
INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\u3164\ufeff"  # str.strip leaves these; a turn of nothing else is empty

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
TAG = re.compile(r"<style:([^<>\s]+)>")
TAG_LIKE = re.compile(r"<\s*/?\s*style\s*[:=]\s*([^<>\n]{0,80})>?", re.IGNORECASE)


class RowError(ValueError):
    """Why a row cannot be used: `field` is where in the row, `reason` says what is wrong and what is allowed."""

    def __init__(self, field: str, reason: str):
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason

    def __reduce__(self):
        return RowError, (self.field, self.reason)


def parse_row(row: object, pack: StylePack, origin: str, number: int, special_tokens: frozenset[str] = frozenset()) -> Prompt:
    """One decoded row -> Prompt.

    Args: the row; the style pack (its `tags` and `untagged` are read); "file:line" and row number, carried along for
    messages; the special tokens of the tokenizers in use (`all_special_tokens`), refused beside the well-known ones.
    Raises RowError, never anything else, whatever `row` is.
    """
    if not isinstance(row, dict):
        raise RowError("row", f'is {kind(row)}; expected an object {{"messages": [...]}}')
    if "messages" not in row:
        raise RowError("messages", f"is missing (keys: {', '.join(excerpt(key) for key in list(row)[:8]) or 'none'})")
    turns = [turn(message, f"messages[{i}]", special_tokens) for i, message in enumerate(_messages(row["messages"]))]
    system = turns.pop(0)[1] if turns[0][0] == "system" else None
    offset = int(system is not None)
    _check_order([role for role, _ in turns], offset)
    reference = turns.pop()[1] if turns[-1][0] == "assistant" else None
    tag, asked = _find_tag(turns, pack, offset)
    if reference is not None and TAG_LIKE.search(reference):
        raise RowError(f"messages[{offset + len(turns)}].content", "has a style tag; an answer with one would teach to write tags")
    return Prompt(
        request=turns[asked][1],
        style=pack.untagged if tag is None else tag,
        tag=tag,
        row=number,
        system=system,
        before=tuple(turns[:asked]),
        after=tuple(turns[asked + 1 :]),
        reference=reference,
        origin=origin,
        **details(row),
    )


def details(row: dict) -> dict[str, Any]:
    """A row's `topic`, `direction` and `era`, those that it gives as strings.

    Raises RowError for a string that is no direction, and for text that no message could show.
    """
    found = {key: row[key] for key in ("topic", "direction", "era") if isinstance(row.get(key), str) and row[key].strip()}
    direction = found.get("direction")
    if direction is not None and direction not in DIRECTIONS:
        hint = did_you_mean(direction, DIRECTIONS)
        raise RowError("direction", f"{excerpt(direction)}; allowed: {', '.join(DIRECTIONS)}, or leave it out{hint}")
    return {key: checked_text(value, key) for key, value in found.items()}


def turn(message: object, field: str, special_tokens: frozenset[str] = frozenset()) -> tuple[str, str]:
    """One message -> (role, text without white space around it). Raises RowError."""
    if not isinstance(message, dict):
        raise RowError(field, f'is {kind(message)}; expected {{"role": ..., "content": ...}}')
    role = message.get("role")
    if not isinstance(role, str):
        raise RowError(f"{field}.role", f"is {kind(role)}; allowed: {', '.join(ROLES)}" if "role" in message else "is missing")
    if role not in ROLES:
        raise RowError(f"{field}.role", f"{excerpt(role)} is not a role; allowed: {', '.join(ROLES)}{did_you_mean(role, ROLES)}")
    for key in ("tool_calls", "function_call"):
        if message.get(key):
            raise RowError(f"{field}.{key}", "tool calls cannot be distilled; leave the row out")
    if "content" not in message:
        raise RowError(f"{field}.content", "is missing")
    return role, checked_text(message["content"], f"{field}.content", special_tokens)


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


def split_tag(text: str, pack: StylePack, field: str) -> tuple[str | None, str]:
    """A user turn -> (its style tag or None, the request without it). Raises RowError for what is nearly a tag."""
    found = list(TAG_LIKE.finditer(unicodedata.normalize("NFKC", text)))
    if not found:
        return None, text
    if len(found) > 1:
        raise RowError(field, f"has two tags, {excerpt(found[0][0])} and {excerpt(found[1][0])}; a row has one style")
    exact = TAG.match(text)
    if exact is None and found[0].start() > 0:
        raise RowError(field, f"the tag {excerpt(found[0][0])} belongs at the start of the turn")
    name = found[0][1].strip() if exact is None else exact[1]
    if exact is None or name not in pack.tags:
        allowed = ", ".join(f"<style:{tag}>" for tag in pack.tags)
        raise RowError(field, f"unknown style tag {excerpt(found[0][0])}; allowed: {allowed}{did_you_mean(name, pack.tags)}")
    request = text[exact.end() :].strip()
    if not request.strip(INVISIBLE):
        raise RowError(field, f"has nothing after the tag {exact[0]}")
    return name, request


def _messages(messages: object) -> list:
    if not isinstance(messages, list):
        raise RowError("messages", f"is {kind(messages)}; expected a list of turns")
    if not messages:
        raise RowError("messages", "is an empty list")
    if len(messages) > MAX_TURNS:
        raise RowError("messages", f"has {len(messages)} turns; allowed: up to {MAX_TURNS}")
    return messages


def _check_order(roles: list[str], offset: int) -> None:
    """`roles` without a leading system turn; `offset` is the index of the first one in the row. Raises RowError."""
    if not roles:
        raise RowError("messages", "has no user turn")
    for i, role in enumerate(roles):
        field = f"messages[{i + offset}].role"
        if role == "system":
            raise RowError(field, "a second system turn" if offset else "a system turn belongs first, before every other turn")
        if i == 0 and role == "assistant":
            raise RowError(field, "the conversation opens with the assistant; it must open with the user")
        if i > 0 and role == roles[i - 1]:
            raise RowError(field, f"two {role} turns in a row; user and assistant take turns")


def _find_tag(turns: list[tuple[str, str]], pack: StylePack, offset: int) -> tuple[str | None, int]:
    """(tag, index of the turn that asks) of the turns before the answer; cuts the tag out of it. Raises RowError."""
    tag, asked = None, len(turns) - 1
    for i, (role, text) in enumerate(turns):
        field = f"messages[{i + offset}].content"
        if role == "assistant":
            if TAG_LIKE.search(text):
                raise RowError(field, "a style tag in an assistant turn; the tag belongs at the start of a user turn")
            continue
        found, request = split_tag(text, pack, field)
        if found is None:
            continue
        if tag is not None:
            raise RowError(field, f"a second tag, <style:{found}> after <style:{tag}>; a row has one style")
        tag, asked, turns[i] = found, i, (role, request)
    return tag, asked


def excerpt(value: object, limit: int = 60) -> str:
    """`value` in one printable line of at most about `limit` characters, for a message."""
    shown = repr(value[: limit + 1] if isinstance(value, str | bytes) else value)
    return shown if len(shown) <= limit else shown[: limit - 4] + "...'"


def kind(value: object) -> str:
    """What a decoded JSON value is, under JSON's name."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")
