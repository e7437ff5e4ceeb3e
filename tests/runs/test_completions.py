"""What a served teacher must tell is found at start, or refused in one sentence; and its key shows nowhere."""

import pytest

from gold_style.runs.completions import KEYS, Completions
from gold_style.runs.web import NoReply
from tests.helpers import toys
from tests.helpers.completions_server import CompletionsServer

TOKENIZER = toys.byte_tokenizer()
MODEL = toys.model(len(TOKENIZER))
KEY = "key-that-nobody-may-see"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def server(*names, **how) -> CompletionsServer:
    return CompletionsServer(MODEL, TOKENIZER, names or ("teacher",), **how)


def mistake(served: CompletionsServer, tail_k: int = 20, teacher: str = "teacher", **backend) -> str:
    with pytest.raises(ValueError) as caught:
        Completions(served.backend(**backend), teacher).check(tail_k)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_model_is_the_only_one_or_the_teachers_namesake_or_named():
    with server("other") as served:
        assert Completions(served.backend(), "teacher").model == "other"
    with server("other", "teacher") as served:
        assert Completions(served.backend(), "teacher").model == "teacher"
        assert Completions(served.backend(model="other"), "teacher").model == "other"
        found = mistake(served, model="othr")
        assert found.startswith("teacher_backend.model=othr: ") and "serves other, teacher" in found and "did you mean other?" in found
        assert mistake(served, teacher="x").startswith("teacher_backend.model=null: ")


@pytest.mark.parametrize("limit", [{"max_logprobs": 20}, {"max_logprobs": 1}, {"cap": 20}, {"cap": 5}])
def test_the_cap_on_k_is_named_and_works_when_typed(limit):
    with server(**limit) as served:
        most = next(iter(limit.values()))
        assert f"tells at most {most} log-probabilities a token; add loss.tail_k={most}, or" in mistake(served, tail_k=64)
        Completions(served.backend(), "teacher").check(most)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("401", "401 Unauthorized: it does not accept the key in GOLD_STYLE_TEACHER_API_KEY"),
        ("404", "404 Not Found: no good"),
        ("503", "503 Service Unavailable: no good"),
        ("400", "400 Bad Request: no good"),
        ("redirect", "redirects to http://127.0.0.1:1/elsewhere; name that address itself"),
        ("garbled", "replied with something that is no JSON"),
        ("no echo", "tells nothing of a prompt's tokens"),
        ("no logprobs", "tells no log-probabilities of token ids"),
        ("texts", "tells no log-probabilities of token ids"),
        ("bos", "reads other tokens than it is sent"),
        ("logits", "tells numbers that are no log-probabilities"),
    ],
)
def test_what_a_server_lacks_is_said_without_the_key(trouble, reason, monkeypatch):
    monkeypatch.setenv(KEYS[0], KEY)
    with server(trouble=trouble) as served:
        found = mistake(served)
        assert reason in found and found.startswith(f"teacher_backend.address={served.url}: ") and KEY not in found
        assert set(served.keys) == {f"Bearer {KEY}"}


def test_nobody_there():
    with server() as served:
        pass
    assert "cannot be reached: " in mistake(served)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "http://x/v1?api_key=abc", "http://me:hunter2@x/v1"])
def test_an_address_that_is_none(address):
    with server() as served:
        found = mistake(served, address=address)
    assert found.startswith("teacher_backend.address") and "hunter2" not in found and "abc" not in found


def test_another_tokenizer_is_found():
    other = toys.byte_tokenizer((("h", "e"), ("l", "l")))
    text, own = "<|im_start|>user\nhello", TOKENIZER("<|im_start|>user\nhello")["input_ids"]
    with server() as served:
        assert Completions(served.backend(), "teacher").mistakes(text, own, "teacher") == []
        served.tokenizer, served.model = other, toys.model(len(other))
        (found,) = Completions(served.backend(), "teacher").mistakes(text, own, "teacher")
        assert found.startswith("model.teacher=teacher: ") and "another tokenizer; name the model that is served" in found
        served.tokenizer, served.trouble = TOKENIZER, "bos"  # put before a text, it changes no token after it
        assert Completions(served.backend(), "teacher").mistakes(text, own, "teacher") == []


def test_patience_ends():
    with server() as served:
        asked = Completions(served.backend(), "teacher", patience_s=1.5)
        served.trouble = "503"
        with pytest.raises(NoReply, match="teacher_backend.address=.*: 503 "):
            asked.told([1, 2], max_tokens=1, temperature=0, logprobs=1)
        assert len(served.bodies) == 2
