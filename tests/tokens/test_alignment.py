"""tokens/alignment: bytes of tokens, the way of a completion to another tokenizer, and spans that never lie."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gold_style.tokens.alignment import align, retokenise
from gold_style.tokens.identical import identical_tokenizers
from gold_style.tokens.token_bytes import TokenBytes
from tests.helpers.toy_tokenizers import LLAMA_SPECIALS, byte_level, nfc_byte_level, sentence_piece

QWEN = byte_level(merges=120)
LLAMA = byte_level(merges=300, specials=LLAMA_SPECIALS, words=r"\p{L}+|\s|[^\s\p{L}]")
FINE = byte_level(merges=5, specials=LLAMA_SPECIALS)
NFC = nfc_byte_level()
PIECES = sentence_piece()
TEACHERS = {"llama": LLAMA, "fine": FINE, "nfc": NFC, "pieces": PIECES, "same": QWEN}


def stop_of(tokenizer):
    return tokenizer.eos_token_id


def passed_on(ids, teacher, finished, student=QWEN):
    """-> teacher ids, reason, spans; checks what must hold for every completion."""
    student_bytes, teacher_bytes = TokenBytes.from_tokenizer(student), TokenBytes.from_tokenizer(teacher)
    teacher_ids, reason = retokenise(ids, student_bytes, teacher, finished, stop_of(teacher))
    if teacher_ids is None:
        return None, reason, []
    spans = align(ids, teacher_ids, student_bytes, teacher_bytes)
    s_end = t_end = 0
    for s0, s1, t0, t1 in spans:
        assert (s0, t0) == (s_end, t_end) and s0 < s1 <= len(ids) and t0 < t1 <= len(teacher_ids)
        s_end, t_end = s1, t1
        s_bytes, t_bytes = student_bytes.join(ids[s0:s1]), teacher_bytes.join(teacher_ids[t0:t1])
        assert s_bytes == t_bytes
        if not s_bytes:  # only a stop token has no bytes
            assert (s1, t1) == (len(ids), len(teacher_ids)) and s1 - s0 == t1 - t0 == 1
            assert finished and ids[-1] in QWEN.all_special_ids and teacher_ids[-1] == stop_of(teacher)
    if reason in ("exact", "byte_fallback"):
        assert s_end == len(ids) and t_end >= len(teacher_ids) - 1
    return teacher_ids, reason, spans


@pytest.mark.parametrize("tokenizer", [QWEN, LLAMA, FINE, PIECES], ids=["qwen", "llama", "fine", "pieces"])
def test_token_bytes_rebuild_every_text(tokenizer):
    table = TokenBytes.from_tokenizer(tokenizer)
    for text in ("감사합니다 안녕", "emoji 😀🇰🇷\n\ttab", unicodedata.normalize("NFD", "각하"), "<|im_end|> a", "é"):
        ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        if tokenizer is QWEN:
            ids = [i for i in ids if i not in tokenizer.all_special_ids]
            text = text.replace("<|im_end|>", "")
        assert table.join(ids).decode().removeprefix(" " if tokenizer is PIECES else "") == text
    assert all(table.pieces[i] == b"" and table.special[i] for i in tokenizer.all_special_ids)
    assert len(table) == len(tokenizer) and table.id_of_byte is not None
    assert [table.pieces[i] for i in table.id_of_byte] == [bytes([byte]) for byte in range(256)]


def test_token_bytes_prefer_the_ordinary_piece_to_a_byte_piece():
    table = TokenBytes.from_tokenizer(PIECES)
    assert PIECES.convert_ids_to_tokens(table.id_of[b"a"]) == "a"
    assert PIECES.convert_ids_to_tokens(table.id_of_byte[ord("a")]) == "<0x61>"


def test_added_text_tokens_keep_their_bytes_and_stop_ids_lose_them():
    tokenizer = byte_level(added=["<tool_call>", "한글"])
    table = TokenBytes.from_tokenizer(tokenizer)
    ids = tokenizer.convert_tokens_to_ids(["<tool_call>", "한글"])
    assert table.join(ids) == "<tool_call>한글".encode()
    stopping = TokenBytes.from_tokenizer(tokenizer, stop_ids=[ids[0]])
    assert stopping.special[ids[0]] and stopping.join(ids) == "한글".encode()
    assert not table.special[ids[0]]


def test_a_tokenizer_whose_bytes_are_unknown_is_refused():
    backend = Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ValueError, match="neither byte-level BPE nor SentencePiece"):
        TokenBytes.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend))


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("text", ["감사합니다.", " 안녕하세요, 반갑습니다!", "hello world", "😀 이모지 👩‍👩‍👧", "\n\n줄\t바꿈", "  두 칸"])
def test_ordinary_text_is_covered_to_the_last_token(name, text):
    ids = QWEN.encode(text) + [stop_of(QWEN)]
    teacher_ids, reason, spans = passed_on(ids, TEACHERS[name], finished=True)
    assert reason == "exact"
    assert spans[-1] == (len(ids) - 1, len(ids), len(teacher_ids) - 1, len(teacher_ids))
    assert sum(s1 - s0 for s0, s1, _, _ in spans) == len(ids)


def test_stop_is_put_on_only_where_the_student_stopped():
    ids = QWEN.encode("감사합니다")
    for tail in ([stop_of(QWEN)], [QWEN.pad_token_id], []):  # <|endoftext|> is a stop of its own in many models
        teacher_ids, reason, spans = passed_on(ids + tail, LLAMA, finished=True)
        assert teacher_ids.count(stop_of(LLAMA)) == 1 and teacher_ids[-1] == stop_of(LLAMA) and reason == "exact"
        assert spans[-1][1] == len(ids + tail) and (spans[-1][3] == len(teacher_ids)) == bool(tail)
    teacher_ids, reason, spans = passed_on(ids, LLAMA, finished=False)
    assert stop_of(LLAMA) not in teacher_ids and reason == "exact"


def test_a_completion_that_stops_at_once_has_the_stop_alone():
    assert passed_on([stop_of(QWEN)], LLAMA, finished=True) == ([stop_of(LLAMA)], "exact", [(0, 1, 0, 1)])
    assert passed_on([], LLAMA, finished=False) == (None, "empty", [])


def test_special_token_look_alikes_stay_text_on_the_teacher_s_side():
    """Typed as plain text by the student, `<|eot_id|>` must not end the teacher's turn."""
    backend = Tokenizer.from_str(QWEN.backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    ids = backend.encode("쓰면 <|eot_id|> 와 <|im_end|> 는", add_special_tokens=False).ids
    assert not set(ids) & set(QWEN.all_special_ids)
    for teacher in (LLAMA, QWEN):
        teacher_ids, reason, spans = passed_on(ids + [stop_of(QWEN)], teacher, finished=True)
        assert reason == "exact" and not set(teacher_ids[:-1]) & set(teacher.all_special_ids)
        assert spans[-1][1] == len(ids) + 1
    assert stop_of(LLAMA) in LLAMA.backend_tokenizer.encode("<|eot_id|>", add_special_tokens=False).ids  # the trap


def test_a_control_token_amid_the_text_ends_what_is_scored():
    before, after = QWEN.encode("감사"), QWEN.encode("합니다")
    ids = before + [QWEN.convert_tokens_to_ids("<|im_start|>")] + after + [stop_of(QWEN)]
    teacher_ids, reason, spans = passed_on(ids, LLAMA, finished=True)
    assert reason == "special_token" and stop_of(LLAMA) not in teacher_ids
    assert sum(s1 - s0 for s0, s1, _, _ in spans) == len(before)


def test_broken_utf8_goes_through_as_bytes():
    table = TokenBytes.from_tokenizer(QWEN)
    broken = [table.id_of_byte[0xEA], table.id_of_byte[0xFF]]
    ids = QWEN.encode("감사") + broken + QWEN.encode("합니다") + [stop_of(QWEN)]
    for teacher in (LLAMA, PIECES):
        teacher_ids, reason, spans = passed_on(ids, teacher, finished=True)
        assert reason == "byte_fallback" and spans[-1][1] == len(ids)


def test_broken_utf8_is_masked_where_the_teacher_has_no_byte_tokens():
    pieces = sentence_piece()
    backend = Tokenizer.from_str(pieces.backend_tokenizer.to_str().replace("<0xFF>", "<0xFF>x"))
    teacher = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
    table = TokenBytes.from_tokenizer(QWEN)
    ids = QWEN.encode("감사") + [table.id_of_byte[0xEA]] + QWEN.encode("합니다") + [stop_of(QWEN)]
    teacher_ids, reason, spans = passed_on(ids, teacher, finished=True)
    assert reason == "invalid_utf8" and teacher.eos_token_id not in teacher_ids
    assert TokenBytes.from_tokenizer(teacher).join(teacher_ids) == "감사".encode()
    assert spans[-1][1] <= len(QWEN.encode("감사"))


def test_a_syllable_cut_by_the_length_limit_is_left_out():
    table = TokenBytes.from_tokenizer(QWEN)
    ids = QWEN.encode("감사") + [table.id_of_byte[byte] for byte in "뷁".encode()[:2]]
    teacher_ids, reason, spans = passed_on(ids, FINE, finished=False)
    assert reason == "cut_character"
    assert TokenBytes.from_tokenizer(FINE).join(teacher_ids) == "감사".encode()
    assert spans[-1][1] == len(ids) - 2


def test_nfd_text_survives_where_bytes_do_and_is_masked_where_the_teacher_normalises():
    nfd = unicodedata.normalize("NFD", "각하")
    ids = QWEN.encode("안녕 ") + QWEN.encode(nfd) + [stop_of(QWEN)]
    _, reason, spans = passed_on(ids, LLAMA, finished=True)
    assert reason == "exact" and spans[-1][1] == len(ids)
    teacher_ids, reason, spans = passed_on(ids, NFC, finished=True)
    assert reason == "normalised" and stop_of(NFC) not in teacher_ids
    assert TokenBytes.from_tokenizer(QWEN).join(ids[: spans[-1][1]]).decode() in "안녕 "


def test_a_different_byte_ends_the_alignment_instead_of_shifting_it():
    student_bytes, teacher_bytes = TokenBytes.from_tokenizer(QWEN), TokenBytes.from_tokenizer(LLAMA)
    ids, other = QWEN.encode("감사합니다 나는") + [stop_of(QWEN)], LLAMA.encode("감사합니까 나는") + [stop_of(LLAMA)]
    spans = align(ids, other, student_bytes, teacher_bytes)
    covered = student_bytes.join(ids[: spans[-1][1]]) if spans else b""
    assert "감사합니".encode().startswith(covered)


def test_padding_rows_are_no_text():
    table = TokenBytes.from_tokenizer(QWEN)
    ids = QWEN.encode("감사") + [len(QWEN) + 5] + QWEN.encode("합")
    assert table.text_length(ids) == len(QWEN.encode("감사"))
    teacher_ids, reason, _ = passed_on(ids, LLAMA, finished=False)
    assert reason == "special_token" and TokenBytes.from_tokenizer(LLAMA).join(teacher_ids) == "감사".encode()


VOCABULARY = st.integers(0, len(QWEN) - 1)
RANDOM_IDS = st.lists(VOCABULARY, max_size=30)
RANDOM_TEXT = st.text(alphabet=st.sampled_from("감사합니다안녕 ab.\n😀é각<|>im_end"), max_size=20).map(QWEN.encode)


@settings(max_examples=300, deadline=None)
@given(ids=st.one_of(RANDOM_IDS, RANDOM_TEXT), finished=st.booleans(), name=st.sampled_from(sorted(TEACHERS)))
def test_every_span_covers_the_same_bytes_on_both_sides(ids, finished, name):
    passed_on(list(ids) + [stop_of(QWEN)] * finished, TEACHERS[name], finished)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=24), finished=st.booleans(), name=st.sampled_from(["llama", "fine", "pieces"]))
def test_random_bytes_are_covered_completely_or_masked_with_a_reason(raw, finished, name):
    table = TokenBytes.from_tokenizer(QWEN)
    ids = [table.id_of_byte[byte] for byte in raw] + [stop_of(QWEN)] * finished
    teacher_ids, reason, spans = passed_on(ids, TEACHERS[name], finished)
    covered = spans[-1][1] if spans else 0
    assert (covered == len(ids)) == (reason in ("exact", "byte_fallback") or not ids)


def test_spans_are_the_finest_common_cut():
    """Against the definition: a boundary is common where both prefixes have the same number of bytes."""
    student_bytes, teacher_bytes = TokenBytes.from_tokenizer(QWEN), TokenBytes.from_tokenizer(LLAMA)
    ids = QWEN.encode("그대의 뜻을 알겠사옵니다. hello")
    teacher_ids, _ = retokenise(ids, student_bytes, LLAMA, False, stop_of(LLAMA))
    s_ends = {len(student_bytes.join(ids[: i + 1])) for i in range(len(ids))}
    t_ends = {len(teacher_bytes.join(teacher_ids[: i + 1])) for i in range(len(teacher_ids))}
    spans = align(ids, teacher_ids, student_bytes, teacher_bytes)
    assert {len(student_bytes.join(ids[:s1])) for _, s1, _, _ in spans} == s_ends & t_ends
    assert np.array(spans).shape == (len(s_ends & t_ends), 4)


def test_spans_of_identical_tokenisations_are_the_tokens():
    table = TokenBytes.from_tokenizer(QWEN)
    ids = QWEN.encode("감사합니다 hello") + [stop_of(QWEN)]
    assert align(ids, ids, table, table) == [(i, i + 1, i, i + 1) for i in range(len(ids))]


def test_identical_tokenizers_whatever_the_template():
    other = byte_level(merges=120)
    other.chat_template, other.padding_side = "{{ 1 }}", "left"
    assert identical_tokenizers(QWEN, other)
    assert not identical_tokenizers(QWEN, LLAMA)


def test_further_added_tokens_behind_the_shared_ids_do_not_matter_and_changed_ones_do():
    assert identical_tokenizers(QWEN, byte_level(merges=120, added=["<think>", "</think>"]))
    assert not identical_tokenizers(byte_level(added=["<a>", "<b>"]), byte_level(added=["<b>", "<a>"]))


def test_another_normaliser_merge_order_or_pre_tokeniser_is_another_tokenizer():
    assert not identical_tokenizers(QWEN, byte_level(merges=120, normalizer=normalizers.NFC()))
    assert not identical_tokenizers(QWEN, byte_level(merges=120, words=r"\p{L}+|[^\p{L}]"))
    described = QWEN.backend_tokenizer.to_str()

    backend = json.loads(described)
    backend["model"]["merges"][:2] = backend["model"]["merges"][1::-1]
    swapped = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(backend)), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    assert not identical_tokenizers(QWEN, swapped)
