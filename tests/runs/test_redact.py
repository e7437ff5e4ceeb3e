"""No secret gets through, and nothing else is lost."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from gold_style.config.settings import PROJECT, Settings
from gold_style.runs.redact import REDACTED, redact
from gold_style.sweep import isolation

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("MY_SERVICE_TOKEN", "s3cr3t-value")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.example.org login user password netrc-password\n")
    monkeypatch.setenv("NETRC", str(netrc))


@pytest.mark.parametrize(
    "text",
    [
        f"401 for key {KEY}",
        "a s3cr3t-value here",
        "netrc-password",
        "hf_abcdefghijklmnopqrstuvwxyz",
        "Authorization: Basic YXBpOmtleQ==",
        "'Authorization': Bearer abc.def.ghi",
        "https://user:pass1234@github.com/a/b.git",
        "train.hub_token=whatever",
        "+model.api_key=whatever",
    ],
)
def test_secrets_in_text(text):
    hidden = redact(text)
    assert REDACTED in hidden
    for secret in (KEY, "s3cr3t-value", "netrc-password", "hf_abc", "YXBpOmtleQ", "abc.def", "pass1234", "whatever"):
        assert secret not in hidden


def test_secrets_in_a_config():
    config = {"train": {"hub_token": "whatever", "push_to_hub": False}, "notes": [f"key {KEY}"]}
    assert redact(config) == {"train": {"hub_token": REDACTED, "push_to_hub": False}, "notes": [f"key {REDACTED}"]}


def test_everything_else_stays():
    config = {
        "eos_token": "<|im_end|>",
        "pad_token": "<pad>",
        "max_prompt_tokens": 12,
        "tokens_per_microbatch": None,
        "hub_token": None,
        "url": "https://api.wandb.ai/graphql",
        "text": "<style:chosun> 봄 축제를 알려 줘.",
        "command": "loss.beta=0.3 seed=1",
    }
    assert redact(config) == config


@pytest.mark.slow
def test_a_failed_job_of_a_sweep_leaves_no_secret_in_its_console(tmp_path):
    """Its message quotes a path, its traceback as well; both go to the sweep, and the traceback to a file."""
    settings = Settings.compose("model.teacher=/nowhere/s3cr3t-value", "tracker=none", f"output_dir='{tmp_path}'")
    told, tells = multiprocessing.Pipe(duplex=False)
    given = settings, ["train.py"], {}, dict(os.environ), str(tmp_path / "console.txt"), tells
    job = multiprocessing.get_context("spawn").Process(target=isolation._child, args=given)
    job.start()
    kind, reason = told.recv()
    job.join()
    console = (tmp_path / "console.txt").read_text()
    assert kind == "error" and f"/nowhere/{REDACTED}" in reason and f"/nowhere/{REDACTED}" in console and "Traceback" in console
    assert "s3cr3t" not in reason + console


def test_what_is_printed_holds_no_secret_whoever_prints_it():
    code = f"from gold_style.runs.terminal import keep_printing\nkeep_printing()\nprint('봄', '{KEY}')\nraise OSError('s3cr3t-value')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout == f"봄 {REDACTED}\n"
    assert done.stderr.endswith(f"OSError: {REDACTED}\n")
