"""Distil a style toggle from a large language model into a small one, on-policy. Start reading at train.py."""

__version__ = "0.1.0"
