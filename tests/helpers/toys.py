"""Toy parts for tests: lossless byte-level tokenizers with the common templates, small Qwen2 models, fixed prompts.

Random weights are enough for what these tests show (scale, alignment, masks); style is tested on the embedded pair.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from gold_style.prompts import Prompt
from gold_style.styles import StylePack

CHATML = (
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
QWEN25 = (  # as ChatML, but a conversation without a system turn gets a default one
    "{%- if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. "
    "You are a helpful assistant.<|im_end|>\n' }}{%- endif %}" + CHATML
)
LLAMA3 = (
    "{{ '<|begin_of_text|>' }}{%- for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
    "+ (m['content'] | trim) + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
NO_SYSTEM = "{%- if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{%- endif %}" + CHATML
SILENT_SYSTEM = CHATML.replace("messages %}", "messages if m['role'] != 'system' %}")  # drops system turns without a word
PLAIN = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"  # no special token at all
CHATML_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA3_SPECIALS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
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


def byte_tokenizer(
    extra_merges: tuple[tuple[str, str], ...] = (),
    *,
    specials: tuple[str, ...] = CHATML_SPECIALS,
    eos: str = "<|im_end|>",
    pad: str = "<|endoftext|>",
    template: str = CHATML,
) -> PreTrainedTokenizerFast:
    """256 bytes, the given merges (in ByteLevel characters), the specials; loaded from a directory."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: i for i, piece in enumerate([*alphabet, *("".join(pair) for pair in extra_merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(extra_merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(specials))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, pad_token=pad)
    fast.chat_template = template
    # without a config.json beside it: AutoTokenizer would make a Qwen2Tokenizer of a directory that names qwen2
    directory = Path(tempfile.mkdtemp(prefix="toy-tokenizer-"))
    fast.save_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)


def llama3_tokenizer(extra_merges: tuple[tuple[str, str], ...] = ()) -> PreTrainedTokenizerFast:
    """Another vocabulary and a Llama-3-like template: BOS, headers, `<|eot_id|>`."""
    specials = {"specials": LLAMA3_SPECIALS, "eos": "<|eot_id|>", "pad": "<|end_of_text|>"}
    return byte_tokenizer(extra_merges, **specials, template=LLAMA3)


def model(
    vocab_size: int, *, seed: int = 0, hidden: int = 32, layers: int = 2, scale: float = 0.2, dtype=torch.float32, **config
) -> Qwen2ForCausalLM:
    """A random Qwen2; `scale` of the weights sets how peaked it is; `config` are further fields of Qwen2Config."""
    torch.manual_seed(seed)
    config = {"tie_word_embeddings": True, **config}
    settings = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=scale,
        bos_token_id=None,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 3,
        **config,
    )
    return Qwen2ForCausalLM(settings).to(dtype).eval()


def scripted_model(vocab_size: int, chain: list[int], *, sharpness: float = 40.0) -> Qwen2ForCausalLM:
    """A model that continues each id of `chain` with the next one (ids must differ), and anything else with chain[0].

    Embeddings are one-hot and the layers add nothing, so that the head alone says what follows what.
    """
    assert len(set(chain)) == len(chain)
    built = model(vocab_size, hidden=-(-vocab_size // 8) * 8, layers=1, tie_word_embeddings=False)
    with torch.no_grad():
        layer = built.model.layers[0]
        for parameter in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight, built.lm_head.weight):
            parameter.zero_()
        built.model.embed_tokens.weight.copy_(torch.eye(*built.model.embed_tokens.weight.shape))
        built.lm_head.weight[chain[0]] = sharpness
        for previous, following in zip(chain, chain[1:], strict=False):
            built.lm_head.weight[chain[0], previous] = 0
            built.lm_head.weight[following, previous] = sharpness
    return built


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
