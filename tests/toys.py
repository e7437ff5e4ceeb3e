"""Toy parts for tests: a lossless byte-level tokenizer with a ChatML template, small random Qwen2 models, a source of fixed prompts.

Random weights are enough for what these tests show (scale, alignment, masks); style is tested on the embedded pair.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from gold_style.prompts import Prompt
from gold_style.styles import StylePack

CHATML = (
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
PACK = StylePack.from_settings(
    {
        "name": "toy",
        "intro": "규칙을 따르라.",
        "neutral": "none",
        "untagged": "none",
        "styles": {
            "chosun": {"rule": "조선 말투로 답하라.", "verdict": "joseon"},
            "none": {"rule": "현대 말투로 답하라.", "verdict": "modern"},
        },
        "classifier": {"name": "speech_level"},
    }
)


def byte_tokenizer(extra_merges: tuple[tuple[str, str], ...] = ()) -> PreTrainedTokenizerFast:
    """256 bytes, the given merges (in ByteLevel characters), three ChatML specials."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: i for i, piece in enumerate([*alphabet, *("".join(pair) for pair in extra_merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(extra_merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHATML
    return fast


def model(vocab_size: int, *, seed: int = 0, hidden: int = 32, layers: int = 2, scale: float = 0.2, dtype=torch.float32):
    """A random Qwen2; `scale` of the weights sets how peaked its distributions are."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=scale,
        bos_token_id=None,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 3,
    )
    return Qwen2ForCausalLM(config).to(dtype).eval()


def saved(tokenizer, built, directory: Path) -> str:
    """The model and its tokenizer in a directory that from_pretrained reads."""
    built.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


@dataclass
class FixedSource:
    """A source of given prompts, in order, over and over."""

    prompts: list[Prompt]
    notes: list[str] = field(default_factory=list)

    @property
    def num_rows(self) -> int:
        return len(self.prompts)

    @property
    def has_references(self) -> bool:
        return all(prompt.reference is not None for prompt in self.prompts)

    def __getitem__(self, number: int) -> Prompt:
        return self.prompts[number % len(self.prompts)]

    def evaluation(self) -> list[Prompt]:
        return []

    def selection(self) -> list[Prompt]:
        return []


def prompts(num: int, references: bool = True) -> list[Prompt]:
    """Requests and answers of different lengths, tags in turn."""
    nouns = ("봄", "가을 축제", "비", "바다와 산", "책", "오래된 도서관", "말", "김치찌개")
    made = []
    for i in range(num):
        tag = PACK.tags[i % 2]
        answer = "그러하옵니다. " * (1 + i % 4) if references else None
        made.append(Prompt(request=f"{nouns[i % 8]} 이야기 {i}", style=tag, tag=tag, row=i, reference=answer))
    return made
