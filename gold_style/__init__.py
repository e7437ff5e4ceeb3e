"""Distil a style toggle from a large language model into a small one, on-policy. Start reading at train.py."""

import os
from pathlib import Path

__version__ = "0.1.0"

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE / "project"  # conf/, data/, train.py and evaluate.py: a wheel carries them in here (setup.py)
if not PROJECT.is_dir():
    PROJECT = PACKAGE.parent  # a checkout has them beside the package

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # we know that GOLDTrainer is experimental: tests/test_upstream_*.py watch it
