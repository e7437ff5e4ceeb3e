"""Which requests are asked under which tags, and that further questions change no answer."""

from types import SimpleNamespace

import pytest

from gold_style.chat import Chat
from gold_style.engine.backbone import Backbone
from gold_style.engine.exam import Exam, misspelt
from gold_style.engine.rollout import OutputIds
from gold_style.prompts import Prompt
from tests.helpers import toys

REQUESTS = [
    Prompt(request=f"{topic} 이야기를 들려줘.", style="none", tag=None, topic=topic) for topic in ("봄", "눈", "산길", "바람", "달빛 아래")
]


@pytest.fixture(scope="module")
def asked():
    tokenizer = toys.byte_tokenizer()
    model = toys.model(len(tokenizer))
    chat = Chat(tokenizer, tokenizer, toys.PACK)

    def answers(**fields):
        exam = Exam(requests=REQUESTS, chat=chat, pack=toys.PACK, max_completion_length=12, batch_size=4, **fields)
        return exam.student(Backbone(model), OutputIds.of(tokenizer, model))

    return answers


def test_questions_without_a_tag_of_the_pack_come_last_and_change_no_other_answer(asked):
    plain = asked()
    assert [(answer.id, answer.style) for answer in plain] == [(number, tag) for number in range(5) for tag in ("chosun", "none")]
    more = asked(tags=("chosun", None, "none"), misspelt=3)
    assert more[:10] == plain
    assert [(answer.id, answer.style) for answer in more[10:]] == [(n, None) for n in range(5)] + [(n, "chosnu") for n in range(3)]
    assert [answer.request for answer in more[10:15]] == [prompt.request for prompt in REQUESTS]


def test_processes_share_every_group(asked, monkeypatch):
    monkeypatch.setattr("gold_style.engine.exam.gather_object", lambda answers: answers)
    fields = {"tags": ("chosun", "none", None), "misspelt": 1, "num_processes": 2}
    shares = [asked(**fields, rank=rank) for rank in (0, 1)]
    assert [len(share) for share in shares] == [5 + 3 + 1, 5 + 2]
    assert sorted((answer.id, str(answer.style)) for share in shares for answer in share) == sorted(
        (answer.id, str(answer.style)) for answer in asked(**fields | {"num_processes": 1})
    )


@pytest.mark.parametrize(
    ("tags", "word"),
    [(["chosun", "none"], "chosnu"), (["ab"], "ba"), (["a"], "aa"), (["form", "fomr", "formm"], "formmm"), (["full"], "fulll")],
)
def test_a_misspelt_tag_is_no_tag_of_the_pack(tags, word):
    assert misspelt(tags) == word


def test_more_misspelt_than_requests_asks_all_of_them(asked):
    assert len(asked(misspelt=99)) == 15


def test_no_request_is_no_answer():
    pack = SimpleNamespace(tags=("chosun", "none"), untagged="none")
    exam = Exam(requests=[], chat=None, pack=pack, max_completion_length=1, tags=("chosun", None), misspelt=32)
    assert not any(exam.groups)
