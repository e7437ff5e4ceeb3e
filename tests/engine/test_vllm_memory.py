"""When vLLM in this process gives its memory back, by the calls that an engine gets: the real one is asked in test_vllm.py, on a CPU."""

import importlib.util

import pytest
import torch

from gold_style.engine.vllm import Colocated, Served
from tests.helpers import toys


class Engine:
    """Notes what it is asked to do."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name: str):
        return lambda *positional, **named: self.calls.append((name, named.get("tags") or named.get("level")))


class Student:
    def for_files(self):
        model = toys.model(90)
        return model, model.state_dict()


@pytest.mark.parametrize("has_cuda", [True, False])
def test_it_sleeps_from_the_rollouts_to_the_next_weights(has_cuda, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    vllm = Colocated(model="student")
    assert vllm.options["enable_sleep_mode"] is has_cuda  # elsewhere vLLM refuses it
    vllm.engine = engine = Engine()
    loaded = [("reload_weights", None), ("reset_prefix_cache", None)]
    monkeypatch.setattr(engine, "collective_rpc", lambda name, kwargs: engine.calls.append((name, None)), raising=False)
    for _ in range(2):
        vllm.take(Student())
        vllm.rest()
    woken = [("wake_up", ["weights"]), loaded[0], ("wake_up", ["kv_cache"]), loaded[1], ("sleep", 2)]
    assert engine.calls == ([*loaded, ("sleep", 2), *woken] if has_cuda else loaded * 2)


def test_a_server_has_memory_of_its_own():
    assert Served.rest(object.__new__(Served)) is None
