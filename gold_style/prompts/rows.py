"""One row of a data set, checked, -> Prompt.

A row has one of these shapes (SHAPES); files and data sets may mix them:

    {"messages": [{"role": "user", "content": ...}, ...]}            ChatML; a content may be a list of text parts
    {"conversations": [{"from": "human", "value": ...}, ...]}        ShareGPT, with or without "system"
    {"instruction": ..., "input": ..., "output": ...}                alpaca, with or without "system"
    {"prompt": ..., "completion": ...}                               each a text or a list of turns

It has at most one system turn, first; then user and assistant turns in alternation, user first. A last assistant turn is the
row's own answer (`Prompt.reference`). The style is a tag at the start of one user turn, `<style:NAME>`, or in the column
that `prompts.style_column` names; a row without either follows `styles.untagged`. `topic`, `direction` and `era` are read where
they are given as strings; other columns are ignored.

Example: `parse_row({"messages": [{"role": "user", "content": "<style:none> 안녕?"}]}, pack, "rows.jsonl:1", 0)` is a
Prompt with the request "안녕?" and the tag "none".
"""

import re
import unicodedata
from itertools import accumulate
from typing import Any

from gold_style import did_you_mean
from gold_style.prompts import Prompt
from gold_style.prompts.texts import INVISIBLE, RowError, checked_text, excerpt, kind
from gold_style.styles import DIRECTIONS, StylePack

SHAPES = {  # the column that tells a shape -> its name
    "messages": "ChatML (messages)",
    "conversations": "ShareGPT (conversations)",
    "instruction": "alpaca (instruction)",
    "prompt": "prompt/completion (prompt)",
}
ANSWERS = {"instruction": "output", "prompt": "completion"}  # their column of the answer, which may be null or missing
COLUMNS = (*SHAPES, *ANSWERS.values(), "input", "system", "topic", "direction", "era")
ROLES = ("system", "user", "assistant")
OTHER_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "model": "assistant"}
MAX_TURNS = 256
TAG = re.compile(r"<style:([^<>\s]+)>")
TAG_LIKE = re.compile(r"(?:<|\A\s*[\[(])\s*/?\s*style\s*[:=]\s*([^<>)\]\n]{0,80})[>)\]]?", re.IGNORECASE)
# A tag of the pack without the right brackets or the word "style", at the start of a turn: <chosun>, [none], style:chosun.
NEAR_TAG = re.compile(r"\s*(?:([<\[({])\s*(?:\w{1,9}\s*[:= ]\s*)?|style\s*[:=]\s*)([\w-]{1,32})(?(1)\s*[>\])}])", re.IGNORECASE)
# What may be taken for a bracket of a tag, a hyphen, or (Cyrillic and Greek) for one of its letters, once NFKC has been applied.
LOOK_ALIKES = str.maketrans(
    "‹«《〈⟨❮「『【〔›»》〉⟩❯」』】〕‐‑‒–—−асеһіјӏорѕтухԁοατικρυ", "[" * 10 + "]" * 10 + "-" * 6 + "acehijlopstyxdoatikpu", INVISIBLE
)


Turn = tuple[str, str, str]  # (field of the text, "messages[0].content", role, text without white space around it)


def parse_row(
    row: object, pack: StylePack, origin: str, number: int, special_tokens: frozenset[str] = frozenset(), column: str | None = None
) -> Prompt:
    """One decoded row -> Prompt.

    Args: the row; the style pack (its `tags` and `untagged` are read); "file:line" and row number, carried along for
    messages; the special tokens of the tokenizers in use (`all_special_tokens`), refused beside the well-known ones; the column
    that holds the style, if any.
    Raises RowError, never anything else, whatever `row` is.
    """
    if not isinstance(row, dict):
        raise RowError("row", f'is {kind(row)}; expected an object {{"messages": [...]}}')
    shape, turns = conversation(row, special_tokens)
    system = turns.pop(0)[2] if turns[0][1] == "system" else None
    _check_order(turns, system is not None)
    answer = turns.pop() if turns[-1][1] == "assistant" else None
    if answer is not None and TAG_LIKE.search(answer[2]):
        raise RowError(answer[0], "has a style tag; an answer with one would teach to write tags")
    tag, asked = _find_tag(turns, pack)
    if column is not None:
        tag = _column_tag(row, column, tag, pack)
    spoken = [(role, text) for _, role, text in turns]
    return Prompt(
        request=spoken[asked][1],
        style=pack.untagged if tag is None else tag,
        tag=tag,
        row=number,
        system=system,
        before=tuple(spoken[:asked]),
        after=tuple(spoken[asked + 1 :]),
        reference=None if answer is None else answer[2],
        origin=origin,
        shape=SHAPES[shape],
        **details(row),
    )


def conversation(row: dict, special_tokens: frozenset[str] = frozenset()) -> tuple[str, list[Turn]]:
    """The turns of a row, one at least, and the column that told its shape. Raises RowError."""
    given = [column for column in SHAPES if row.get(column) is not None]
    if len(given) > 1:
        readings = " and as ".join(SHAPES[column] for column in given)
        raise RowError("row", f"can be read as {readings}; keep one of these columns, remove or rename the others")
    if not given:
        hint = next(filter(None, (did_you_mean(key, SHAPES) for key in list(row)[:8])), "")
        raise RowError("messages", f"is missing, and so are conversations, instruction and prompt (keys: {_keys(row)}){hint}")
    shape, has_system = given[0], row.get("system") and given != ["messages"]
    turns = [("system", "system", checked_text(row["system"], "system", special_tokens))] if has_system else []
    for column, role in {shape: "user", ANSWERS.get(shape, shape): "assistant"}.items():
        value = row.get(column)
        if shape not in ANSWERS or isinstance(value, list):
            turns += [turn(message, f"{column}[{i}]", special_tokens) for i, message in enumerate(_messages(value, column))]
        elif role == "user" or value not in (None, ""):
            names = [column, "input"] if column == "instruction" and row.get("input") else [column]
            turns.append((column, role, "\n\n".join(checked_text(row[name], name, special_tokens) for name in names)))
    return shape, turns


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


def turn(message: object, field: str, special_tokens: frozenset[str] = frozenset()) -> Turn:
    """One message, {"role", "content"} or ShareGPT's {"from", "value"}. Raises RowError."""
    if not isinstance(message, dict):
        raise RowError(field, f'is {kind(message)}; expected {{"role": ..., "content": ...}}')
    role_key, text_key = ("from", "value") if message.get("role") is None and "from" in message else ("role", "content")
    role = message.get(role_key)
    if not isinstance(role, str):
        raise RowError(f"{field}.{role_key}", f"is {kind(role)}; allowed: {', '.join(ROLES)}" if role_key in message else "is missing")
    if (known := OTHER_ROLES.get(role, role)) not in ROLES:
        raise RowError(f"{field}.{role_key}", f"{excerpt(role)} is not a role; allowed: {', '.join(ROLES)}{did_you_mean(role, ROLES)}")
    for key in ("tool_calls", "function_call"):
        if message.get(key):
            raise RowError(f"{field}.{key}", "tool calls cannot be distilled; leave the row out")
    if text_key not in message:
        raise RowError(f"{field}.{text_key}", "is missing")
    field = f"{field}.{text_key}"
    return field, known, checked_text(_joined(message[text_key], field), field, special_tokens)


def _joined(content: object, field: str) -> object:
    """A list of text parts as one text, as chat templates render it; anything else unchanged. Raises RowError."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part for part in content]
    for number, (part, text) in enumerate(zip(content, texts, strict=True)):
        if not isinstance(text, str):
            what = f"of the type {excerpt(part.get('type'))}" if isinstance(part, dict) else kind(part)
            raise RowError(f"{field}[{number}]", f"is {what}; only parts of text can be distilled; leave the row out")
    return "".join(map(str, texts))


def split_tag(text: str, pack: StylePack, field: str) -> tuple[str | None, str]:
    """A user turn -> (its style tag or None, the request without it). Raises RowError for what is nearly a tag."""
    like = plain(text)
    found = [(match, match[1].strip()) for match in TAG_LIKE.finditer(like)]
    if not found and (near := NEAR_TAG.match(like)) and near[2].lower() in pack.tags:
        found = [(near, near[2])]
    if not found:
        return None, text
    if len(found) > 1:
        raise RowError(field, f"has two tags, {excerpt(found[0][0][0])} and {excerpt(found[1][0][0])}; a row has one style")
    (match, name), exact = found[0], TAG.match(text)
    if exact is None and like[: match.start()].strip():
        raise RowError(field, f"the tag {excerpt(match[0])} belongs at the start of the turn")
    if exact is None or exact[1] not in pack.tags:
        lengths = accumulate(len(plain(character)) for character in text)
        written = text[: next(number for number, length in enumerate(lengths, start=1) if length >= match.end())]
        foreign = [named(character) for character in dict.fromkeys(written) if plain(character) != character]
        holds = f", written with {' and '.join(foreign)}" if foreign else ""
        allowed = ", ".join(f"<style:{tag}>" for tag in pack.tags)
        raise RowError(field, f"unknown style tag {excerpt(written)}{holds}; allowed: {allowed}{did_you_mean(name, pack.tags)}")
    request = text[exact.end() :].strip()
    if not request.strip(INVISIBLE):
        raise RowError(field, f"has nothing after the tag {exact[0]}")
    return exact[1], request


def plain(text: str) -> str:
    """`text` as it looks: characters that can be taken for ASCII as ASCII, invisible ones left out."""
    return unicodedata.normalize("NFKC", text).translate(LOOK_ALIKES)


def named(character: str) -> str:
    """A character that is hard to see or to tell from another: `＜ (U+FF1C, full-width less-than sign)`."""
    name = unicodedata.name(character, "no name").lower().replace("fullwidth", "full-width")
    return f"{character} (U+{ord(character):04X}, {name})" if character.isprintable() else f"U+{ord(character):04X}, {name}"


def _column_tag(row: dict, column: str, tag: str | None, pack: StylePack) -> str | None:
    """The tag that a row's style column gives, `chosun` or `<style:chosun>`; null: that of the text. Raises RowError."""
    if column not in row:
        raise RowError(column, f"is missing, which prompts.style_column names (keys: {_keys(row)}); null is for a row without a style")
    if (value := row[column]) in (None, ""):
        return tag
    name = str(value).strip().removeprefix("<style:").removesuffix(">")
    if name not in pack.tags:
        hint = did_you_mean(plain(name), pack.tags)
        raise RowError(column, f"{excerpt(value)} is no style; allowed: {', '.join(pack.tags)}, or null{hint}")
    if tag not in (None, name):
        raise RowError(column, f"says {name}, but the text says <style:{tag}>; a row has one style")
    return name


def _keys(row: dict) -> str:
    return ", ".join(excerpt(key) for key in list(row)[:8]) or "none"


def _messages(messages: object, column: str) -> list:
    if isinstance(messages, dict) and messages and all(isinstance(values, list) for values in messages.values()):
        # the older Sequence feature of `datasets` gives {"role": [...], "content": [...]} for a list of turns
        messages = [dict(zip(messages, values, strict=True)) for values in zip(*messages.values(), strict=False)]
    if not isinstance(messages, list):
        raise RowError(column, f"is {kind(messages)}; expected a list of turns")
    if not messages:
        raise RowError(column, "is an empty list")
    if len(messages) > MAX_TURNS:
        raise RowError(column, f"has {len(messages)} turns; allowed: up to {MAX_TURNS}")
    return messages


def _check_order(turns: list[Turn], has_system: bool) -> None:
    """`turns` without a leading system turn. Raises RowError."""
    if not turns:
        raise RowError("messages", "has no user turn")
    before = None
    for text_field, role, _ in turns:
        field = text_field.replace(".content", ".role").replace(".value", ".from")
        if role == "system":
            raise RowError(field, "a second system turn" if has_system else "a system turn belongs first, before every other turn")
        if before is None and role == "assistant":
            raise RowError(field, "the conversation opens with the assistant; it must open with the user")
        if role == before:
            raise RowError(field, f"two {role} turns in a row; user and assistant take turns")
        before = role


def _find_tag(turns: list[Turn], pack: StylePack) -> tuple[str | None, int]:
    """(tag, index of the turn that asks) of the turns before the answer; cuts the tag out of it. Raises RowError."""
    tag, asked = None, len(turns) - 1
    for i, (field, role, text) in enumerate(turns):
        if role == "assistant":
            if TAG_LIKE.search(text):
                raise RowError(field, "a style tag in an assistant turn; the tag belongs at the start of a user turn")
            continue
        found, request = split_tag(text, pack, field)
        if found is None:
            continue
        if tag is not None:
            raise RowError(field, f"a second tag, <style:{found}> after <style:{tag}>; a row has one style")
        tag, asked, turns[i] = found, i, (field, role, request)
    return tag, asked
