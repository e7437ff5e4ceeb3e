"""Teacher/student pairs that are built here rather than downloaded: the embedded pair, its cross-tokenizer twin, and
their builder. And SmolLM2, unpacked from a Python package."""
