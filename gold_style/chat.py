"""Prompt -> the token ids the student reads and the token ids the teacher reads: only here do the two differ.

The student reads [student_system] + turns in its own chat template; the teacher reads teacher_system + the same turns in
*its* own template and tokenizer. Nothing is ever prepended to rendered text, so there is exactly one system block, one BOS
and one generation prompt on each side (facts 8 and 9 of docs/upstream.md).

The teacher's prompt falls into `prefix` (constant for one system text, so its key/values can be cached) and `rest`; the cut
lies just before a special token, where no merge of the tokenizer can reach across.
"""

from dataclasses import dataclass, field
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from gold_style.prompts import Message, Prompt
from gold_style.styles import StylePack


def stop_ids(tokenizer: PreTrainedTokenizerBase, model=None) -> tuple[int, ...]:
    """Ids at which a completion ends, sorted: the tokenizer's stop, those of the model's generation config, and the one its
    chat template writes after an assistant turn (a base model's own settings often do not name it)."""
    ids = {tokenizer.eos_token_id, turn_end_id(tokenizer)}
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids.update(configured if isinstance(configured, (list, tuple)) else [configured])
    return tuple(sorted(i for i in ids if i is not None))


def turn_end_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token right after an assistant turn's text (`<|im_end|>`, `<|eot_id|>`, ...); None where there is none."""
    if not tokenizer.chat_template:
        return None
    answer = "zqz"  # a text that no template writes by itself
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}]
    tail = str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(answer)[2]
    first = encode(tokenizer, tail.lstrip())[:1]
    return first[0] if first and first[0] in _special_ids(tokenizer) else None


def template_stop_id(tokenizer: PreTrainedTokenizerBase, stops: tuple[int, ...]) -> int:
    """The stop token that the chat template itself writes after an assistant turn, else the tokenizer's."""
    written = turn_end_id(tokenizer)
    return written if written in stops else tokenizer.eos_token_id


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    return {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def render(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    """Chat text up to and with the generation prompt.

    A template that refuses system turns, or silently leaves them out, gets the system text in front of the first user turn.
    Raises ValueError when the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"tokenizer {tokenizer.name_or_path!r} has no chat template: use an instruct model, or save the tokenizer "
            "with a chat_template.jinja"
        )
    has_system = messages[0]["role"] == "system"
    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        if not has_system or messages[0]["content"].strip() in text:
            return text
    except Exception:
        if not has_system:
            raise
    system, first, *others = messages
    merged = {"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}
    return str(tokenizer.apply_chat_template([merged, *others], tokenize=False, add_generation_prompt=True))


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of already rendered text; special tokens in it count as such, none is added."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@dataclass(frozen=True)
class TeacherIds:
    """What the teacher reads: `prefix + rest`. Prompts with equal `prefix` share key/values."""

    prefix: tuple[int, ...]
    rest: tuple[int, ...]


@dataclass(eq=False)
class Chat:
    """Renders prompts for both sides.

    `teacher_system_prompt` replaces the style pack's text for every style; `student_system_prompt` is what the student reads
    as its system turn (None: none, as at inference). Both sides read a row's own system turn, the teacher after its own.
    """

    student_tokenizer: PreTrainedTokenizerBase
    teacher_tokenizer: PreTrainedTokenizerBase
    pack: StylePack
    student_system_prompt: str | None = None
    teacher_system_prompt: str | None = None
    _prefixes: dict[str | None, tuple[int, ...]] = field(default_factory=dict)

    def teacher_system(self, prompt: Prompt) -> str | None:
        """The teacher's whole system text for this prompt; an empty one means no system turn."""
        rules = (
            self.pack.teacher_system(prompt.style, prompt.tag is not None)
            if self.teacher_system_prompt is None
            else self.teacher_system_prompt
        )
        return "\n\n".join(part for part in (rules, prompt.system) if part) or None

    def student_messages(self, prompt: Prompt) -> list[Message]:
        return _with_system(prompt.system or self.student_system_prompt, prompt.messages())

    def teacher_messages(self, prompt: Prompt) -> list[Message]:
        return _with_system(self.teacher_system(prompt), prompt.messages())

    def student_text(self, prompt: Prompt) -> str:
        return render(self.student_tokenizer, self.student_messages(prompt))

    def teacher_text(self, prompt: Prompt) -> str:
        return render(self.teacher_tokenizer, self.teacher_messages(prompt))

    @lru_cache(maxsize=4096)  # noqa: B019 - a Chat lives as long as its run
    def student_ids(self, prompt: Prompt) -> tuple[int, ...]:
        return tuple(encode(self.student_tokenizer, self.student_text(prompt)))

    @lru_cache(maxsize=4096)  # noqa: B019
    def teacher_ids(self, prompt: Prompt) -> TeacherIds:
        ids = tuple(encode(self.teacher_tokenizer, self.teacher_text(prompt)))
        prefix = self._prefix(self.teacher_system(prompt))
        if ids[: len(prefix)] != prefix:  # a template that looks at the whole conversation first
            prefix = ()
        return TeacherIds(prefix, ids[len(prefix) :])

    def _prefix(self, system: str | None) -> tuple[int, ...]:
        """Ids that every prompt under this system text begins with, cut just before a special token."""
        if system not in self._prefixes:
            probes = [
                encode(self.teacher_tokenizer, render(self.teacher_tokenizer, _with_system(system, [{"role": "user", "content": text}])))
                for text in ("가", "z")
            ]
            special = _special_ids(self.teacher_tokenizer)
            common = next((i for i, (a, b) in enumerate(zip(*probes, strict=False)) if a != b), 0)
            cut = max((i for i in range(common) if probes[0][i] in special), default=0)
            self._prefixes[system] = tuple(probes[0][:cut])
        return self._prefixes[system]


def _with_system(system: str | None, messages: list[Message]) -> list[Message]:
    return [{"role": "system", "content": system}, *messages] if system else messages
