"""The exact bytes of every token id, the common ground of two tokenizers.

    table = TokenBytes.from_tokenizer(tokenizer)
    table.join(completion_ids)                    # the completion's bytes; special tokens have none

Two families are read: byte-level BPE (GPT-2, Qwen, Llama 3), whose vocabulary spells bytes in a printable alphabet, and
SentencePiece-style vocabularies (Llama 2, Gemma, Mistral), which write a space as U+2581 and a lone byte as `<0xE2>`.
"""

import json
import re
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPACE_PIECE = "\u2581"
BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")


LETTER_OF = bytes_to_unicode()  # GPT-2's printable character for each byte
BYTE_OF = {letter: byte for byte, letter in LETTER_OF.items()}


@dataclass(frozen=True, eq=False)
class TokenBytes:
    """Bytes per token id. Ids from `len(table)` on are padding rows of a model's head: no token, never scored.

    `special` says which ids are control tokens (stop, padding, chat markers); their bytes are b"". Holes in the
    vocabulary count as special. `fallback` marks SentencePiece's `<0xE2>` pieces.
    """

    pieces: tuple[bytes, ...]
    special: np.ndarray  # (V,) bool
    fallback: np.ndarray  # (V,) bool
    byte_level: bool

    def __len__(self) -> int:
        return len(self.pieces)

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, stop_ids: Iterable[int] = ()) -> "TokenBytes":
        """The table of a tokenizer, cached. `stop_ids` are special even where the tokenizer does not say so.

        Raises ValueError for a tokenizer of neither family (no backend, WordPiece, ...).
        """
        key = len(tokenizer), frozenset(stop_ids)
        tables = _TABLES.setdefault(tokenizer, {})
        if key not in tables:
            tables[key] = cls._read(tokenizer, key[1])
        return tables[key]

    @classmethod
    def _read(cls, tokenizer: PreTrainedTokenizerBase, stop_ids: frozenset[int]) -> "TokenBytes":
        described = _backend(tokenizer)
        byte_level = _mentions(described, "ByteLevel")
        added = {token["id"]: token for token in described.get("added_tokens", [])}
        control = set(tokenizer.all_special_ids) | stop_ids | {i for i, token in added.items() if token["special"]}
        vocabulary = tokenizer.get_vocab()
        size = max(vocabulary.values()) + 1
        pieces, special, fallback = [b""] * size, np.ones(size, dtype=bool), np.zeros(size, dtype=bool)
        for text, index in vocabulary.items():
            if index in control:
                continue
            if index in added:  # `<tool_call>` and the like: ordinary text, in its own spelling
                pieces[index] = added[index]["content"].encode()
            elif byte_level:
                pieces[index] = _byte_level_piece(text)
            else:
                pieces[index], fallback[index] = _sentence_piece(text)
            special[index] = not pieces[index]
        return cls(pieces=tuple(pieces), special=special, fallback=fallback, byte_level=byte_level)

    def join(self, ids: Sequence[int]) -> bytes:
        """The bytes of a sequence; special ids and padding rows add none."""
        return b"".join([self.pieces[index] for index in ids if index < len(self.pieces)])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Bytes of each token, (V,)."""
        return np.fromiter(map(len, self.pieces), dtype=np.int64, count=len(self.pieces))

    def lengths_of(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Bytes of each id of a sequence; special ids and padding rows have none."""
        array = np.asarray(ids, dtype=np.int64)
        return np.where(array < len(self), self.lengths[np.minimum(array, len(self) - 1)], 0)

    def ends(self, ids: Sequence[int]) -> np.ndarray:
        """Where each id ends in `join(ids)`, in bytes."""
        return np.cumsum(self.lengths_of(ids))

    def text_length(self, ids: Sequence[int]) -> int:
        """How many leading ids are text: the position of the first special id or padding row."""
        array = np.asarray(ids, dtype=np.int64)
        stops = (array >= len(self)) | self.special[np.minimum(array, len(self) - 1)]
        return int(stops.argmax()) if stops.any() else len(array)

    @cached_property
    def id_of(self) -> dict[bytes, int]:
        """Bytes -> text token. Where several ids share bytes (`A` and `<0x41>`): the first that is no fallback."""
        text_ids = np.flatnonzero(~self.special)
        table: dict[bytes, int] = {}
        for index in text_ids[np.argsort(self.fallback[text_ids], kind="stable")].tolist():
            table.setdefault(self.pieces[index], index)
        return table

    @cached_property
    def id_of_byte(self) -> list[int] | None:
        """The token of each of the 256 single bytes; None where one is missing."""
        single = np.flatnonzero((self.lengths == 1) & ~self.special)
        order = single[np.argsort(self.fallback[single], kind="stable")].tolist()  # fallback pieces last: they stay
        found = {self.pieces[index][0]: index for index in order}
        return [found[byte] for byte in range(256)] if len(found) == 256 else None


_TABLES: "weakref.WeakKeyDictionary[PreTrainedTokenizerBase, dict[tuple, TokenBytes]]" = weakref.WeakKeyDictionary()


def _backend(tokenizer: PreTrainedTokenizerBase) -> dict:
    """The tokenizer.json of a tokenizer of one of the two families; ValueError for any other."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(
            f"{type(tokenizer).__name__} has no fast backend: two tokenizers can only be aligned byte by byte when "
            "both have one (load it as PreTrainedTokenizerFast, or use loss=seq_kd)"
        )
    described = json.loads(backend.to_str())
    known = described["model"].get("byte_fallback") or _mentions(described, "Metaspace")
    if not known and not _mentions(described, "ByteLevel"):
        raise ValueError(
            f"{type(tokenizer).__name__} with a {described['model'].get('type')} model is neither byte-level BPE "
            "nor SentencePiece with byte fallback: the exact bytes of its tokens are not known"
        )
    return described


def _mentions(described: dict, kind: str) -> bool:
    return any(f'"type": "{kind}"' in json.dumps(described.get(part)) for part in ("pre_tokenizer", "decoder"))


def _byte_level_piece(text: str) -> bytes:
    try:
        return bytes(BYTE_OF[letter] for letter in text)
    except KeyError:  # a token added without being declared so: its letters are not the byte alphabet's
        return text.encode()


def _sentence_piece(text: str) -> tuple[bytes, bool]:
    """-> (bytes, is a fallback piece)."""
    byte = BYTE_PIECE.match(text)
    return (bytes([int(byte.group(1), 16)]), True) if byte else (text.replace(SPACE_PIECE, " ").encode(), False)
