"""One run from settings to summary, and what evaluate.py does."""
