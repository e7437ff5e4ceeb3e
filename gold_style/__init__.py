"""Distil a style toggle from a large language model into a small one, on-policy. Start reading at train.py."""

import os

__version__ = "0.1.0"

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # we know that GOLDTrainer is experimental: tests/test_upstream_*.py watch it
