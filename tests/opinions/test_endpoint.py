"""The endpoint client: what it tries again, what it does not, and that a key shows nowhere."""

import pytest

from gold_style.opinions.endpoint import Endpoint, Refused, Unanswered, api_key
from tests.helpers.judge_server import JudgeServer

KEY = "sk-abcdefghijklmnopqrstuvwx"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("GOLD_STYLE_JUDGE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def endpoint(server: JudgeServer, **changes) -> Endpoint:
    return Endpoint(server.url, "judge", **{"timeout_s": 5.0, "retries": 2, "backoff_s": 0.01, **changes})


@pytest.mark.parametrize("trouble", ["429", "500", "503", "garbled", "empty", "drop"])
def test_passing_trouble_is_tried_again(trouble):
    with JudgeServer(lambda messages: "예", lambda number: trouble if number < 2 else None) as server:
        assert endpoint(server).ask([{"role": "user", "content": "?"}]) == "예"
        assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("500", "500 Internal Server Error"),
        ("garbled", "not a chat completion"),
        ("empty", "not a chat completion"),
        ("drop", "connection broke"),
        ("hang", "no reply within 0.5 s"),
        ("drip", "no reply within 0.5 s"),
    ],
)
def test_lasting_trouble_ends_in_one_sentence(trouble, reason):
    with JudgeServer(lambda messages: "예", lambda number: trouble) as server:
        with pytest.raises(Unanswered, match=reason) as caught:
            endpoint(server, timeout_s=0.5, retries=1).ask([{"role": "user", "content": "?"}])
        assert len(server.bodies) == 2 and "\n" not in str(caught.value) and "asked 2 times" in str(caught.value)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("401", "does not accept the key in OPENAI_API_KEY"),
        ("404", "404 Not Found"),
        ("redirect", "redirects to http://127.0.0.1:1/elsewhere"),
    ],
)
def test_a_refusal_is_not_tried_again_and_shows_no_key(trouble, reason, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with JudgeServer(lambda messages: "예", lambda number: trouble) as server:
        with pytest.raises(Refused, match=reason) as caught:
            endpoint(server).ask([{"role": "user", "content": "?"}])
        assert len(server.bodies) == 1 and server.keys == [f"Bearer {KEY}"]  # the server quotes it in its error
        assert KEY not in str(caught.value) and "\n" not in str(caught.value)


def test_no_text_is_an_empty_reply():
    with JudgeServer(lambda messages: "예", lambda number: "null") as server:
        assert endpoint(server).ask([{"role": "user", "content": "?"}]) == ""


def test_a_foreign_key_does_not_travel_in_clear(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert api_key("http://judge.example/v1") == (None, None)
    assert api_key("https://judge.example/v1") == api_key("http://127.0.0.1:8000/v1") == ("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http://", "http://x:port/v1", "http://x/v1?key=1", "http://한글/v1"])
def test_addresses_that_are_none(url):
    with pytest.raises(ValueError, match="--url"):
        Endpoint(url, "judge")


def test_a_password_in_the_address_is_not_repeated():
    with pytest.raises(ValueError, match="--url: holds a user or password") as caught:
        Endpoint("https://me:hunter2@x/v1", "judge")
    assert "hunter2" not in str(caught.value)


def test_addresses_are_taken_with_or_without_their_end():
    assert {Endpoint(f"http://x/v1{end}", "j").url for end in ("", "/", "/chat/completions", "/chat/completions/")} == {"http://x/v1"}


@pytest.mark.parametrize("status", ["400", "413", "422"])
def test_what_is_wrong_with_one_request_is_not_tried_again(status, monkeypatch):
    monkeypatch.setenv("GOLD_STYLE_JUDGE_API_KEY", KEY)
    with JudgeServer(lambda messages: "예", lambda number: status) as server:
        with pytest.raises(Unanswered, match=f"{status} .* for model 'judge': no good") as caught:
            endpoint(server).ask([{"role": "user", "content": "?"}])
        assert len(server.bodies) == 1 and KEY not in str(caught.value)
