"""What is asked: one Prompt per row, and the interface every prompt source implements.

A source turns a row number into a Prompt. Which one depends on nothing but (settings, data, seed, row number), so that a run
can be resumed, sharded over processes and repeated exactly. A new source is one module here, one YAML in conf/prompts, and
its name in config/schema.py.

Example: `Prompt(request="봄 축제를 알려 줘.", style="chosun", tag="chosun").messages()` is
`[{"role": "user", "content": "<style:chosun> 봄 축제를 알려 줘."}]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

from gold_style.config.settings import Settings
from gold_style.styles import StylePack, tagged

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One request and the style it is to be answered in.

    `request` is the text of the tagged (or, without a tag, the last) user turn, without its tag. `before` and `after` are the
    conversation's other turns around it; `system` is the row's own system turn. `reference` is the row's own answer.
    """

    request: str
    style: str  # a style of the pack; untagged rows have styles.untagged
    tag: str | None  # what is written in the text; None for an untagged row
    row: int = 0  # row number in the source, for messages and for the log
    system: str | None = None
    before: tuple[tuple[str, str], ...] = ()  # (role, content) turns before the tagged one
    after: tuple[tuple[str, str], ...] = ()  # turns between the tagged one and the answer
    reference: str | None = None
    topic: str | None = None  # what the answer must keep; None where the source does not know
    direction: str | None = None  # "up" | "equal" | "down": who writes to whom
    era: str | None = None  # of the topic: "modern" | "joseon"
    origin: str = ""  # "file:line", "file: row N" or "dataset[split]:row"
    shape: str = field(default="", compare=False)  # how the row was written: a name in gold_style.prompts.rows.SHAPES

    def messages(self) -> list[Message]:
        """The turns up to the answer, without any system turn: what student and teacher both read."""
        turns = (*self.before, ("user", tagged(self.tag, self.request)), *self.after)
        return [{"role": role, "content": content} for role, content in turns]

    def under(self, tag: str | None, style: str) -> "Prompt":
        """The same request under another tag; the row's own answer, written in its own style, is dropped."""
        return replace(self, tag=tag, style=style, reference=self.reference if style == self.style else None)


class PromptSource(Protocol):
    """Where requests come from."""

    num_rows: int | None  # distinct training rows; None: unlimited
    has_references: bool  # every training row carries its own answer
    untagged_share: float  # of the training rows
    notes: list[str]  # what the user should know: duplicates, quarantined rows, ...

    def __getitem__(self, number: int) -> Prompt:
        """The `number`-th training prompt of the run, number >= 0; finite sources continue with further shuffled epochs."""

    def evaluation(self) -> Sequence[Prompt]:
        """Requests for the summary, disjoint from every training prompt; one per request, to be asked under every tag."""

    def selection(self) -> Sequence[Prompt]:
        """Requests for live evaluation and for choosing a checkpoint: disjoint from both other sets."""


def build_source(
    settings: Settings, pack: StylePack, run_directory: Path | None = None, special_tokens: frozenset[str] = frozenset()
) -> PromptSource:
    """The source named by `prompts.source`: the module gold_style.prompts.<source>, which has a `build` function.

    Args: the whole Settings; the style pack; where quarantined rows are written (None: nowhere, as in a dry run); the tokenizers'
    control tokens, which no text of a row may hold.
    Raises ValueError for the user's mistakes, with file:line or key.
    """
    return import_module(f"gold_style.prompts.{settings.prompts.source}").build(settings, pack, run_directory, special_tokens)
