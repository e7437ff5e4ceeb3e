"""What one row of the benchmark measures: random models of given sizes, a tokenizer, prompts and a system prompt of exact length.
(The row with real weights is in stepping/real.py.)

The toy pair keeps the proportions of Qwen2.5 3B and 1.5B (body to body, head to body at a vocabulary of 8,192). Weights are random, but
the final norm is scaled until logits spread as a language model's do; a flat distribution would make sampling and divergence too easy
for some and too hard for others. The stop token is never sampled, so every completion has `new_tokens` tokens.
"""

import functools
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from gold_style.chat import Chat, encode, render
from gold_style.prompts import Prompt
from gold_style.styles import StylePack

TAGS = ("chosun", "none")
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
LOGIT_STD = 4.5  # standard deviation of a token's logits, about that of a small language model
FRAME = ("rule", "style", *TAGS, "user", "assistant", "system")  # words that are one token without a space before them
NUM_PLAIN = 256 + len(FRAME)  # bytes and FRAME: tokens that are never drawn for a text
SYSTEM_TURN_TOKENS = 6  # of <|im_start|>system\n, the system text's first word and <|im_end|>\n
PROMPT_TOKENS = (30, 60)  # shortest and longest prompt of a window, evenly spread between
BETA = 0.3


@dataclass(frozen=True)
class Body:
    """Sizes of one model, as transformers' Qwen2Config names them."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int


@dataclass(frozen=True)
class Pair:
    teacher: Body
    student: Body


PAIRS = {
    "toy": Pair(Body(512, 8, 8, 2, 2752), Body(384, 6, 6, 2, 2240)),
    "qwen": Pair(Body(2048, 36, 16, 2, 11008), Body(1536, 28, 12, 2, 8960)),  # Qwen2.5 3B and 1.5B
    "smallest": Pair(Body(64, 2, 4, 2, 128), Body(32, 2, 4, 2, 64)),  # for tests
    "smollm2": Pair(Body(576, 30, 9, 3, 1536), Body(576, 30, 9, 3, 1536)),  # SmolLM2-135M-Instruct, its own teacher
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One row: vocabulary rows of both heads, tokens of the teacher's system turn, rows of a step, tokens of a completion."""

    vocab: int
    system_tokens: int
    window: int
    new_tokens: int = 128

    @property
    def vocab_size(self) -> int:
        """Tokens of the tokenizer: as with Qwen2.5, fewer than the head has rows."""
        return self.vocab - max(8, self.vocab // 560)

    def tokenizer_directory(self) -> Path:
        return tokenizer_directory(self.vocab_size)

    def texts(self) -> "Texts":
        return _made_up_texts(self)

    def chat(self) -> Chat:
        """What either side reads; without a system turn where the row has none."""
        tokenizer = load_tokenizer(self)
        return Chat(tokenizer, tokenizer, self.texts().pack, teacher_system_prompt=None if self.system_tokens else "")

    def model(self, body: Body, seed: int) -> PreTrainedModel:
        """In float32, wherever new tensors are made."""
        return _random_model(body, self, seed)


@functools.cache
def _words(vocab_size: int) -> list[str]:
    """So many different words of three to six letters, each one token when a space stands before it."""
    draw, words = random.Random(0), {}
    while len(words) < vocab_size:
        words["".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randint(3, 6)))] = None
    return list(words)


@functools.cache
def tokenizer_directory(vocab_size: int) -> Path:
    """A byte-level tokenizer with one token per word, ChatML turns, saved where both trainers can load it."""
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *FRAME]
    pieces += ["Ġ" + word for word in _words(vocab_size)[: vocab_size - len(pieces) - len(SPECIALS)]]
    tokenizer = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHATML
    directory = Path(tempfile.mkdtemp(prefix="step-tokenizer-"))
    fast.save_pretrained(directory)
    return directory


def load_tokenizer(shape: Shape) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(shape.tokenizer_directory())


def build_model(body: Body, shape: Shape, seed: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> PreTrainedModel:
    """One of the shape's models; real weights have no `body` and `seed` to choose."""
    with torch.device(device):
        model = shape.model(body, seed)
    for parameter in model.parameters():  # not the buffers: rotary frequencies stay exact
        parameter.data = parameter.data.to(dtype)
    return model


def _random_model(body: Body, shape: Shape, seed: int) -> Qwen2ForCausalLM:
    """A random Qwen2 with tied embeddings; bytes and special tokens have small ones, so that they are hardly ever sampled.

    Not zero: a prompt begins with such tokens, their states would then be zero in every layer, and each norm's gradient at zero
    is 1,000 times its input's. After the 28 layers of a 1.5B model that is no number any more.
    """
    torch.manual_seed(seed)
    stop, pad = shape.vocab_size - 1, shape.vocab_size - len(SPECIALS)
    config = Qwen2Config(
        vocab_size=shape.vocab,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=stop,
        pad_token_id=pad,
        **vars(body),
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        embedding = model.get_input_embeddings().weight
        embedding[:NUM_PLAIN] *= 0.1
        embedding[pad:] *= 0.1
        model.model.norm.weight.mul_(LOGIT_STD / (config.initializer_range * body.hidden_size**0.5))
    model.generation_config = GenerationConfig(eos_token_id=stop, pad_token_id=pad)
    return model


@dataclass(frozen=True)
class Texts:
    """Requests of one window with answers, and the two styles' system texts (empty: none)."""

    prompts: list[Prompt]
    systems: dict[str, str]

    @property
    def pack(self) -> StylePack:
        return StylePack.from_settings(
            {
                "name": "benchmark",
                "neutral": TAGS[1],
                "untagged": TAGS[1],
                "teacher_prompt": "per_style",
                "styles": {tag: {"rule": self.systems[tag] or "rule", "verdict": tag} for tag in TAGS},
            }
        )


def texts(shape: Shape) -> Texts:
    return shape.texts()


def _made_up_texts(shape: Shape) -> Texts:
    """Prompts whose lengths spread evenly over PROMPT_TOKENS, the same in every window; each style has its own system text."""
    assert shape.system_tokens == 0 or shape.system_tokens > SYSTEM_TURN_TOKENS
    tokenizer, draw = load_tokenizer(shape), random.Random(3)
    known = _words(shape.vocab_size)[: shape.vocab_size - NUM_PLAIN - len(SPECIALS)]

    def words(count: int) -> str:
        return " ".join(draw.choices(known, k=count))

    prompts = []
    for row in range(shape.window):
        tag = TAGS[row % 2]
        frame = encode(tokenizer, render(tokenizer, [{"role": "user", "content": f"<style:{tag}>"}]))
        target = PROMPT_TOKENS[0] + round((PROMPT_TOKENS[1] - PROMPT_TOKENS[0]) * row / max(1, shape.window - 1))
        request = words(max(1, target - len(frame)))
        answer = " " + words(max(1, shape.new_tokens - 1))  # the stop token is the last one
        prompts.append(Prompt(request=request, style=tag, tag=tag, row=row, reference=answer))
    num_words = shape.system_tokens - SYSTEM_TURN_TOKENS
    return Texts(prompts, {tag: f"rule {words(num_words)}" if shape.system_tokens else "" for tag in TAGS})


def same_for_all(shape: Shape, directory: Path, steps: int, device: str, bf16: bool | None = None) -> dict:
    """The trainer arguments in which no side differs from another. `bf16` None: on a GPU."""
    return {
        "output_dir": str(directory),
        "max_steps": steps,
        "learning_rate": 1e-5,
        "use_cpu": device == "cpu",
        "bf16": device == "cuda" if bf16 is None else bf16,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "beta": BETA,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_completion_length": shape.new_tokens,
    }
