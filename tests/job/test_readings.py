"""readings.jsonl: what each side read, and how the teacher finds every token of an answer."""

import pytest

from gold_style.config.settings import Settings
from gold_style.job.build import build_teacher
from gold_style.job.inputs import Inputs
from gold_style.job.readings import REQUESTS, pieces, readings
from gold_style.measure.answers import Answer
from tests.helpers.toy_tokenizers import byte_level, sentence_piece


@pytest.fixture(scope="module", params=["tiny", "tiny_cross_tokenizer"])
def asked(request):
    """Inputs, teacher and held-out requests of an embedded pair, with the teacher's own greedy answers."""
    inputs = Inputs.load(Settings.compose("tracker=none", "prompts.eval_samples=6", f"model={request.param}"))
    teacher, requests = build_teacher(inputs.settings, inputs), inputs.source.evaluation()
    return inputs, teacher, requests, inputs.exam(requests, misspelt=0).teacher(teacher)


def test_what_the_teacher_wrote_itself_is_its_own_choice(asked):
    inputs, teacher, requests, answers = asked
    rows = readings(inputs, teacher, requests, answers)
    assert [row["style"] for row in rows] == list(inputs.pack.tags) * REQUESTS  # not those without a tag
    for row in rows:
        assert sum(nats for _, nats, _ in row["tokens"]) < 0.5, row["tokens"]  # a text can be cut in another way than it was written
        prompt = next(prompt for prompt in requests if prompt.request == row["request"])
        assert row["student_reads"] == inputs.chat.student_text(prompt.under(row["style"], row["style"]))
        assert row["teacher_reads"] == inputs.chat.teacher_text(prompt.under(row["style"], row["style"])) != row["student_reads"]


def test_what_it_would_not_have_written_costs_nats(asked):
    inputs, teacher, requests, answers = asked
    other = [Answer(id=answer.id, style=answer.style, request=answer.request, text="나는 학교에 간다.") for answer in answers]
    rows = readings(inputs, teacher, requests, other)
    for row in rows:
        assert "".join(text for text, *_ in row["tokens"]) == "나는 학교에 간다."
        assert sum(nats for _, nats, _ in row["tokens"]) > 5
        assert all((nats == 0) == (text == choice) for text, nats, choice in row["tokens"] if not choice.endswith("\ufffd"))
    assert readings(inputs, teacher, requests, [Answer(id=0, style="chosun", request="x", text="")]) == []


@pytest.mark.parametrize("tokenizer", [byte_level(), sentence_piece()], ids=["bytes", "fallback"])
def test_tokens_that_share_a_character_are_one(tokenizer):
    text = "나는 뷁쀍 🙂 밥을"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = pieces(tokenizer, ids, [1.0] * len(ids), ids)
    assert "".join(piece for piece, *_ in found) == text
    assert sum(nats for _, nats, _ in found) == len(ids) > len(found) and not any("\ufffd" in piece for piece, *_ in found)
