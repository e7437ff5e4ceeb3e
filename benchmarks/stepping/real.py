"""The row with real weights: SmolLM2-135M-Instruct as its own teacher, with the first requests of the pack bard.

Only the teacher reads the pack's rule and eight example turns. A prompt of the student's is about 40 tokens long, with the system
block that the model's own template writes. The student may stop before it has written all its new tokens, as in a run: at first it does
so in one row of eight.
"""

import functools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from gold_style.chat import Chat, encode
from gold_style.config.settings import Settings
from gold_style.pairs.smollm2 import INSTALL, directory
from gold_style.prompts import Prompt, build_source
from gold_style.styles import StylePack
from stepping.shapes import Body, Shape, Texts, load_tokenizer

NAME = "smollm2"  # of the row, and of its pair in PAIRS
WINDOW, NEW_TOKENS = 16, 48
PAD = "<|endoftext|>"  # the model has no padding token of its own, and TRL's trainers would take the stop token for one
OVERRIDES = ("model=smollm2", "styles=bard", "styles.few_shots=8", "tracker=none")


def missing() -> str | None:
    """Why the row cannot be measured, with the command that helps; None where it can."""
    if (directory() / "config.json").is_file():
        return None
    return f"{NAME}: left out, because {directory()} is not there: {INSTALL} && python -m gold_style.pairs.smollm2"


class RealShape(Shape):
    """`system_tokens`: of the teacher's system turn and example turns, on average over the window's rows."""

    @classmethod
    def of(cls, window: int = WINDOW, new_tokens: int = NEW_TOKENS) -> "RealShape":
        vocab = AutoConfig.from_pretrained(directory()).vocab_size
        shape = cls(vocab=vocab, system_tokens=1, window=window, new_tokens=new_tokens)
        prefixes = [len(shape.chat().teacher_ids(prompt).prefix) for prompt in shape.texts().prompts]
        return replace(shape, system_tokens=round(sum(prefixes) / len(prefixes)))

    @property
    def vocab_size(self) -> int:
        return len(load_tokenizer(self))

    def tokenizer_directory(self) -> Path:
        return _tokenizer_directory(directory())

    def texts(self) -> Texts:
        return _texts(self.tokenizer_directory(), self.window, self.new_tokens)

    def model(self, body: Body, seed: int) -> PreTrainedModel:
        model = AutoModelForCausalLM.from_pretrained(directory(), dtype=torch.float32)
        for parameter in model.parameters():  # read them now: pages of the file that come later would count as a step's memory
            parameter.data = parameter.data.clone()
        return model


@dataclass(frozen=True)
class BardTexts(Texts):
    """`systems` is empty: the pack has the texts."""

    settings: Settings

    @property
    def pack(self) -> StylePack:
        return StylePack.from_settings(self.settings.styles)


@functools.cache
def _tokenizer_directory(model: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(model, pad_token=PAD)
    found = Path(tempfile.mkdtemp(prefix="step-tokenizer-"))
    tokenizer.save_pretrained(found)
    return found


@functools.cache
def _texts(tokenizer_directory: Path, window: int, new_tokens: int) -> BardTexts:
    """The first rows of seed 0; their answers, for the measurement of memory, are the pack's examples, cut to length."""
    settings = Settings.compose(*OVERRIDES)
    pack = StylePack.from_settings(settings.styles)
    source, tokenizer = build_source(settings, pack), AutoTokenizer.from_pretrained(tokenizer_directory)

    def answer(style: str) -> str:
        text = " ".join(shot.answer for shot in pack.style(style).few_shots)
        return tokenizer.decode(encode(tokenizer, text)[: new_tokens - 1])

    chat = Chat(tokenizer, tokenizer, pack)

    def length(prompt: Prompt) -> int:
        ids = chat.teacher_ids(prompt)
        return len(ids.prefix + ids.rest)

    prompts = sorted((source[number] for number in range(window)), key=length)  # the longest last: stock's memory is measured with it
    return BardTexts([replace(prompt, row=i, reference=answer(prompt.style)) for i, prompt in enumerate(prompts)], {}, settings)
