"""The `tree` loss: the distribution of a teacher with another tokenizer, byte by byte (maths in loss.py)."""
