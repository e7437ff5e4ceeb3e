"""A hub is asked once, briefly, for both models; what it says, and that it says nothing, comes in one sentence."""

import socket
import time

import pytest
from huggingface_hub import constants

from gold_style.config.hub import missing_models
from tests.helpers.hub_server import COMMIT, HubServer

PAIR = {"model.teacher": ("me/big", None), "model.student": ("me/small", None)}


def config_of(name: str, revision: str = "main") -> str:
    return f"/{name}/resolve/{revision}/config.json"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """(url) -> that hub is the one that is asked, with an empty cache."""

    def use(url: str, offline: bool = False) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    return use


def cache(tmp_path, name: str) -> None:
    """What a download of a config.json leaves."""
    repository = tmp_path / f"models--{name.replace('/', '--')}"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "snapshots" / COMMIT / "config.json").write_text("{}")


def test_a_hub_that_has_both_is_asked_once_for_each(hub):
    with HubServer([], statuses={config_of("me/big"): (200, ""), config_of("me/small", "v1"): (200, "")}) as server:
        hub(server.url)
        assert missing_models(PAIR | {"model.student": ("me/small", "v1")}) == []
        assert sorted(path for path in server.requests if "resolve" in path) == [config_of("me/big"), config_of("me/small", "v1")]


def test_what_the_hub_refuses_is_said_for_each_model(hub):
    refused = {config_of("me/big"): (403, "GatedRepo"), config_of("me/small", "v9"): (404, "RevisionNotFound")}
    with HubServer([], statuses=refused) as server:
        hub(server.url)
        gated, unknown = missing_models(PAIR | {"model.student": ("me/small", "v9")})
    assert gated.startswith("model.teacher=me/big: ") and "licence to be accepted" in gated and "status 403" in gated
    assert unknown.startswith("model.student=me/small: ") and "at model.student_revision=v9" in unknown


@pytest.mark.parametrize("kind", ["refuses", "hangs", "has no address", "is overloaded"])
def test_a_hub_out_of_reach_is_one_quick_sentence_that_names_both(hub, kind, monkeypatch):
    overloaded = {config_of(name): (503, "") for name, _ in PAIR.values()}
    with socket.socket() as closed, HubServer([], hangs=kind == "hangs", statuses=overloaded) as server:
        closed.bind(("127.0.0.1", 0))
        urls = {"refuses": f"http://127.0.0.1:{closed.getsockname()[1]}", "has no address": "http://hub.invalid"}
        hub(urls.get(kind, server.url))
        monkeypatch.setattr("gold_style.config.hub.HUB_TIMEOUT_S", 1.0)
        started = time.monotonic()
        (sentence,) = missing_models(PAIR)
        assert time.monotonic() - started < 4
    assert sentence.startswith("model.teacher=me/big and model.student=me/small: ") and "cannot be reached (" in sentence
    assert sentence.endswith("model.teacher=PATH model.student=PATH") and "\n" not in sentence


def test_without_a_hub_the_cache_is_used_and_the_libraries_ask_no_more(hub, tmp_path):
    for name, _ in PAIR.values():
        cache(tmp_path, name)
    hub("http://hub.invalid")
    assert missing_models(PAIR) == [] and constants.HF_HUB_OFFLINE


def test_an_offline_machine_takes_the_cache_or_says_what_it_lacks(hub, tmp_path):
    cache(tmp_path, "me/big")
    hub("http://hub.invalid", offline=True)
    (sentence,) = missing_models(PAIR)
    assert sentence.startswith("model.student=me/small: ") and "HF_HUB_OFFLINE" in sentence


def test_local_directories_ask_nobody(hub):
    hub("http://hub.invalid")
    assert missing_models({"model.student": ("gold_style/pairs/tiny/student", None)}) == [] and not constants.HF_HUB_OFFLINE
