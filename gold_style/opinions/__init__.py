"""A second opinion on a run: a language model as judge, and people who fill in blind sheets."""
