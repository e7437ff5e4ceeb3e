"""Two tokenisations of the same bytes: how a completion reaches the teacher, and which tokens correspond.

    teacher_ids, reason = retokenise(completion_ids, student_bytes, teacher_tokenizer, finished, teacher_stop_id)
    spans = align(completion_ids, teacher_ids, student_bytes, teacher_bytes)

The student's completion becomes bytes, the bytes become the teacher's tokens, and both are cut at the byte positions at
which both have a token boundary. Nothing is taken on trust: bytes are compared, and what differs is left unaligned,
so that the caller counts it (tokens of a completion minus tokens in spans).
"""

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from gold_style.tokens.token_bytes import TokenBytes

Span = tuple[int, int, int, int]  # student tokens [s0, s1) and teacher tokens [t0, t1) that cover the same bytes

ANCHORS = ("\n", "a", ".")  # texts to encode in front, for tokenizers that put a space before a text's first word


def align(student_ids: Sequence[int], teacher_ids: Sequence[int], student_bytes: TokenBytes, teacher_bytes: TokenBytes) -> list[Span]:
    """Spans between common byte boundaries, in order, without gaps from the first token on.

    A special token that ends both sequences is the stop token and a span of its own, whichever ids the two sides use,
    if the bytes before are equal to the last one. From a special token elsewhere, or from the first byte that differs,
    nothing is aligned.
    """
    num_student, num_teacher = student_bytes.text_length(student_ids), teacher_bytes.text_length(teacher_ids)
    student_ends, teacher_ends = student_bytes.ends(student_ids[:num_student]), teacher_bytes.ends(teacher_ids[:num_teacher])
    student_text = student_bytes.join(student_ids[:num_student])
    teacher_text = teacher_bytes.join(teacher_ids[:num_teacher])
    boundaries = np.intersect1d(student_ends, teacher_ends, assume_unique=True)
    if student_text != teacher_text:
        boundaries = boundaries[boundaries <= _common_prefix(student_text, teacher_text)]
    stops = [(np.searchsorted(ends, boundaries) + 1).tolist() for ends in (student_ends, teacher_ends)]
    spans = [(s0, s1, t0, t1) for (s0, t0), (s1, t1) in itertools.pairwise([(0, 0), *zip(*stops, strict=True)])]
    if student_text == teacher_text and num_student == len(student_ids) - 1 and num_teacher == len(teacher_ids) - 1:
        spans.append((num_student, num_student + 1, num_teacher, num_teacher + 1))
    return spans


def _common_prefix(a: bytes, b: bytes) -> int:
    size = min(len(a), len(b))
    differ = np.frombuffer(a, np.uint8, size) != np.frombuffer(b, np.uint8, size)
    return int(differ.argmax()) if differ.any() else size


def retokenise(
    completion_ids: Sequence[int],
    student_bytes: TokenBytes,
    teacher_tokenizer: PreTrainedTokenizerBase,
    finished: bool,
    teacher_stop_id: int,
) -> tuple[list[int] | None, str]:
    """-> (the teacher's ids of the completion's bytes, how it went); ids are None where nothing can be scored.

    The student's stop token, whichever it is, is taken off; the teacher's is put on where the student really stopped
    (`finished`) and every byte before it is covered. Text that looks like a special token is encoded as plain text.
    How it went: "exact"; "byte_fallback" (broken UTF-8 inside, passed on as single-byte tokens); or the ids cover only
    the longest usable beginning, because of "special_token" (a control token amid the text), "cut_character" (an
    unfinished completion ends inside a character), "invalid_utf8" (and the teacher has no byte tokens), or
    "normalised" (the teacher's normaliser changes the bytes, e.g. NFD text under NFC); "empty" (nothing to score).
    """
    teacher_bytes = TokenBytes.from_tokenizer(teacher_tokenizer)
    num_text = student_bytes.text_length(completion_ids)
    text = student_bytes.join(completion_ids[:num_text])
    reason = "exact"
    if num_text < len(completion_ids) - 1 or (num_text < len(completion_ids) and not finished):
        reason = "special_token"
    teacher_ids: list[int] = []
    for segment, is_text, is_last in _segments(text):
        if is_text:
            ids, covered = encode_plain(segment, teacher_tokenizer, teacher_bytes)
            teacher_ids += ids
            if covered < len(segment):
                reason = "normalised"
                break
        elif is_last and not finished and _is_cut_character(segment):
            reason = "cut_character"
        elif teacher_bytes.id_of_byte is None:
            reason = "invalid_utf8"
            break
        else:
            teacher_ids += [teacher_bytes.id_of_byte[byte] for byte in segment]
            reason = "byte_fallback" if reason == "exact" else reason
    if finished and reason in ("exact", "byte_fallback"):
        teacher_ids.append(teacher_stop_id)
    if not teacher_ids:
        return None, "empty" if reason == "exact" else reason
    return teacher_ids, reason


def _segments(text: bytes) -> Iterator[tuple[bytes, bool, bool]]:
    """Maximal runs of valid UTF-8 and the pieces that are none -> (bytes, is text, is last)."""
    while text:
        try:
            text.decode()
            yield text, True, True
            return
        except UnicodeDecodeError as error:
            if error.start:
                yield text[: error.start], True, False
            yield text[error.start : error.end], False, error.end == len(text)
            text = text[error.end :]


def _is_cut_character(piece: bytes) -> bool:
    """True where `piece` could be the beginning of a character: a lead byte and too few continuation bytes."""
    lead = piece[0]
    width = 2 if 0xC2 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0 else 4 if 0xF0 <= lead < 0xF5 else 0
    return len(piece) < width


@functools.lru_cache(maxsize=8)
def _plain_backend(tokenizer: PreTrainedTokenizerBase, size: int) -> Tokenizer:
    """A copy of the backend that reads special tokens in a text as plain text, without padding or truncation.

    The cache holds `size` = len(tokenizer) in its key, so tokens added later make a new copy.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    backend.no_padding()
    backend.no_truncation()
    return backend


def encode_plain(text: bytes, tokenizer: PreTrainedTokenizerBase, table: TokenBytes) -> tuple[list[int], int]:
    """-> (ids whose bytes are the beginning of `text`, number of bytes covered).

    A tokenizer that puts a space before every text is asked again with a short text in front, which is cut off afterwards.
    """
    backend = _plain_backend(tokenizer, len(tokenizer))
    best: tuple[list[int], int] = ([], 0)
    for anchor in ("", *ANCHORS):
        head = backend.encode(anchor, add_special_tokens=False).ids if anchor else []
        ids = backend.encode(anchor + text.decode(), add_special_tokens=False).ids
        if ids[: len(head)] != head:
            continue
        ids = ids[len(head) :]
        num_text = table.text_length(ids)
        covered = _common_prefix(table.join(ids[:num_text]), text)
        ends = table.ends(ids[:num_text])
        whole = int(np.searchsorted(ends, covered, side="right"))  # tokens that lie wholly inside the common bytes
        covered = int(ends[whole - 1]) if whole else 0
        if covered == len(text):
            return ids[:whole], covered
        if covered > best[1]:
            best = ids[:whole], covered
    return best
