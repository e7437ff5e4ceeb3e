"""Prompt -> the token ids the student reads and the token ids the teacher reads: only here do the two differ.

The student reads [student_system] + turns in its own chat template; the teacher reads teacher_system + [examples] + the same
turns in *its* own template and tokenizer. Nothing is ever prepended to rendered text, so there is exactly one system block, one BOS
and one generation prompt on each side (facts 8 and 9 of docs/upstream.md).

Every turn's text is looked for in what a template wrote. A template that loses one is filled in another way, or refused. A template
that asks for the clock gets one date in the whole run.

The teacher's prompt falls into `prefix` (system text and examples: constant for one style, so its key/values can be cached) and
`rest`; the cut lies just before a special token, where no merge of the tokenizer can reach across.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

from jinja2.meta import find_undeclared_variables
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import _compile_jinja_template

from gold_style import did_you_mean
from gold_style.prompts import Message, Prompt
from gold_style.prompts.rows import excerpt
from gold_style.styles import StylePack

PROBE = "zqz"  # a text that no template writes by itself
CLOCK = "strftime_now"  # what a template calls to read the clock
FILLED_IN = {"messages", "tools", "documents", "add_generation_prompt"}  # by apply_chat_template, beside the special tokens
THINKING = re.compile(r"(\w+_)?(think|thinking|reasoning)")  # names of the argument that turns thinking on and off


def stop_ids(tokenizer: PreTrainedTokenizerBase, model=None) -> tuple[int, ...]:
    """Ids at which a completion ends, sorted: the tokenizer's stop, those of the model's generation config, and the one its
    chat template writes after an assistant turn (a base model's own settings often do not name it)."""
    ids = {tokenizer.eos_token_id, turn_end_id(tokenizer)}
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids.update(configured if isinstance(configured, (list, tuple)) else [configured])
    return tuple(sorted(i for i in ids if i is not None))


def turn_end_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token right after an assistant turn's text (`<|im_end|>`, `<|eot_id|>`, ...); None where there is none."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": PROBE}]
    tail = re.split(PROBE, _filled(tokenizer, turns, {"add_generation_prompt": False})[0], flags=re.IGNORECASE)[-1]
    first = encode(tokenizer, tail.lstrip())[:1]
    return first[0] if first and first[0] in _special_ids(tokenizer) else None


def template_stop_id(tokenizer: PreTrainedTokenizerBase, stops: tuple[int, ...]) -> int:
    """The stop token that the chat template itself writes after an assistant turn, else the tokenizer's."""
    written = turn_end_id(tokenizer)
    return written if written in stops else tokenizer.eos_token_id


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    return {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def render(
    tokenizer: PreTrainedTokenizerBase, messages: list[Message], today: date | None = None, side: str = "model", ask: bool = True
) -> str:
    """Chat text up to and (with `ask`) with the generation prompt; where the template asks for the clock, it is midnight of `today`.

    Tried in turn, until every turn's text is found: content as text, content as a list of parts, and both with the system text in
    front of the first user turn. Raises ValueError where none of them will do, with the turn or the template's own words.
    """
    text, fault = _filled(tokenizer, messages, {CLOCK: (today or date.today()).strftime, "add_generation_prompt": ask})
    if fault:
        raise ValueError(f"the {side}'s tokenizer {tokenizer.name_or_path!r} {fault}")
    return text


def takes_parts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template loses a text that does not come as a list of parts."""
    return bool(_attempt(tokenizer, [{"role": "user", "content": PROBE}], False, {})[1])


def fix_arguments(tokenizer: PreTrainedTokenizerBase, given: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    """Write arguments into the chat template as its defaults, so that nobody has to give them, and return them.

    `given` None turns thinking off where the template can. Raises ValueError for an argument that the template does not read.
    """
    names = _arguments(tokenizer)
    if given is None:
        given = {name: False for name in names if THINKING.fullmatch(name) and _switches(tokenizer, name)}
    if unread := [name for name in given if name not in names]:
        reads = f"is no argument of the chat template of {tokenizer.name_or_path!r}, which reads {', '.join(names) or 'none'}"
        raise ValueError("\n".join(f"{key}.{name}: {reads}{did_you_mean(name, names)}" for name in unread))
    if given:
        head = "".join(f"{{%- set {name} = {name} | default({value!r}) %}}\n" for name, value in given.items())
        tokenizer.chat_template = head + tokenizer.get_chat_template()
    return dict(given)


def _arguments(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Names that the chat template reads and nobody fills in. Of a broken template none: rendering says what is wrong with it."""
    try:
        template = tokenizer.get_chat_template()
        found = find_undeclared_variables(_compile_jinja_template(template).environment.parse(template))
    except Exception:
        return []
    return sorted(name for name in found - FILLED_IN if not name.endswith("_token"))


def _switches(tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    """Whether the template writes something else when `name` is false, with or without a system turn."""
    turns = [{"role": role, "content": PROBE} for role in ("system", "user")]
    pairs = [(_filled(tokenizer, asked, {name: False})[0], _filled(tokenizer, asked)[0]) for asked in (turns, turns[1:])]
    return any(off not in ("", unasked) for off, unasked in pairs)


def _filled(tokenizer: PreTrainedTokenizerBase, messages: list[Message], arguments: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """(the rendering that holds every turn, ""), or ("", what is wrong with the chat template). `arguments` are apply_chat_template's."""
    if not tokenizer.chat_template:
        return "", "has no chat template: use an instruct model, or save the tokenizer with a chat_template.jinja"
    ways, faults = [messages], []
    if messages[0]["role"] == "system":
        system, first, *others = messages
        ways.append([first | {"content": f"{system['content']}\n\n{first['content']}"}, *others])
    for turns in ways:
        for as_parts in (False, True):
            text, fault = _attempt(tokenizer, turns, as_parts, arguments or {})
            if not fault:
                return text, ""
            faults.append(fault)
    return "", faults[-2]  # of the last way, with content as text


def _attempt(tokenizer: PreTrainedTokenizerBase, turns: list[Message], as_parts: bool, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """What the chat template writes, and what is wrong with it, if anything."""
    conversation: list = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in turns] if as_parts else turns
    try:
        clock = _compile_jinja_template(tokenizer.get_chat_template()).environment.globals
        given, real = {"add_generation_prompt": True, **arguments}, clock[CLOCK]
        try:  # as an argument it would not do: transformers lets no function through
            clock[CLOCK] = given.pop(CLOCK, real)
            text = str(tokenizer.apply_chat_template(conversation, tokenize=False, **given))
        finally:
            clock[CLOCK] = real
    except Exception as error:  # whatever a template raises
        return "", f"has a chat template that fails with {type(error).__name__}: {error}"
    lost = _lost(turns, text, as_parts)
    return text, f"has a chat template that leaves out the {lost['role']} turn {excerpt(lost['content'])}" if lost else ""


def _lost(turns: list[Message], text: str, as_parts: bool) -> Message | None:
    """The first turn whose text is not in the rendering, in its order (a system turn: anywhere), or whose parts are printed as data.

    Letters and digits count, without case: templates trim, escape and upper-case. Some cut thoughts off earlier answers.
    """
    written, start = _letters(text), 0
    for turn in turns:
        content = turn["content"].rpartition("</think>")[2] if turn["role"] == "assistant" else turn["content"]
        wanted = _letters(content)
        at = written.find(wanted, 0 if turn["role"] == "system" else start)
        is_there = at >= 0 if wanted else "".join(content.split()) in "".join(text.split())
        if not is_there or (as_parts and f"typetexttext{wanted[:9]}" in written):
            return turn
        start = start if turn["role"] == "system" else at + len(wanted)
    return None


def _letters(text: str) -> str:
    return re.sub(r"\\.|[\W_]", "", html.unescape(text).casefold())


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of already rendered text; special tokens in it count as such, none is added."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer itself puts the token for a text's beginning before a bare text."""
    return tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


@dataclass(frozen=True)
class TeacherIds:
    """What the teacher reads: `prefix + rest`. Prompts with equal `prefix` share key/values. `style` says whose teacher, where tags have
    teachers of their own; None: that of untagged rows."""

    prefix: tuple[int, ...]
    rest: tuple[int, ...]
    style: str | None = field(default=None, compare=False)


@dataclass(eq=False)
class Chat:
    """Renders prompts for both sides.

    `teacher_system_prompt` replaces the style pack's text for every style, examples that are turns stay; `student_system_prompt` is
    what the student reads as its system turn (None: none, as at inference). Both sides read a row's own system turn, the teacher
    after its own. `today` is the date for templates that ask for it.

    What the teacher reads has a `context`: "full"; "none", the student's conversation in the teacher's template; "swapped", with rule and
    examples exchanged between the pack's first tag and its neutral one. The student is taught with `teacher_context`; the teacher
    itself is always measured with "full".
    """

    student_tokenizer: PreTrainedTokenizerBase
    teacher_tokenizer: PreTrainedTokenizerBase
    pack: StylePack
    student_system_prompt: str | None = None
    teacher_system_prompt: str | None = None
    today: date = field(default_factory=date.today)
    teacher_context: str = "full"
    teacher_tokenizers: Mapping[str, PreTrainedTokenizerBase] = field(default_factory=dict)  # by style, where not `teacher_tokenizer`
    _prefixes: dict[tuple[Any, ...], tuple[int, ...]] = field(default_factory=dict, init=False)

    def reader_of(self, style: str) -> PreTrainedTokenizerBase:
        """The tokenizer of the teacher that reads what is asked in this style."""
        return self.teacher_tokenizers.get(style, self.teacher_tokenizer)

    @property
    def notes(self) -> list[str]:
        """What the user should know about the chat templates."""
        teachers = {f"teacher of <style:{tag}>": tokenizer for tag, tokenizer in self.teacher_tokenizers.items()}
        sides = {"student": self.student_tokenizer} | (teachers or {"teacher": self.teacher_tokenizer})
        one = f"asks for the date and reads {self.today} in the whole run (template_date in run.json)"
        dated = [f"the {side}'s chat template {one}" for side, tokenizer in sides.items() if CLOCK in tokenizer.get_chat_template()]
        parts = [side for side, tokenizer in sides.items() if takes_parts(tokenizer)]
        return dated + [f"the {side}'s chat template takes content as a list of parts" for side in parts]

    def teacher_system(self, prompt: Prompt, context: str = "full") -> str | None:
        """The teacher's whole system text for this prompt; an empty one means no system turn."""
        if context == "none":
            return prompt.system or self.student_system_prompt
        rules = self.teacher_system_prompt
        if rules is None:
            rules = self.pack.under(context).teacher_system(prompt.style, prompt.tag is not None)
        return "\n\n".join(part for part in (rules, prompt.system) if part) or None

    def student_messages(self, prompt: Prompt) -> list[Message]:
        return _with_system(prompt.system or self.student_system_prompt, prompt.messages())

    def teacher_messages(self, prompt: Prompt, context: str = "full") -> list[Message]:
        return [*_messages(self._opening(prompt, context)), *prompt.messages()]

    def _opening(self, prompt: Prompt, context: str) -> tuple[tuple[str, str], ...]:
        """(role, content) turns that the teacher reads before the row's own."""
        system = self.teacher_system(prompt, context)
        turns = () if context == "none" else self.pack.under(context).example_turns(prompt.style, prompt.tag is not None)
        return ((("system", system),) if system else ()) + turns

    def student_text(self, prompt: Prompt) -> str:
        return render(self.student_tokenizer, self.student_messages(prompt), self.today, "student")

    def teacher_text(self, prompt: Prompt, context: str = "full") -> str:
        return render(self.reader_of(prompt.style), self.teacher_messages(prompt, context), self.today, "teacher")

    @lru_cache(maxsize=4096)  # noqa: B019 - a Chat lives as long as its run
    def student_ids(self, prompt: Prompt) -> tuple[int, ...]:
        return tuple(encode(self.student_tokenizer, self.student_text(prompt)))

    @lru_cache(maxsize=4096)  # noqa: B019
    def teacher_ids(self, prompt: Prompt, context: str = "full") -> TeacherIds:
        prefix = self._prefix(self._opening(prompt, context), self.reader_of(prompt.style))
        ids = tuple(encode(self.reader_of(prompt.style), self.teacher_text(prompt, context)))
        if ids[: len(prefix)] != prefix:  # a template that looks at the whole conversation first
            prefix = ()
        return TeacherIds(prefix, ids[len(prefix) :], prompt.style)

    def _prefix(self, opening: tuple[tuple[str, str], ...], tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
        """Ids that every prompt under these first turns begins with, cut just before a special token.

        Raises ValueError where the chat template does not write example turns.
        """
        key = id(tokenizer), opening
        if key not in self._prefixes:
            probes = [encode(tokenizer, self._probed(opening, text, tokenizer)) for text in (f"가{PROBE}", PROBE)]
            special = _special_ids(tokenizer)
            common = next((i for i, (a, b) in enumerate(zip(*probes, strict=False)) if a != b), 0)
            cut = max((i for i in range(common) if probes[0][i] in special), default=0)
            self._prefixes[key] = tuple(probes[0][:cut])
        return self._prefixes[key]

    def _probed(self, opening: tuple[tuple[str, str], ...], text: str, tokenizer: PreTrainedTokenizerBase) -> str:
        asked: list[Message] = [{"role": "user", "content": text}]
        try:
            return render(tokenizer, [*_messages(opening), *asked], self.today, "teacher")
        except ValueError as error:
            system = tuple(turn for turn in opening if turn[0] == "system")
            if system == opening:
                raise
            render(tokenizer, [*_messages(system), *asked], self.today, "teacher")  # else the examples are not to blame
            other = "few_shots=0 leaves them out" if self.teacher_system_prompt else "examples=system writes them into the system text"
            raise ValueError(f"styles.examples=turns: {error}; styles.{other}") from None


def _messages(turns: tuple[tuple[str, str], ...]) -> list[Message]:
    return [{"role": role, "content": content} for role, content in turns]


def _with_system(system: str | None, messages: list[Message]) -> list[Message]:
    return [{"role": "system", "content": system}, *messages] if system else messages
