"""How a tokenizer cuts a piece of text that belongs to one word: the bytes of one token of the *other* vocabulary.

    segment = Segmenter(tokenizer, TokenBytes.from_tokenizer(tokenizer))
    segment("감사합니다".encode())     # (1093, 688): the tokenizer's own merges, on bytes, cut characters included

The tokenizer's model is asked directly, without normaliser, pre-tokeniser and special tokens. Where it cannot answer
(bytes that are no text, for a SentencePiece vocabulary), the longest token that fits is taken again and again.
"""

from transformers import PreTrainedTokenizerBase

from gold_style.tokens.alignment import encode_plain
from gold_style.tokens.token_bytes import LETTER_OF, SPACE_PIECE, TokenBytes


class Segmenter:
    """Callable: bytes -> token ids that cover exactly these bytes; () where the vocabulary has no way to write them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, table: TokenBytes):
        self.table, self.tokenizer = table, tokenizer
        self.model = tokenizer.backend_tokenizer.model
        self.longest = int(table.lengths.max(initial=0))

    def __call__(self, text: bytes) -> tuple[int, ...]:
        exact = self.table.id_of.get(text)
        if exact is not None:
            return (exact,)
        spelled = self._spell(text)
        if spelled is not None:
            ids = tuple(token.id for token in self.model.tokenize(spelled))
            if self.table.join(ids) == text:
                return ids
        return self._longest_match(text)

    def whole(self, text: bytes) -> list[int] | None:
        """The tokenizer's ids of a whole text, pre-tokeniser and all; None where they do not cover it exactly."""
        try:
            text.decode()
        except UnicodeDecodeError:
            return None
        ids, covered = encode_plain(text, self.tokenizer, self.table)
        return ids if covered == len(text) else None

    def _spell(self, text: bytes) -> str | None:
        if self.table.byte_level:
            return "".join([LETTER_OF[byte] for byte in text])
        try:
            return text.decode().replace(" ", SPACE_PIECE)
        except UnicodeDecodeError:
            return None

    def _longest_match(self, text: bytes) -> tuple[int, ...]:
        ids, start = [], 0
        while start < len(text):
            for stop in range(min(len(text), start + self.longest), start, -1):
                token = self.table.id_of.get(text[start:stop])
                if token is not None:
                    ids.append(token)
                    start = stop
                    break
            else:
                return ()
        return tuple(ids)
