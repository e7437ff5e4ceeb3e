"""What is refused before a model loads: no Ray, an address that is none, one where nothing or something else answers."""

import importlib.util
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gold_style.config.schema import TeacherBackend
from gold_style.config.settings import Settings
from gold_style.job.obstacles import lacks
from gold_style.runs import ray_cluster
from gold_style.runs.ray_cluster import check_ray


@pytest.fixture
def with_ray(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: name)


def test_without_ray_the_extra_is_named(monkeypatch):
    settings = Settings.compose("teacher_backend=ray", "tracker=none")
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None if name == "ray" else importlib.util.find_spec(name))
    assert lacks(settings) == ["teacher_backend=ray: Ray is not installed: pip install 'gold-style[ray]'"]


def mistake(address: str) -> str:
    with pytest.raises(ValueError) as error:
        check_ray(TeacherBackend(kind="ray", address=address, model=None, gpus=None, limit_s=60.0))
    return str(error.value)


@pytest.mark.parametrize(
    "address", ["auto", "host", "host:", ":6379", "host:port", "host:0", "host:70000", "ray://host:10001", "http://a:1"]
)
def test_an_address_is_a_host_and_a_port(address, with_ray):
    assert mistake(address).startswith(f"teacher_backend.address={address}: must be HOST:PORT")


def test_an_address_where_nothing_listens_is_said_at_once(with_ray):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        began = time.monotonic()
        said = mistake(address)
    assert said.startswith(f"teacher_backend.address={address}: no Ray cluster (Connection refused); there, run `ray start --head --port=")
    assert "no Ray cluster" in mistake("no-such-host.invalid:6379") and time.monotonic() - began < 12


def test_a_server_that_is_no_ray_is_told_from_one(with_ray):
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert "no Ray cluster (what answers is no Ray); there, run `ray start --head" in mistake(f"127.0.0.1:{server.server_port}")
        server.shutdown()
