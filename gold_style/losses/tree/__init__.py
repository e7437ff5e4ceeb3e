"""The `tree` loss: the distribution of a teacher with another tokenizer, byte by byte.

Start with the docstring of loss.py, which has the maths. Then: plan.py (which tokens take part where), lifting.py (what a
piece of teacher text can become in student tokens), spread.py (the probabilities). slots.py holds what they pass on. The
same maths, one token at a time: tests/helpers/slow_losses.py.
"""
