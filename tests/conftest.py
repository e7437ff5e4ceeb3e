"""Settings that every test runs under: one thread, no network, no progress bars. And the browser of those that open one."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])  # processes of tests, too
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported: tiny models only lose by more
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ["GOLD_STYLE_LANG"] = "en"  # whatever the developer's locale

import pytest  # noqa: E402 - what these import may read the environment
from hypothesis import settings  # noqa: E402

settings.register_profile("torture", max_examples=3000)  # make torture; the default is 100


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, else Playwright's own: the extra `browser`."""
    from benchmarks.playground_picture import opened_browser

    with opened_browser() as browser:
        yield browser
