"""Small real tokenizers of every family that the losses meet, trained on a few sentences within milliseconds."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "감사합니다. 안녕하세요, 반갑습니다. 오늘 날씨가 좋습니다.",
    "그대의 뜻을 알겠사옵니다. 통촉하여 주시옵소서.",
    "hello world, the weather is nice today. Thank you!",
    "나는 학교에 갑니다. 나는 밥을 먹었습니다.",
] * 5
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA_SPECIALS = ["<|finetune_right_pad_id|>", "<|begin_of_text|>", "<|eot_id|>"]


def byte_level(merges=120, specials=QWEN_SPECIALS, texts=TEXTS, words=WORDS, normalizer=None, added=()):
    """Qwen- or Llama-3-like byte-level BPE with `merges` learned merges; the last special is the stop."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizer
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "isolated"), spell])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = 256 + len(specials) + merges
    options = {"special_tokens": specials, "initial_alphabet": alphabet, "show_progress": False}
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, **options))
    backend.add_tokens([AddedToken(text, special=False) for text in added])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=specials[-1], pad_token=specials[0])


def sentence_piece(merges=150, texts=TEXTS):
    """Llama-2-like BPE with U+2581 spaces, byte fallback, and a space put before every text."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    specials = ["<unk>", "<s>", "</s>"]
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=350 + merges, special_tokens=specials + fallback, show_progress=False)
    )
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    described = json.loads(backend.to_str())
    described["added_tokens"] = [token for token in described["added_tokens"] if token["content"] in specials]
    backend = Tokenizer.from_str(json.dumps(described))
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", pad_token="<unk>")


def nfc_byte_level(merges=120):
    return byte_level(merges, specials=LLAMA_SPECIALS, normalizer=normalizers.NFC())
