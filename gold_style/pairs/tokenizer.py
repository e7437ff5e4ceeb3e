"""Tokenizers of the embedded pairs: lossless byte-level BPE in which every common Hangul syllable is one token.

A small model copies a word it has never seen only if the word comes apart into tokens it knows, always in the same
way. So the merges are laid down by hand where BPE would learn others: first bytes -> each of the 2,350 syllables of KS
X 1001, then merges learned over syllables of texts whose topics are masked, last a space before whole words of those
texts. A topic is [space] [syllable] ... wherever it comes.

Example: `build_tokenizer(texts, "chatml")` gives a tokenizer that `AutoTokenizer.from_pretrained` loads after
`save_pretrained`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from gold_style.pairs.corpus import TOPIC_MASKS
from gold_style.prompts.dynamic import SYLLABLES

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TRAILING = WORDS.replace(r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\p{L}+ ?")  # a space goes with the word before it
PARTICLES = "은는이가을를의에께로도게"  # that a space is merged with where it trails
MASKED = Regex(f"[{''.join(TOPIC_MASKS)}]")
TEMPLATES = yaml.safe_load(Path(__file__).with_name("templates.yaml").read_text(encoding="utf-8"))
ALPHABET = [character for _, character in sorted(bytes_to_unicode().items())]  # GPT-2's printable character for each byte


def spelled(text: str) -> str:
    """`text` in the alphabet of byte-level BPE."""
    return "".join(ALPHABET[byte] for byte in text.encode())


def learned_merges(texts: Iterable[str], number: int, words: str) -> list[tuple[str, str]]:
    """The first `number` BPE merges over the characters of `texts`, neither across a space nor into a masked topic."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated") for pattern in (MASKED, Regex(words), Regex(" "))]
    )
    trainer = trainers.BpeTrainer(vocab_size=1000 + number, special_tokens=[], show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(texts, trainer)
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"][:number]]


def spaced_words(texts: Sequence[str], merges: Sequence[tuple[str, str]], fewest: int = 3) -> list[tuple[str, str]]:
    """Merges of a space with each word that is one token by `merges`, commonest first; rarer ones than `fewest` are
    left out."""
    whole = {"".join(merge) for merge in merges}
    splitter = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated") for pattern in (MASKED, Regex(WORDS))])
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text) if word[0] == " " and word[1:] in whole)
    return [(" ", word[1:]) for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])) if count >= fewest]


def cut(text: str) -> str:
    """`text` with every word cut before its last syllable, where no merge will then reach across."""
    return re.sub(r"([가-힣])(?=[가-힣](?![가-힣]))", rf"\1{TOPIC_MASKS[0]}", text)


def build_tokenizer(texts: Sequence[str], template: str, merges: int = 600, crossing: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer with the chat template `chatml` or `llama` and `merges` learned merges.

    From the same texts, fewer merges give a finer segmentation; `crossing` gives one that is neither finer nor
    coarser, since words are cut at other places and a space goes with the particle before it.
    """
    specials, words = TEMPLATES[template]["special_tokens"], TRAILING if crossing else WORDS
    learned = learned_merges(map(cut, texts) if crossing else texts, merges, words)
    learned += [(particle, " ") for particle in PARTICLES] if crossing else spaced_words(texts, learned)
    spellings = [spelled(syllable) for syllable in SYLLABLES]  # three bytes each
    pairs = [(s[0], s[1]) for s in spellings] + [(s[:2], s[2]) for s in spellings]
    pairs += [(spelled(left), spelled(right)) for left, right in learned]
    pairs = list(dict.fromkeys(pairs))
    vocabulary = dict.fromkeys([*specials, *ALPHABET, *(left + right for left, right in pairs)])
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(vocabulary)}, merges=pairs))
    tokenizer.add_special_tokens(specials)
    if template == "chatml":  # as Qwen's, which transformers loads for a model of Qwen's architecture, whatever is saved
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=specials[-1], pad_token=specials[0], clean_up_tokenization_spaces=False
    )
    fast.chat_template = TEMPLATES[template]["chat_template"]
    return fast


def tokenizer_texts(corpus, rng, number: int = 4000) -> list[str]:
    """What the merges are learned from: masked requests and answers, tags, roles, and the system prompts often enough
    to count."""
    tags = [f"<style:{tag}> " for tag in corpus.tags]
    systems = corpus.system_texts()
    texts = [text for text in systems for _ in range(40)] + systems[:3] * 200
    texts += [text for text in tags for _ in range(800)]
    texts += [f"{role}\n" for role in ("system", "user", "assistant") for _ in range(500)]
    return texts + corpus.masked_texts(rng, number)
